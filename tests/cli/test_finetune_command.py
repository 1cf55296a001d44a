"""``npconv finetune``: what it prints, what it says of odd photos and calls, its exit statuses, Ctrl-C."""

from __future__ import annotations

import io
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from support.labelled_pictures import draw, draw_classes

import npconv
from npconv.cli import main, progress
from npconv.files.locks import is_left


@pytest.fixture
def photos(tmp_path) -> Path:
    return draw_classes(tmp_path / "photos", {"lily": 6, "rose": 6})


@pytest.fixture
def run(capsys, monkeypatch, tmp_path, model):
    """Return what runs the command, and gives its status, stdout and the lines of stderr."""
    monkeypatch.setenv("NPCONV_CACHE", str(tmp_path / "cache"))

    def run(*words: object) -> tuple[int, str, list[str]]:
        status = main(["finetune", *map(str, words), "--model", str(model)])
        said = capsys.readouterr()
        return status, said.out, said.err.splitlines()

    return run


def test_a_model_is_written_and_measured(run, photos, tmp_path):
    status, out, errors = run(photos, "-o", tmp_path / "made", "--validation", "0.5")
    assert (status, errors) == (0, [])
    lines = out.splitlines()
    assert lines[0] == f"model              {tmp_path / 'made'}"
    assert lines[1] == "photos             6 of the part validation"
    assert lines[2].startswith("top-1 ")
    assert npconv.AutoConfig.from_pretrained(tmp_path / "made").id2label == {0: "lily", 1: "rose"}
    assert main(["classify", "--model", str(tmp_path / "made"), str(photos / "rose" / "0.png")]) == 0


def test_lost_photos_are_named_and_the_status_says_so(run, photos, tmp_path):
    (photos / "rose" / "2.png").write_bytes(b"no picture at all, but long enough")
    status, out, errors = run(photos, "-o", tmp_path / "made")
    assert status == 1
    assert len(errors) == 1
    assert errors[0].startswith(f"npconv finetune: {photos / 'rose' / '2.png'}: not a picture")
    assert "top-1" in out


def test_near_duplicates_are_told(run, photos, tmp_path):
    draw_classes(tmp_path / "others", {"lily": 1, "rose": 1})
    with Image.open(photos / "rose" / "0.png") as picture:
        picture.save(tmp_path / "others" / "rose" / "copy.bmp")
    _, out, _ = run(photos, "-o", tmp_path / "made", "--validation", tmp_path / "others")
    assert "nearly the same as" in out.splitlines()[-1]


def test_a_terminal_shows_how_many_heads_are_fitted(run, photos, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(progress, "INTERVAL", 0)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    run(photos, "-o", tmp_path / "made")
    shown = terminal.getvalue().split("\r")
    assert [line for line in shown if line.startswith("12 of 12 photos, ")]
    assert [line for line in shown if re.match(r"\d+ heads fitted, [0-9.]+ a second", line)]
    assert not shown[-2].strip()  # the line is taken away at the end


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "made", "--layers", "tail"], "expected layers to be head, all or a number of stages, got 'tail'"),
        (["-o", "made", "--layers", "0"], "expected layers to be head, all or a number of stages, got 0"),
        (["-o", "made", "--validation", "1.5"], "expected a share between 0 and 1"),
        (["-o", "made", "--validation", "nowhere"], "nowhere: no such folder or file"),
        (["-o", "made", "--stages", "7"], "expected stages to be one of 1, 2"),
        (["-o", "made", "--seed", "-1"], "expected a whole number of at least 0, got '-1'"),
        (["-o", "photos"], "which the call reads; give another folder"),
        ([], "the following arguments are required: -o/--output"),
    ],
)
def test_a_call_that_makes_no_sense_is_one_line(run, photos, monkeypatch, words, said):
    monkeypatch.chdir(photos.parent)
    status, out, errors = run("photos", *words)
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert said in errors[0]
    assert not Path("made").exists()


def test_sources_that_are_none_are_one_line(run, tmp_path):
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "one" / "cat" / "1.png", (1, 2, 3))
    draw(tmp_path / "one" / "cat" / "2.png", (1, 2, 4))
    for source in ("empty", "one", "missing"):
        status, out, errors = run(tmp_path / source, "-o", tmp_path / "made")
        assert (status, out, len(errors)) == (2, "", 1)
        assert errors[0].startswith("npconv: error: ")
    assert not (tmp_path / "made").exists()


def test_a_file_in_the_place_of_the_folder_is_told(run, photos, tmp_path):
    (tmp_path / "made").write_text("mine")
    status, _, errors = run(photos, "-o", tmp_path / "made", "--force")
    assert status == 2
    assert "expected a folder to write to" in errors[0]
    assert (tmp_path / "made").read_text() == "mine"


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent to a process")
def test_ctrl_c_leaves_nothing_behind(console, model, tmp_path):
    """While the features of some hundred photos are worked out, of which those that are done are kept."""
    photos = draw_classes(tmp_path / "photos", {"lily": 400, "rose": 400})
    cache = tmp_path / "cache"
    words = ("finetune", str(photos), "-o", str(tmp_path / "made"), "--model", str(model), "--workers", "1")
    process = console(*words, "--batch-size", "1", env={"NPCONV_CACHE": str(cache)})
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size > 1000 for file in cache.glob("features/*.npconv")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert error.decode().splitlines()[-1].startswith("npconv: interrupted")
    assert not (tmp_path / "made").exists()
    assert not [path for path in tmp_path.iterdir() if is_left(path.name)]
