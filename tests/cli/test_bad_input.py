"""Every bad command line ends with exit code 2 and one line that names what is wrong, and writes nothing.

Each row is a command line that has one fault. Rows are built from tables, so that a new kind of bad value is
tried in every place that takes such a value.
"""

import re
import sys
import time

import pytest

from tests.cli.bad_files import write_bad_files

LAYER = "Conv2d(3, 8, 3)"
LONG = "a" * 300

#: Text that is not a size, an integer or a number.
NOT_NUMBERS = [
    "",
    " ",
    "x",
    "nan",
    "inf",
    "1e3",
    "0x10",
    "1.5",
    "-",
    "1\n2",
    "\x1b[31m",
    "٣",
    "½",
    "1_000",
    "1 2",
]
NOT_SIZES = [
    *(text for text in NOT_NUMBERS if text != "0x10"),
    *("0", "-3", "0x10", "3x", "x3", "3x-4x4", "3x0x4", "[3,4,4]", "(3, 4", "3*4*4", "9999999999", "9" * 400),
]
#: Paths that cannot be read as a file, and what the error says.
NOT_FILES = [
    "absent",
    "folder",
    "pipe",
    "file/below",
    LONG,
    f"folder/{LONG}",
    "",
    "a\nb",
    "a\0b",
    "\x1b[31m",
    "/dev/null",
    "ü" * 200,
]
#: Paths that cannot be written.
NOT_WRITABLE = ["folder", "absent/page.html", "file/page.html", LONG, "", "/dev/full", "/proc/page.html", "."]

#: Layers, and a part of the error.
LAYERS = {
    "": "layer: must be one call",
    " ": "layer: must be one call",
    "Conv2d": "must be a call",
    "Conv2d(": "must be one call",
    "Conv2d()": "needs in_channels, out_channels, kernel_size",
    "Conv2d(3)": "no out_channels, kernel_size",
    "Conv2d(3, 8)": "no kernel_size",
    "Conv2(3, 8, 3)": "did you mean",
    "conv2d(3, 8, 3)": "did you mean 'Conv2d'",
    "Conv4d(3, 8, 3)": "must be one of Conv1d",
    "tf.Conv2d(3, 8, 3)": "must be one of",
    "Conv2d(3, 8, 3) + 1": "must be a call",
    "Conv2d(3, 8, 3); print(1)": "must be one call",
    "[Conv2d(3, 8, 3)]": "must be a call",
    "lambda: 1": "must be a call",
    "Conv2d(3, 8, 3)(x)": "by its name",
    "getattr(a, 'b')(1)": "by its name",
    "__import__('os').system('ls')": "by its name",
    "Conv2d(*[3, 8, 3])": "must list its arguments",
    "Conv2d(**{})": "must list its arguments",
    "Conv2d(3, 8, k)": "kernel_size must be a literal",
    "Conv2d(3, 8, f())": "kernel_size must be a literal",
    "Conv2d(3, 8, f'3')": "kernel_size must be a literal",
    "Conv2d(3, 8, 3j)": "kernel_size must be a literal",
    "Conv2d(3, 8, ...)": "kernel_size must be a literal",
    "Conv2d(3, 8, ~3)": "kernel_size must be a literal",
    "Conv2d(3, 8, {3})": "kernel_size must be a literal",
    "Conv2d(3, 8, b'3')": "kernel_size must be a literal",
    "Conv2d(3, 8, '3')": "kernel_size",
    "Conv2d(3, 8, 3.0)": "kernel_size must be an integer",
    "Conv2d(3, 8, True)": "kernel_size must be an integer",
    "Conv2d(3, 8, None)": "kernel_size must be an integer",
    "Conv2d(3, 8, 0)": "kernel_size must be at least 1",
    "Conv2d(3, 8, -3)": "kernel_size must be at least 1",
    "Conv2d(3, 8, ())": "kernel_size",
    "Conv2d(3, 8, (3, 3, 3))": "kernel_size",
    "Conv2d(3, 8, (3, (3, 3)))": "kernel_size",
    "Conv2d(3, 8, 1e999)": "kernel_size must be at most",
    "Conv2d(3, 8, 99999999999)": "kernel_size must be at most",
    "Conv2d(0, 8, 3)": "in_channels must be at least 1",
    "Conv2d(-3, 8, 3)": "in_channels must be at least 1",
    "Conv2d(3.5, 8, 3)": "in_channels must be an integer",
    "Conv2d((3, 3), 8, 3)": "in_channels must be an integer",
    "Conv2d(3, 0, 3)": "out_channels must be at least 1",
    "Conv2d(3, '8', 3)": "out_channels must be an integer",
    "Conv2d(3, 8, 3, stride=0)": "stride must be at least 1",
    "Conv2d(3, 8, 3, stride=(1, 0))": "stride[1] must be at least 1",
    "Conv2d(3, 8, 3, stride='same')": "stride must be an integer",
    "Conv2d(3, 8, 3, stride=None)": "stride must be an integer",
    "Conv2d(3, 8, 3, padding=-1)": "padding must be at least 0",
    "Conv2d(3, 8, 3, padding='full')": "padding",
    "Conv2d(3, 8, 3, padding=1.5)": "padding",
    "Conv2d(3, 8, 3, padding=((1, 2), (3,)))": "padding",
    "Conv2d(3, 8, 3, stride=2, padding='same')": "padding",
    "Conv2d(3, 8, 3, dilation=0)": "dilation must be at least 1",
    "Conv2d(3, 8, 3, groups=2)": "groups",
    "Conv2d(3, 8, 3, groups=0)": "groups must be at least 1",
    "Conv2d(3, 8, 3, groups=-1)": "groups must be at least 1",
    "Conv2d(3, 8, 3, bias=1)": "bias must be True or False",
    "Conv2d(3, 8, 3, bias='no')": "bias must be True or False",
    "Conv2d(3, 8, 3, bias=None)": "bias must be True or False",
    "Conv2d(3, 8, 3, padding_mode='same')": "padding_mode must be",
    "Conv2d(3, 8, 3, padding_mode=1)": "padding_mode must be",
    "Conv2d(3, 8, 3, padding_mode=('zeros',))": "padding_mode must be",
    "Conv2d(3, 8, 3, strid=2)": "did you mean 'stride'",
    "Conv2d(3, 8, 3, ü=2)": "argument must be one of",
    "Conv2d(3, 8, 3, stride=2, strides=2)": "stride must be given only once",
    "Conv2d(3, 8, 3, 1, stride=2)": "stride must be given only once",
    "Conv2d(3, 8, 3, 1, 0, 1, 1, True, 'zeros', None, None, 5)": "may be positional",
    "Conv2d(3, 8, 3, sharing='half')": "sharing: must be one of full",
    "Conv2d(3, 8, 3, sharing=2)": "sharing must be a sharing or text",
    "Conv2d(3, 8, 3, sharing=Half(2))": "sharing must be text or one of",
    "Conv2d(3, 8, 3, sharing=Tiled())": "sharing=Tiled: must have valid arguments",
    "Conv2d(3, 8, 3, sharing=Tiled(0))": "period must be at least 1",
    "Conv2d(3, 8, 3, sharing=Tiled(*[2]))": "sharing",
    "Conv2d(3, 8, 3, sharing=Tiled(**{}))": "sharing",
    "Conv2d(3, 8, 3, sharing=Mapped(3))": "labels must be a grid",
    "Conv2d(3, 8, 3, bias_sharing='lowrank:2')": "bias_sharing",
    "Conv2d(3, 8, 3, input_size=0)": "input_size must be at least 1",
    "Conv2d(3, 8, 3, input_size='5x5')": "input_size",
    "Conv2d(3, 8, 9, input_size=5)": "must be at least (9, 9)",
    "ConvTranspose2d(3, 8, 3, output_padding=1)": "output_padding must be smaller",
    "ConvTranspose2d(3, 8, 3, output_padding=-1)": "output_padding must be at least 0",
    "ConvTranspose2d(3, 8, 3, padding='same')": "padding must be integers",
    "ConvTranspose2d(3, 8, 3, padding_mode='circular')": "padding_mode",
    "Conv2d(3, 8, 3, output_padding=1)": "did you mean",
    "Linear()": "needs in_features, out_features",
    "Linear(0, 2)": "in_features must be at least 1",
    "Linear(1.5, 2)": "in_features must be an integer",
    "Linear(1, 2, sharing='local')": "argument must be one of",
    "Linear(1, 2, 3)": "bias must be True or False",
    "Dense(5)": "needs in_features",
    "Conv2D(96, 11)": "needs in_channels",
    "Conv2D(96, 11, data_format='nchw', in_channels=1)": "data_format must be",
    "Conv2D(96, 11, input_shape=5)": "input_shape must have length 3",
    "Conv2D(96, 11, input_shape=(None, None, 3))": "input_shape[0] must be an integer",
    "Conv2D(8, 3, 2, 'same', in_channels=3)": "depends on the input size",
    f"Conv2d({'1' * 2000}, 8, 3)": "at most 1,000 characters",
    f"Conv2d({'(' * 400}": "must be one call",
    f"Conv2d({'-' * 900}3, 8, 3)": "in_channels must be a literal",
    "Conv2d(3,\x00 8, 3)": "must be one call",
    "Conv2d(3,\n8,\n\x1b[31m3)": "must be one call",
    "\u202eConv2d(3, 8, 3)": "must be one call",
    "Conv2d(３, 8, 3)": "must be one call",
}
#: Sharings, and a part of the error.
SHARINGS = {
    "": "sharing: must be one of full",
    "half": "sharing: must be one of full",
    "FULL": "sharing: must be one of full",
    "full:1": "sharing: must be one of full",
    "local:2": "sharing: must be one of full",
    "full,local": "sharing: must be one of full",
    "tiled": "sharing: must be one of full",
    "tiled:": "sharing: must be one of full",
    "tiled:x": "sharing: must be one of full",
    "tiled:2x": "sharing: must be one of full",
    "tiled:1.5": "sharing: must be one of full",
    "tiled:٣": "sharing: must be one of full",
    "tiled:9999999999": "sharing: must be one of full",
    "tiled:0": "period must be at least 1",
    "tiled:-2": "period must be at least 1",
    "tiled:99": "needs an output of at least 99 x 99",
    "tiled:2x2x2": "needs an output with 3 spatial axes",
    "regional:0": "grid must be at least 1",
    "regional:999999999": "needs an output of at least",
    "regional:2x2x2x2": "needs an output with 4 spatial axes",
    "along:2": "axes",
    "along:0,0": "axes",
    "along:x": "sharing: must be one of full",
    "along:9": "axes",
    "lowrank:": "sharing: must be one of full",
    "lowrank:-1": "rank must be at least 0",
    "lowrank:2:half": "coefficients must be",
    "lowrank:2:free:x": "coefficients must be",
    "mapped": "sharing: must be one of full",
    "mapped:": "sharing: must be one of full",
    "mapped:floats.npy": "must hold one array of at most 16,777,216 integers",
    "mapped:booleans.npy": "must hold one array",
    "mapped:strings.npy": "must hold one array",
    "mapped:large.npy": "must",
    "mapped:archive.npz": "must hold one array",
    "mapped:archive.npy.npz": "must hold one array",
    "mapped:objects.npy": "must name a readable .npy file",
    "mapped:cut.npy": "must name a readable .npy file",
    "mapped:short.npy": "must name a readable .npy file",
    "mapped:text.npy": "must name a readable .npy file",
    "mapped:nothing.npy": "must name a readable .npy file",
    "mapped:negative.npy": "labels must be 0 to K - 1",
    "mapped:gaps.npy": "labels must be 0 to K - 1",
    "mapped:scalar.npy": "labels must be a grid",
    "mapped:empty.npy": "labels must not be empty",
    "mapped:axes.npy": "labels must have at most 3 axes",
    "mapped:small.npy": "needs an output of 2 x 2",
    "mapped:a\nb.npy": "must name a readable .npy file",
    "\x1b[31m": "sharing: must be one of full",
    "t" * 5000: "at most 4096 characters",
    **{f"mapped:{path}": "must name a readable .npy file" for path in NOT_FILES if path},
}
#: Models that no command can build, and a part of the error.
MODELS = {
    "": "must be a model of the zoo",
    "vgg61": "did you mean 'vgg16'",
    "VGG": "must be a model of the zoo",
    "torch.nn": "must be a model of the zoo",
    "bad_models.py": "must be a model of the zoo",
    ":": "needs the module ''",
    ":raises": "needs the module ''",
    "no_such_module:f": "needs the module 'no_such_module'",
    "bad_models.py:raises": "needs the module 'bad_models.py'",
    "./bad_models:raises": "needs the module './bad_models'",
    ".bad_models:raises": "needs the module '.bad_models'",
    "..:f": "needs the module '..'",
    "a b:f": "needs the module 'a b'",
    "\n:f": "needs the module",
    "\x1b[31m:f": "needs the module",
    f"{LONG}:f": "needs the module",
    "ü:f": "needs the module 'ü'",
    "bad_models:": "a name that does not exist in ",
    "bad_models:nothing": "a name that does not exist in ",
    "bad_models:five": "must name a class or a function, got int",
    "bad_models:five.real": "must name a class or a function, got int",
    "bad_models:text": "must name a class or a function, got str",
    "bad_models:raises:2": "a name that does not exist in ",
    "json:factory": "a name that does not exist in ",
    "sys:factory": "a name that does not exist in ",
    "torch:nn": "must name a class or a function, got module",
    "torch.nn:Conv2d": "must build a model when called without arguments, got TypeError",
    "os:getcwd": "must build a torch.nn.Module, got str",
    "builtins:exit": "must build a model when called without arguments, got SystemExit",
    "bad_models:needs_width": "must build a model when called without arguments, got TypeError",
    "bad_models:raises": "got ZeroDivisionError: division by zero",
    "bad_models:raises_lines": "got RuntimeError: first.",
    "bad_models:raises_without_text": "got RuntimeError.",
    "bad_models:leaves": "got SystemExit: 3",
    "bad_models:recurses": "got RecursionError",
    "bad_models:returns_none": "must build a torch.nn.Module, got NoneType",
    "bad_models:returns_class": "must build a torch.nn.Module, got",
    "bad_models:returns_list": "must build a torch.nn.Module, got list",
    "bad_models:Constructor": "got KeyError: 'width'",
    "bad_models:NotCalled": "got AttributeError",
    "bad_syntax:f": "SyntaxError in ",
    "bad_tabs:f": "TabError in ",
    "bad_null:f": "null bytes",
    "bad_latin:f": "SyntaxError",
    "bad_divides:f": "ZeroDivisionError: division by zero",
    "bad_leaves:f": "SystemExit: 0",
    "bad_missing_import:f": "No module named 'no_such_module_at_all'",
    "bad_asserts:f": "AssertionError",
    "bad_lines:f": "ValueError: one.",
    "bad_circular:f": "ImportError",
    "bad_interrupts:f": "MemoryError",
    "bad_empty:f": "a name that does not exist in ",
    "timm:": "timm:",
    "torchvision:no_such_model": "torchvision:",
}
#: Models that `equivariance` cannot measure on an input of 1x8x8, and a part of the error.
RUNS = {
    "lenet5": "must run on an input of shape 1x8x8, got an error in 3 (Conv2d): RuntimeError: ",
    "alexnet": "must run on an input of shape 1x8x8, got an error in 0 (Conv2d): ShapeError: ",
    "bad_models:none": "must be one tensor, got NoneType",
    "bad_models:tuple": "must be one tensor, got tuple",
    "bad_models:mapping": "must be one tensor, got dict",
    "bad_models:number": "must be one tensor, got float",
    "bad_models:nan": "the outputs must be finite",
    "bad_models:random": "must be deterministic",
    "bad_models:reshapes": "got RuntimeError",
    "bad_models:fails": "got IndexError: no;",
    "bad_models:quits": "got SystemExit: 5",
    "bad_models:asserts": "got AssertionError;",
    "bad_models:numpy": "must be one tensor, got ndarray",
    "bad_models:TwoInputs": "got TypeError",
    "bad_models:KeywordOnly": "got TypeError",
    "bad_models:Second": "got OSError: no second run",
    "torch.nn:Module": "got NotImplementedError",
}
#: Checkpoints that do not load into lenet5, and a part of the error.
CHECKPOINTS = {
    "other.pt": "must fit the model",
    "other.safetensors": "must fit the model",
    "half.pt": "must be a safetensors file, or a state dict",
    "half.safetensors": "must be a readable safetensors file",
    "head.safetensors": "must be a readable safetensors file",
    "huge.safetensors": "must be a safetensors file, or a state dict",
    "json.safetensors": "safetensors file",
    "empty.pt": "must be a safetensors file, or a state dict",
    "text.pt": "must be a safetensors file, or a state dict",
    "weights.json": "must be a safetensors file, or a state dict",
    "code.pkl": "must be a safetensors file, or a state dict",
    "other.zip": "must be a safetensors file, or a state dict",
    "floats.npy": "must be a safetensors file, or a state dict",
    "tensor.pt": "must be a state dict",
    "list.pt": "must",
    "numbers.pt": "must",
    **dict.fromkeys(NOT_FILES, "must be"),
}
SHIFTS = {
    **{text: "--shift must be an integer" for text in NOT_NUMBERS if text != "0x10"},
    "0": "shift must not be a multiple",
    "0x0": "shift must not be a multiple",
    "28": "shift must not be a multiple",
    "1x1x1": "one integer for each of 2 spatial axes",
    "1x": "--shift must be an integer",
    "9" * 5000: "--shift must be an integer",
}

#: Groups of command lines, with a part of the error.
ROWS = [
    *((["explain", layer], part) for layer, part in LAYERS.items()),
    *((["explore", layer, "--input", "9"], part) for layer, part in list(LAYERS.items())[:60:4]),
    *((["explain", LAYER, "--input", size], "input size: ") for size in NOT_SIZES),
    *((["explore", LAYER, "--input", size], "input size: ") for size in NOT_SIZES[::3]),
    *((["summary", "lenet5", "--input", size], "input size: ") for size in NOT_SIZES[::2]),
    *((["equivariance", "lenet5", "--input", size], "input size: ") for size in NOT_SIZES[1::2]),
    (["explain", LAYER, "--input", "1x9x9"], "must have in_channels=3, got 1"),
    (["explain", LAYER, "--input", "9x9x3"], "must have in_channels=3, got 9"),
    (["explain", LAYER, "--input", "3x9x9x9"], "input_size must have length 2"),
    (["explain", LAYER, "--input", "2x3x9x9x9x9"], "input_size must have length 2"),
    (["explain", LAYER, "--input", "2x2"], "must be at least (3, 3)"),
    (["explain", "Linear(3, 2)", "--input", "4"], "must have in_features=3, got 4"),
    (["explain", "Linear(3, 2)", "--input", "3x3"], "input_size must have length 1"),
    (["explain", "Conv2D(8, 3)", "--input", "9x9"], "an input size without channels"),
    (["explain", "Conv2D(8, 3)", "--input", "2x2x3"], "must be at least (3, 3)"),
    *((["explain", LAYER, "--input", "3x9x9", "--sharing", s], part) for s, part in SHARINGS.items()),
    *(
        (["explore", LAYER, "--input", "3x9x9", "--sharing", s], part)
        for s, part in list(SHARINGS.items())[::5]
    ),
    (["explain", LAYER, "--sharing", "local"], "needs an input size"),
    (["explain", "Linear(3, 2)", "--sharing", "lowrank:1"], "needs a layer with spatial positions"),
    *((["explain", LAYER, "--html", path], "path must be a writable file") for path in NOT_WRITABLE),
    *((["explore", "--no-browser", "--out", path], "path must be a writable file") for path in NOT_WRITABLE),
    (["explore", "--input", "9"], "--input and --sharing need a layer"),
    (["explore", "--sharing", "full"], "--input and --sharing need a layer"),
    (["explore", LAYER], "its input size must be known"),
    (["explore", "Linear(3, 2)", "--input", "3"], "must be a small enough convolution"),
    (["explore", LAYER, "--input", "3x200000x200000"], "must be a small enough convolution"),
    *((["summary", name], part) for name, part in MODELS.items()),
    *((["ties", name], part) for name, part in list(MODELS.items())[::3]),
    *((["equivariance", name, "--input", "1x8x8"], part) for name, part in list(MODELS.items())[::3]),
    *((["equivariance", name, "--input", "1x8x8"], part) for name, part in RUNS.items()),
    *((["summary", "lenet5", "--weights", path], part) for path, part in CHECKPOINTS.items()),
    *((["ties", "lenet5", "--weights", path], part) for path, part in list(CHECKPOINTS.items())[::4]),
    *((["equivariance", "lenet5", "--weights", path], part) for path, part in list(CHECKPOINTS.items())[::4]),
    *((["equivariance", "lenet5", "--shift", shift], part) for shift, part in SHIFTS.items()),
    *((["equivariance", "lenet5", "--seed", text], "--seed") for text in [*NOT_NUMBERS[:-2], "-1", "9" * 30]),
    (["equivariance", "torch.nn:ReLU"], "needs the shape of one example"),
    (["equivariance", "torch.nn:ReLU", "--input", "9"], "floating-point tensor [N, C, *spatial]"),
    (["equivariance", "lenet5", "--input", "1x1000000x1000000"], "bytes of memory"),
    (["equivariance", "torch.nn:ReLU", "--input", "1x999999999x999999999"], "bytes of memory"),
    (["equivariance", "lenet5", "--shift", "1", "--shift", "x"], "--shift must be an integer"),
    (
        ["equivariance", "lenet5", "--shift", "1", "--shift", "1x1x1"],
        "one integer for each of 2 spatial axes",
    ),
    *(
        (["summary", "lenet5", "--device", name], "device must be available here")
        for name in ["", "gpu", "cuda:x", "cpu:-1", "5", "\x1b"]
    ),
    (["summary", "lenet5", "--input", "1x999999999x999999999x999999999"], "must fit in memory"),
    (["summary", "lenet5", "--explain", "nothing"], "nothing"),
    (["summary", "lenet5", "--explain", "\x1b[31m"], "explain"),
    *((["summary", "lenet5", "--reconcile", text], "--reconcile") for text in NOT_NUMBERS[:-2]),
    (["summary", "lenet5", "--reconcile", "-1"], "reconcile"),
    (["summary", "lenet5", "--json", "--markdown"], "--markdown"),
    (["summary", "lenet5", "--json", "--explain", "0.weight"], "--explain"),
    (["summary", "lenet5", "--markdown", "--reconcile", "5"], "--reconcile"),
    ([], ""),
    (["--bogus"], "No such option: --bogus"),
    (["expalin"], "expalin"),
    (["\x1b[31m"], "No such command"),
    (["explain"], "Missing argument"),
    (["explain", LAYER, LAYER], "unexpected extra argument"),
    (["explain", LAYER, "--inptu", "3"], "No such option: --inptu"),
    (["explain", LAYER, "--\x1b[31m"], "No such option"),
    (["explain", LAYER, "--input"], "--input"),
    (["explain", LAYER, "--json=1"], "--json"),
    (["explain", LAYER, "--input", "9", "--input", "8"], "'--input' must be given only once"),
    (["explain", LAYER, "--json", "--json"], "'--json' must be given only once"),
    (
        ["summary", "lenet5", "--weights", "other.pt", "--weights", "half.pt"],
        "'--weights' must be given only once",
    ),
    (["equivariance", "lenet5", "--seed", "1", "--seed", "2"], "'--seed' must be given only once"),
    (["equivariance", "lenet5", "--interventions", "--no-interventions"], "must be given only once"),
    (["explore", "--out", "a.html", "--out", "b.html"], "'--out' must be given only once"),
    (["backends", "x"], "unexpected extra argument"),
    (["ties"], "Missing argument"),
]


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    write_bad_files(folder)
    paths = list(sys.path)
    yield folder
    sys.path[:] = paths
    for name in [name for name in sys.modules if name.startswith("bad_")]:
        del sys.modules[name]


def list_files(folder):
    return sorted(
        (path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and path.is_file()
    )


@pytest.mark.parametrize(("arguments", "part"), ROWS, ids=lambda value: repr(value)[:90])
def test_a_bad_command_line(command_line, bad_files, monkeypatch, arguments, part):
    monkeypatch.chdir(bad_files)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before, began = list_files(bad_files), time.process_time()
    code, out, err = command_line(*arguments)
    assert time.process_time() - began < 2
    assert (code, out if arguments else "") == (2, "")
    lines = err.splitlines()
    if not err.startswith(("Usage: ", "Error: ")):
        assert err.startswith("weightshare: ")
        assert err.endswith(".\n") or err.endswith("?\n")
        assert len(lines) == 1
    assert all(line.isprintable() for line in lines), err
    assert "Traceback" not in err
    assert part in err
    assert not re.search(r" object at 0x|, got [.;]|: [.;]", err), err
    assert list_files(bad_files) == before
