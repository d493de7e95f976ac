"""`weightshare study` runs, resumes and reports a study; each error is one line with exit code 2."""

import re
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from weightshare import cli
from weightshare.cli.study import get_default_folder
from weightshare.study import StudySpec

SMALL = ["--seeds", "1", "--epochs-max", "1", "--width", "3", "--accelerator", "cpu"]


def call(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error of the command line."""
    monkeypatch.setattr(sys, "argv", ["weightshare", *arguments])
    try:
        cli.main()
        code = 0
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_study_prints_its_table_and_resumes(monkeypatch, capsys, tiny, tmp_path):
    arguments = ["study", tiny, "--sharing", "full,local", "--out", str(tmp_path / "out"), *SMALL]
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert code == 0
    assert re.search(r"^ ?full .*\n ?local ", out, re.MULTILINE)
    assert f"{tmp_path / 'out' / 'report.html'}" in out
    assert [line[:4] for line in err.splitlines() if re.match(r"\d/\d", line)] == ["1/2 ", "2/2 "]
    again = call(monkeypatch, capsys, *arguments)
    assert again[0] == 0
    assert again[1] == out
    assert again[2] == ""


def test_a_folder_is_chosen_when_none_is_given(monkeypatch, capsys, tiny, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "study", tiny, "--sharing", "full", *SMALL)[0] == 0
    (folder,) = tmp_path.glob("study-tiny-*")
    assert (folder / "report.html").is_file()
    assert get_default_folder(StudySpec("folder:../../a b")).parent.name == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["digts"],
            "study data: must be one of digits, faces, npz:FILE, folder:DIR, package.module:function",
        ),
        (["digits", "--width", "10000000000"], "study: width must be at most 4,096, got 10,000,000,000."),
        (["digits", "--width", "4096"], "must have at most 134,217,728 parameters, got 302,026,752"),
        (["digits", "--seeds", "0"], "study: seeds must be at least 1, got 0"),
        (["digits", "--sharing", "lowrank:-1"], "rank must be at least 0, got -1"),
        (["digits", "--sharing", "regional:9"], "study: sharing=Regional(9)"),
        (
            ["digits", "--sharing", "mapped:none.npy"],
            "sharing 'mapped:none.npy': must name a readable .npy file",
        ),
        (["npz:none.npz"], "npz:none.npz: must be a file, got a path that does not exist"),
        (
            ["folder:none"],
            "folder:none: must be a folder with one subfolder of images per class, got a path",
        ),
        (["npz:a\x1b[31m"], "npz:a\\x1b[31m: must be a file"),
        (["digits", "--train-images", "5"], "train_images must be between 20 (two per class) and 1348"),
        (
            ["digits", "--precision", "half-baked"],
            "Lightning Fabric must accept accelerator, devices, strategy and precision",
        ),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments, text):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(monkeypatch, capsys, "study", *arguments, "--out", "out")
    assert code == 2
    assert out == ""
    assert err.startswith("weightshare: ")
    assert text in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_is_exit_code_130(monkeypatch, capsys, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("weightshare.study.run", interrupt)
    code, _, err = call(monkeypatch, capsys, "study", "digits", "--out", str(tmp_path / "out"))
    assert code == 130
    assert "Interrupted." in err
    assert f"Finished trials are saved in {tmp_path / 'out'}; run the same command again to continue." in err


@pytest.mark.long
def test_a_study_continues_after_a_keyboard_interrupt(tiny, tmp_path):
    out = tmp_path / "out"
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from weightshare.cli import main; main()"
    )
    given = ["study", tiny, "--sharing", "full,local", "--seeds", "6", "--width", "3", "--accelerator", "cpu"]
    call = [sys.executable, "-c", code, *given, "--epochs-max", "60", "--patience", "60", "--out", str(out)]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as running:
        assert any(line.startswith("1/12 full, seed 0: ") for line in running.stderr)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert f"Finished trials are saved in {out}; run the same command again to continue." in err
    assert "Traceback" not in err
    kept = (out / "records.jsonl").read_text()
    assert 1 <= kept.count("\n") < 12
    assert not (out / "results.json").exists()
    subprocess.run(call, check=True, capture_output=True, timeout=300)
    records = (out / "records.jsonl").read_text()
    assert records.startswith(kept)
    assert records.count("\n") == 12
    assert (out / "report.html").is_file()


def test_help_lists_the_flags():
    text = CliRunner().invoke(cli.app, ["study", "--help"]).output
    for flag in (
        "--sharing",
        "--seeds",
        "--out",
        "--train-images",
        "--epochs-max",
        "--accelerator",
        "--precision",
    ):
        assert flag in text


def test_a_missing_package_is_an_error_with_the_command_that_installs_it():
    blocked = (
        "import sys; sys.modules['filelock'] = None\n"
        "import importlib.util as util; found = util.find_spec\n"
        "util.find_spec = lambda name, *a: None if name == 'filelock' else found(name, *a)\n"
        "sys.argv = ['weightshare', 'study', 'digits']\n"
        "from weightshare.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    message = (
        "study: needs the package filelock, got no such package; "
        "run pip install '.[study]' in the repository."
    )
    assert message in ended.stderr


def test_help_does_not_import_torch():
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['weightshare', '--help']\n"
        "from weightshare.cli import main; main()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
