"""Data given in Python: arrays, data sets, loaders, and functions that return them."""

import sys

import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from weightshare.errors import DataError, SpecError
from weightshare.study import StudySpec, run
from weightshare.study.data import datasets, load_examples

X = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 2
TEST = X[:10], Y[:10]


class Named(TensorDataset):
    classes = ("night", "day")


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y)


class Broken(Dataset):
    def __init__(self, items, length=8):
        self.items, self.length = items, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.items(index)


def digest(data, **options):
    return load_examples(StudySpec(data, **options)).digest


def test_every_form_of_the_same_data_is_the_same():
    pair, whole = TensorDataset(X, Y), TensorDataset(*TEST)
    without_test = [
        (X, Y),
        [X.numpy(), Y.tolist()],
        {"x": X, "y": Y},
        pair,
        DataLoader(pair, batch_size=7),
        DataLoader(pair, batch_size=7, shuffle=True),
        (pair,),
        Stream(),
        DataLoader(Stream(), batch_size=3),
        lambda: (X.double(), Y),
        lambda: pair,
        {"train": pair},
    ]
    assert len({digest(data) for data in without_test if data != (pair,)}) == 1
    with_test = [
        (X, Y, *TEST),
        ((X, Y), TEST),
        {"x_train": X, "y_train": Y, "x_test": TEST[0], "y_test": TEST[1]},
        (pair, whole),
        {"train": pair, "test": DataLoader(whole)},
        lambda: {"test": whole, "train": pair},
    ]
    assert len({digest(data) for data in with_test}) == 1
    assert digest(with_test[0]) != digest(without_test[0])


def test_inputs_alone_are_enough_for_reconstruction():
    forms = [{"x": X}, TensorDataset(X), list_of_inputs(), {"x": X, "y": Y}]
    assert len({digest(data, task="reconstruction") for data in forms}) == 1
    with pytest.raises(
        DataError, match="every input must have a target, got inputs without targets; add targets"
    ):
        digest(TensorDataset(X))


def list_of_inputs():
    return Broken(lambda index: X[index], len(X))


def test_class_names_are_those_of_the_data_set():
    assert load_examples(StudySpec(Named(X, Y))).class_names == ("night", "day")
    assert load_examples(StudySpec(Subset(Named(X, Y), range(20)))).class_names == ("night", "day")
    assert load_examples(StudySpec(lambda: (Named(X, Y), Named(*TEST)))).class_names == ("night", "day")
    assert load_examples(StudySpec(TensorDataset(X, Y + 3))).class_names == ("3", "4")
    with pytest.raises(DataError, match="classes must be between 0 and 1, one per class name, got 2"):
        load_examples(StudySpec(Named(X, Y + 1)))


def test_axes_of_a_dictionary():
    images = X.numpy()[:, 0]
    assert load_examples(StudySpec({"x": images, "y": Y, "axes": "NHW"})).size == (6, 6)
    last = {"x": X.permute(0, 2, 3, 1), "y": Y, "axes": "NHWC"}
    assert digest(last) == digest((X, Y))
    series = load_examples(StudySpec((images, Y)))
    assert (series.channels, series.size) == (6, (6,))
    assert series.notes == ("Inputs with three axes were read as 6 channels of length 6.",)
    assert load_examples(StudySpec({"x": images, "y": Y, "axes": "NCL"})).notes == ()


def test_pairs_of_keras_have_the_channels_last():
    colors = torch.randn(40, 3, 6, 6)
    last = colors.permute(0, 2, 3, 1).numpy()
    assert digest(((last, Y), (last[:10], Y[:10]))) == digest((colors, Y, colors[:10], Y[:10]))
    gray = X.numpy()[:, 0]
    assert digest(((gray, Y), (gray[:10], Y[:10]))) == digest((X, Y, *TEST))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    before = set(sys.modules)

    def write(text, name="my_data"):
        (tmp_path / f"{name}.py").write_text(text)
        return f"{name}:load"

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


LOAD = """
import torch

def load():
    import my_helper
    return my_helper.x, torch.arange(40) % 2
"""


def test_a_function_is_found_in_the_current_folder(module):
    module("import torch\nx = torch.randn(40, 1, 6, 6)", "my_helper")
    name, path = module(LOAD), list(sys.path)
    examples = load_examples(StudySpec(name))
    assert examples.name == "my_data:load"
    assert examples.task_name == "classification"
    assert sys.path == path


def test_files_in_the_current_folder_do_not_replace_installed_modules(module):
    module("def load(): raise SystemExit", "colorsys")
    module("raise SystemExit", "weightshare")
    module("raise SystemExit", "sklearn")
    module("import colorsys, sklearn, weightshare, torch\nx = torch.randn(40, 1, 6, 6)", "my_helper")
    assert load_examples(StudySpec(module(LOAD))).size == (6, 6)
    with pytest.raises(
        SpecError, match="data 'colorsys:load': must name a function, got no 'load' in 'colorsys'"
    ):
        load_examples(StudySpec("colorsys:load"))


def test_a_study_of_a_function_is_continued(module, tmp_path):
    text = "def load(): return torch.eye(6).repeat(40, 1, 1, 1).cumsum(0), torch.arange(40) % 2"
    name = module(f"import torch\n{text}")
    spec = StudySpec(name, "full", seeds=1, width=2, epochs_max=1, accelerator="cpu", out=tmp_path / "out")
    first = run(spec)
    assert first.data.name == name
    records = (tmp_path / "out" / "records.jsonl").read_bytes()
    assert run(spec).to_json() == first.to_json()
    assert (tmp_path / "out" / "records.jsonl").read_bytes() == records


def test_a_data_set_is_read_once(monkeypatch):
    reads = []
    load_examples(StudySpec(Broken(lambda k: reads.append(k) or (X[k], Y[k]), 40)))
    assert reads == [*range(40), 0]  # the first one again, to see whether it is random
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "MAX_BYTES", 1000)
        with pytest.raises(
            DataError, match="examples and 1,000 bytes, got more in example 6; use fewer or smaller"
        ):
            load_examples(StudySpec(TensorDataset(X, Y)))
    monkeypatch.setattr(datasets, "MAX_EXAMPLES", 9)
    with pytest.raises(
        DataError, match=r"train: must have at most 9 examples and .*, got more in example 9; use"
    ):
        load_examples(StudySpec(Stream()))


def test_a_data_set_may_use_its_memory_again():
    buffer = torch.zeros(1, 6, 6)
    assert digest(Broken(lambda k: (buffer.copy_(X[k]), Y[k]), 40)) == digest((X, Y))


def test_booleans_are_numbers():
    assert digest((X > 0, Y > 0)) == digest(((X > 0).byte(), Y))


def raise_error(error):
    raise error


PAIR = X[0], 0
BAD = [
    (
        Broken(lambda k: (X[0] * torch.nan, k % 2)),
        "training inputs: must be finite numbers, got NaN or infinity in 8",
    ),
    (Broken(lambda k: PAIR, 0), "train: must have at least one example, got an empty data set."),
    (
        Broken(lambda k: raise_error(KeyError("k")) if k == 3 else PAIR),
        "example 3: must be readable, got KeyError: 'k'.",
    ),
    (
        Broken(lambda k: raise_error(StopIteration) if k == 3 else PAIR),
        "example 3: must be readable, got StopIteration.",
    ),
    (
        Broken(lambda k: PAIR, length=-1),
        "example 0: must be readable, got ValueError: __len__() should return >= 0",
    ),
    (
        Broken(lambda k: None),
        "example 0: must be a pair of a tensor or array and a target, got an input of type NoneType.",
    ),
    (
        Broken(lambda k: {"x": X[0]}),
        "must be a pair of a tensor or array and a target, got an input of type dict.",
    ),
    (Broken(lambda k: (*PAIR, 1)), "must be a pair of a tensor or array and a target, got 3 values."),
    (Broken(lambda k: ()), "must be a pair of a tensor or array and a target, got 0 values."),
    (
        Broken(lambda k: ("a.png", 1)),
        "must be a pair of a tensor or array and a target, got an input of type str.",
    ),
    (Broken(lambda k: (X[0], "cat")), "example 0, target: must be an array or a tensor of numbers, got str."),
    (
        Broken(lambda k: (X[0], None)),
        "example 0, target: must be an array or a tensor of numbers, got NoneType.",
    ),
    (
        Broken(lambda k: PAIR if k < 2 else X[0]),
        "example 2: must be a pair of a tensor or array and a target, got a pair",
    ),
    (
        Broken(lambda k: (X[0, :, :5] if k == 3 else X[0], k)),
        "every input must have the same shape and type, got float32 [1, 6, 6] in example 0 and float32",
    ),
    (
        Broken(lambda k: (X[0], k / 2 if k else 1)),
        "every target must have the same shape and type, got int64 [] in",
    ),
    (
        Broken(lambda k: (torch.randn(1, 6, 6), k)),
        "an example must not change, got another example 0 when it is read",
    ),
    (
        Broken(lambda k: (X[0, 0, 0], k)),
        "x: must have the shape [N, C, L], [N, C, H, W] or [N, C, D, H, W], got (8, 6)",
    ),
    (
        DataLoader(TensorDataset(X, Y), sampler=[1, 2]),
        "a DataLoader must load all examples, got a list; select them",
    ),
    (
        DataLoader(TensorDataset(X, Y), sampler=WeightedRandomSampler([1.0] * 40, 40)),
        "must load all examples, got a WeightedRandomSampler; select them with torch.utils.data.Subset.",
    ),
    (
        DataLoader(TensorDataset(X, Y), collate_fn=list),
        "a DataLoader must have the default collate_fn, got another",
    ),
    ({"train": X, "test": X}, "train: must be a Dataset or a DataLoader, got Tensor."),
]


@pytest.mark.parametrize(("data", "text"), BAD, ids=[text[:50] for _, text in BAD])
def test_data_sets_that_cannot_be_read(data, text):
    with pytest.raises(DataError) as caught:
        load_examples(StudySpec(data))
    assert text in str(caught.value)


FORMS = "data must be arrays (x, y) or (x_train, y_train, x_test, y_test), a Dataset, a pair of Datasets, or"


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (None, "NoneType"),
        (X, "Tensor"),
        ("digits", "str"),
        ((X, Y, X), "a tuple of 3"),
        ([], "a list of 0"),
        ({"x_train": X, "y_train": Y}, "a dictionary with the keys 'x_train', 'y_train'"),
        ({"images": X, "\x1b[0m": Y}, r"a dictionary with the keys 'images', '\x1b[0m'"),
        ((k for k in X), "generator"),
    ],
)
def test_a_function_that_returns_something_else(result, got):
    with pytest.raises(DataError) as caught:
        load_examples(StudySpec(lambda: result))
    assert FORMS in str(caught.value)
    assert f"got {got}." in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def load(: pass", "data 'my_data:load': module 'my_data' must be importable, got SyntaxError in "),
        ("1 / 0", "module 'my_data' must be importable, got ZeroDivisionError: division by zero."),
        ("raise SystemExit(3)", "module 'my_data' must be importable, got SystemExit: 3."),
        (
            "import nothing_like_it",
            "must be importable, got ModuleNotFoundError: No module named 'nothing_like_it'.",
        ),
        ("load = 3", "data 'my_data:load': must name a function, got int."),
        ("", "data 'my_data:load': must name a function, got no 'load' in 'my_data'."),
        (
            "def load(n): pass",
            "my_data:load: must return data when called without arguments, got TypeError: load() mis",
        ),
        (
            "def load(): 1 / 0",
            "must return data when called without arguments, got ZeroDivisionError: division by zero.",
        ),
        ("def load(): exit(3)", "must return data when called without arguments, got SystemExit: 3."),
        ("def load(): raise ValueError('b\\x1b' + 'c' * 999)", r"got ValueError: b\x1bccc"),
        ("def load(): yield 1", "or train and test, as its keys, got generator."),
    ],
)
def test_a_function_that_fails(module, text, message):
    name = module(text)
    with pytest.raises((DataError, SpecError)) as caught:
        load_examples(StudySpec(name))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500
