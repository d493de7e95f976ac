"""Folders, indexes and wrapped checkpoints load, or the error says what was found and what to do."""

import copy
import json
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import nn

import weightshare as ws
from tests.helpers.ties import language_model, tied_language_model
from weightshare import cli
from weightshare.errors import DataError
from weightshare.models.weights import load_weights
from weightshare.tying import load_state_dict


def state():
    """Return the state dict of a language model with one end of its tie, as transformers writes it."""
    torch.manual_seed(1)
    found = tied_language_model().state_dict()
    del found["lm.head.weight"]
    return {name: value.clone() for name, value in found.items()}


def assert_loaded(model, prefix=""):
    expected = state()
    found = model.state_dict()
    assert torch.equal(found[f"{prefix}lm.head.weight"], expected["lm.emb.weight"])
    assert all(torch.equal(found[prefix + name], value) for name, value in expected.items())


def assigned_language_model():
    model = language_model()
    model.lm.head.weight = model.lm.emb.weight
    return model


def add_prefix(prefix):
    return {prefix + name: value for name, value in state().items()}


def get_compiled_part():
    return {name.replace("lm.", "lm._orig_mod."): value for name, value in state().items()}


#: Contents of checkpoints that load, as training scripts write them.
WRAPPED = {
    "plain": state,
    "DDP": lambda: add_prefix("module."),
    "compile": lambda: add_prefix("_orig_mod."),
    "compile of DDP": lambda: add_prefix("_orig_mod.module."),
    "compiled part": get_compiled_part,
    "FSDP1": lambda: add_prefix("_fsdp_wrapped_module."),
    "state_dict": lambda: {"epoch": 3, "state_dict": state(), "best": torch.zeros(())},
    "model": lambda: {
        "model": state(),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(4)}}, "param_groups": []},
    },
    "Lightning": lambda: {
        "pytorch-lightning_version": "2",
        "state_dict": add_prefix("model."),
        "lr_schedulers": [],
    },
    "two levels": lambda: {"checkpoint": {"net": add_prefix("module."), "step": 5}},
    "another network": lambda: {"model": state(), "discriminator": {"conv.weight": torch.zeros(3)}},
}


@pytest.mark.parametrize("make", [language_model, tied_language_model, assigned_language_model])
@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_checkpoints(kind, make, tmp_path):
    content = WRAPPED[kind]()
    torch.save(content, tmp_path / "model.ckpt")
    if make is language_model:  # an untied model needs both ends
        with pytest.raises(DataError, match=r'Missing key\(s\) in state_dict: "lm.head.weight"'):
            load_weights(make(), tmp_path / "model.ckpt")
        return
    by_file, by_dict = make(), make()
    load_weights(by_file, tmp_path / "model.ckpt")
    load_state_dict(by_dict, content)
    assert_loaded(by_file)
    assert_loaded(by_dict)


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [(torch.compile, "_orig_mod."), (lambda model: nn.ModuleDict({"backbone": model}), "backbone.")],
)
def test_a_plain_checkpoint_loads_into_a_wrapped_model(wrap, prefix, tmp_path):
    model = wrap(assigned_language_model())
    save_file(state(), tmp_path / "model.safetensors")
    ws.load_safetensors(model, tmp_path / "model.safetensors")
    assert_loaded(model, prefix)


def test_renaming_keeps_the_versions_of_modules():
    """Without its version, the entry that a batch norm counts its batches in would be added."""
    norm = nn.Sequential(nn.BatchNorm1d(2))
    saved = nn.ModuleDict({"module": norm}).state_dict()
    del saved["module.0.num_batches_tracked"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"0.num_batches_tracked"'):
        load_state_dict(norm, saved)


#: Contents that do not load into a language model, and a part of the error.
UNFIT = {
    "a list": (
        lambda: [state()],
        r"must be a state dict \(a mapping from names to tensors\), got list; save model",
    ),
    "numbers": (lambda: {0: torch.zeros(2)}, "got names that are not text"),
    "no tensors": (
        lambda: {"epoch": 1, "lr": 0.1},
        "got a dictionary with 'epoch', 'lr'; save model.state_dict",
    ),
    "empty": (lambda: {}, "Missing key"),
    "two that fit": (
        lambda: {"model": state(), "ema": state()},
        r"one state dict that fits the model, got checkpoint\['model'\], checkpoint\['ema'\]; load one",
    ),
    "a larger model": (
        lambda: {
            **add_prefix("model."),
            "model.lm.head.weight": torch.zeros(10, 4),
            "loss.weight": torch.zeros(2),
        },
        "this model is the part 'model' of the checkpoint: keep only those names, without 'model.'",
    ),
    "a part": (
        lambda: nn.Linear(10, 4).state_dict(),
        "its names are those of the submodule 'lm.mid': load it into that submodule",
    ),
    "another model": (
        lambda: {"state_dict": {"conv1.weight": torch.zeros(2)}},
        r"which has names such as 'lm.emb.weight', got names such as 'conv1.weight' under "
        r"checkpoint\['state_dict'\]; use a checkpoint of this model",
    ),
    "another shape": (
        lambda: state() | {"lm.emb.weight": torch.zeros(3, 4)},
        "size mismatch for lm.emb.weight",
    ),
    "no tensor": (lambda: state() | {"lm.emb.weight": 3}, "lm.emb.weight"),
}


@pytest.mark.parametrize("make", [tied_language_model, assigned_language_model])
@pytest.mark.parametrize("kind", UNFIT)
def test_checkpoints_that_do_not_fit(kind, make, tmp_path):
    content, message = UNFIT[kind]
    torch.save(content(), tmp_path / "model.pt")
    model = make()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(DataError, match=message):
        load_weights(model, tmp_path / "model.pt")
    with pytest.raises((DataError, RuntimeError), match=message):
        load_state_dict(model, content())
    load_weights(model, save_into(tmp_path, before))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def save_into(folder, content):
    torch.save(content, folder / "before.pt")
    return folder / "before.pt"


def write_shards(folder, save=save_file, stem="model", ending="safetensors"):
    """Write a checkpoint in two files with an index, as transformers does."""
    names, content = {}, state()
    for number, part in enumerate((list(content)[:2], list(content)[2:]), 1):
        file = f"{stem}-{number:05}-of-00002.{ending}"
        save({name: content[name] for name in part}, folder / file)
        names |= dict.fromkeys(part, file)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    (folder / "config.json").write_text("{}")
    return index


def write_torch_shards(folder):
    return write_shards(folder, torch.save, "pytorch_model", "bin")


def write_one(folder, name, save=save_file):
    save(state(), folder / name)
    return folder / name


#: Ways to write a folder.
FOLDERS = {
    "one file": lambda folder: write_one(folder, "model.safetensors"),
    "one torch file": lambda folder: write_one(folder, "pytorch_model.bin", torch.save),
    "diffusers": lambda folder: write_one(folder, "diffusion_pytorch_model.safetensors"),
    "shards": write_shards,
    "torch shards": write_torch_shards,
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders(kind, tmp_path):
    file = FOLDERS[kind](tmp_path)
    for path in (tmp_path, str(tmp_path), file):
        model = assigned_language_model()
        load_weights(model, path)
        assert_loaded(model)
        if "torch" not in kind:
            model = assigned_language_model()
            ws.load_safetensors(model, path)
            assert_loaded(model)


def damage_index(text):
    def write(folder):
        write_shards(folder).write_text(text)

    return write


def lose_shard(folder):
    write_shards(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def cut_shard(folder):
    write_shards(folder)
    file = folder / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-3])


def lose_name(folder):
    write_shards(folder)
    save_file({"lm.emb.weight": torch.zeros(10, 4)}, folder / "model-00001-of-00002.safetensors")


def lead_outside(folder):
    index = write_shards(folder)
    index.write_text(index.read_text().replace("model-00002", "../model-00002"))


def save_distributed(folder):
    dcp.save(state(), checkpoint_id=folder, no_dist=True)


def touch(*names):
    def write(folder):
        for name in names:
            (folder / name).touch()

    return write


#: Folders without a checkpoint, and a part of the error.
BAD_FOLDERS = {
    "empty": (lambda folder: None, "or a folder with one of model.safetensors, .*, got an empty folder"),
    "config alone": (touch("config.json"), "got a folder with config.json; use the path of the file"),
    "other formats": (touch("tf_model.h5", *"abcdef"), "got a folder with a, b, c, d, e and 2 more"),
    "two files": (
        touch("a.safetensors", "b.safetensors"),
        "must have one checkpoint, got a.safetensors, b.safe",
    ),
    "adapter": (
        touch("adapter_config.json", "adapter_model.safetensors"),
        "got a PEFT adapter.*merge_and_unload",
    ),
    "pipeline": (touch("model_index.json"), "got a diffusers pipeline .* use the folder of one model"),
    "distributed": (save_distributed, "got a checkpoint of torch.distributed; .*format_utils dcp_to_torch"),
    "empty file": (touch("model.safetensors"), "must be a "),
    "lost shard": (
        lose_shard,
        r"all files that model.safetensors.index.json lists, got 1 of 2 files, without model-00002-of",
    ),
    "cut shard": (cut_shard, "must be a readable safetensors file"),
    "lost name": (
        lose_name,
        "must have the names that its index lists, got model-00001-of-00002.safetensors without",
    ),
    "outside": (lead_outside, "must list files of its own folder, got ../model-00002"),
    "no index": (
        damage_index("[]"),
        "must be an index with a weight_map .*, got model.safetensors.index.json without",
    ),
    "no names": (damage_index('{"weight_map": {"a": 1}}'), "must be an index with a weight_map"),
    "no JSON": (damage_index("{"), "must be an index with a weight_map .*, got JSONDecodeError"),
    "deep JSON": (damage_index("[" * 100_000), "must be an index with a weight_map .*, got RecursionError"),
    "not text": (lambda folder: write_shards(folder).write_bytes(b"\xff\xfe\x00"), "must be an index with"),
}


@pytest.mark.parametrize("kind", BAD_FOLDERS)
def test_folders_without_a_checkpoint(kind, tmp_path):
    write, message = BAD_FOLDERS[kind]
    write(tmp_path)
    model = assigned_language_model()
    before = copy.deepcopy(model.state_dict())
    for load in (load_weights, ws.load_safetensors):
        with pytest.raises(DataError, match=message):
            load(model, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_load_safetensors_names_the_way_to_load_other_files(tmp_path):
    for write in (FOLDERS["one torch file"], write_torch_shards):
        write(tmp_path)
        with pytest.raises(
            DataError, match=r"safetensors file.*torch.load, and load it with weightshare\.ty"
        ):
            ws.load_safetensors(assigned_language_model(), tmp_path)
        (tmp_path / "pytorch_model.bin").unlink(missing_ok=True)


def test_a_file_that_does_not_fit_leaves_the_model_unchanged(tmp_path):
    model = assigned_language_model()
    before = copy.deepcopy(model.state_dict())
    save_file(state() | {"extra": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "extra"'):
        ws.load_safetensors(model, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    ws.load_safetensors(model, tmp_path, strict=False)
    assert_loaded(model)


def test_code_in_a_shard_is_not_run(tmp_path):
    class Opens:
        def __reduce__(self):
            return open, (str(tmp_path / "there"), "w")

    index = write_torch_shards(tmp_path)
    torch.save({"lm.emb.weight": Opens()}, tmp_path / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(DataError, match=r"torch.load\(weights_only=True\) can read"):
        load_weights(assigned_language_model(), index)
    torch.save({"hyper_parameters": SimpleNamespace(lr=1), "state_dict": state()}, tmp_path / "last.ckpt")
    with pytest.raises(DataError, match="if you trust the file, load it elsewhere"):
        load_weights(assigned_language_model(), tmp_path / "last.ckpt")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(("alias", "code"), [(None, 0), (0.0, 0), (1.0, 2)])
def test_the_command_line(alias, code, tmp_path, monkeypatch, capsys):
    """One end and two equal ones load into a model tied by assignment; two that differ are named."""
    content = state() | ({} if alias is None else {"lm.head.weight": state()["lm.emb.weight"] + alias})
    torch.save({"model": content}, tmp_path / "last.pt")
    monkeypatch.setattr("sys.argv", ["weightshare", "ties", f"{__name__}:assigned_language_model"])
    monkeypatch.setattr("sys.argv", [*sys.argv, "--weights", str(tmp_path / "last.pt")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    error = capsys.readouterr().err
    message = (
        "lm.head.weight and lm.emb.weight must have equal values, because they are tied, got different values"
    )
    assert (message in error) == (code == 2)
    assert error.count("\n") == (code == 2)
