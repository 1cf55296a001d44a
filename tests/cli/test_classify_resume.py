"""``npconv classify --output FILE``, ``--resume`` and the progress on a terminal."""

import csv
import io
import json
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.cli_samples import classify

from npconv import InputError
from npconv.cli import progress
from npconv.cli.formats import RESUMABLE, read_earlier
from npconv.cli.output import Output
from npconv.cli.photos import Result

pytestmark = pytest.mark.long

HARD_NAMES = ["a.png", 'quo"te, comma.png', "line\nbreak.png", "\x1b.png", "\udcff.png", "é.png", "", "-", "file"]


def names_in(text: str, form: str) -> list[str]:
    """The photos of an output, in its order."""
    if form == "jsonl":
        return [json.loads(line)["file"] for line in text.splitlines()]
    return [row["file"] for row in csv.DictReader(io.StringIO(text), strict=True)]


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_a_file_holds_what_would_be_printed(capsys, model, photos, tmp_path, form) -> None:
    file = tmp_path / "out"
    printed = classify(capsys, model, *photos, "--format", form)
    older = classify(capsys, model, *photos * 2, photos[3], "--format", "csv", "--output", str(file))
    assert (older[0], file.stat().st_size > len(printed[1])) == (1, True)
    status, out, errors = classify(capsys, model, *photos, "--format", form, "--output", str(file))
    assert (status, out, errors) == (printed[0], "", printed[2])
    assert file.read_text() == printed[1]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("kept", [0, 1, 10, 60, 150, -1, -3, None])
def test_a_run_goes_on_where_it_ended(capsys, model, photos, tmp_path, form, kept) -> None:
    file = tmp_path / "out"
    words = (*photos, photos[3], "--format", form, "--output", str(file), "--resume")
    assert classify(capsys, model, *words)[0] == 1
    whole = file.read_bytes()
    assert names_in(whole.decode(), form) == [*photos, photos[3]]
    file.write_bytes(whole[:kept])  # as if it had been killed in the middle of a line, or of the header
    status, out, _ = classify(capsys, model, *words, "--batch-size", "1")
    assert (status, out) == (1, "")
    assert names_in(file.read_text(), form) == [*photos, photos[3]]
    before = file.read_bytes()
    assert classify(capsys, model, *words) == (1, "", [])  # nothing is left to do
    assert file.read_bytes() == before


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_only_what_is_missing_is_appended(capsys, model, photos, tmp_path, form) -> None:
    file = tmp_path / "out"
    words = ("--format", form, "--output", str(file), "--resume")
    assert classify(capsys, model, photos[3], *words)[0] == 0
    assert classify(capsys, model, photos[0], photos[3], photos[8], photos[3], *words)[0] == 0
    assert names_in(file.read_text(), form) == [photos[3], photos[0], photos[8], photos[3]]


def test_a_file_of_something_else_is_left_alone(capsys, model, photos, tmp_path) -> None:
    file = tmp_path / "out"
    for form, text in [
        ("csv", "a,b,c\n"),
        ("csv", "file,label_1,score_1,label_2,score_2,error\n"),
        ("jsonl", "a text\n"),
        ("jsonl", "[1, 2]\n"),
        ("jsonl", '{"file": 3, "error": "x"}\n'),
        ("jsonl", "[" * 100_000 + "\n"),
        ("jsonl", "\udcff\n"),
    ]:
        file.write_bytes(text.encode(errors="surrogateescape"))
        words = (photos[0], "--format", form, "--output", str(file), "--resume")
        status, _, errors = classify(capsys, model, *words)
        assert status == 2
        assert errors[0].startswith(f"npconv: error: {file}: line 1 was not written by this command in this format: ")
        assert len(errors) == 1
        assert file.read_bytes() == text.encode(errors="surrogateescape")


def test_resuming_needs_a_file_and_a_format(capsys, model, photos, tmp_path) -> None:
    expected = ["npconv: error: --resume needs --output FILE and --format jsonl or csv"]
    for words in [("--format", "csv"), ("--output", str(tmp_path / "out")), ("--format", "json", "--output", "x")]:
        assert classify(capsys, model, photos[0], "--resume", *words) == (2, "", expected)


def test_a_file_that_cannot_be_written_is_one_line(capsys, model, photos, tmp_path) -> None:
    for name in (tmp_path, tmp_path / "no" / "folder"):
        status, _, errors = classify(capsys, model, photos[0], "--output", str(name))
        assert status == 2
        assert len(errors) == 1
        assert errors[0].startswith(f"npconv: error: {name}: cannot be written")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    form_name=st.sampled_from(list(RESUMABLE)),
    files=st.lists(st.sampled_from(HARD_NAMES), min_size=1, max_size=6),
    cut=st.floats(0, 1),
)
def test_whatever_is_cut_is_missing(tmp_path: Path, form_name: str, files: list[str], cut: float) -> None:
    form = RESUMABLE[form_name](files, 2, False)
    labels = [{"label": 'a "b",\n', "score": 0.5}, {"label": "c", "score": 0.25}]
    entries = [
        form.entry(Result(file, labels if i % 2 else (), None if i % 2 else "bad")) for i, file in enumerate(files)
    ]
    content = (form.start() + "".join(entries)).encode()
    path = tmp_path / "out"
    path.write_bytes(content[: round(cut * len(content))])
    with path.open("rb") as file:
        earlier = read_earlier(file, str(path), form)
    kept = earlier.size
    whole = content[:kept].decode().splitlines()
    assert content[:kept].endswith(b"\n") or kept == 0
    done = max(0, len(whole) - len(form.start().splitlines()))
    assert sum(earlier.done.values()) == done
    assert earlier.missing(files, form.name) == missing_of(files, files[:done])
    assert earlier.failed == (done > 0)  # the first photo failed


def missing_of(files: list[str], done: list[str]) -> list[str]:
    """The files without the first occurrences of those that are done."""
    left = list(done)
    return [file for file in files if not (file in left and (left.remove(file) or True))]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is(capsys, model, photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(progress, "INTERVAL", 0)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    words = (photos[0], photos[2], photos[3], "--batch-size", "1", "--output", str(tmp_path / "out"))
    classify(capsys, model, *words)
    shown = terminal.getvalue()
    assert "\r1 of 3 photos, " in shown
    assert "\r3 of 3 photos, " in shown
    lines = shown.split("\n")
    assert len(lines) == 2
    assert lines[0].rpartition("\r")[2].startswith(f"npconv classify: {photos[2]}: ")  # on a line of its own
    assert lines[1].endswith("\r")
    assert not lines[1].rstrip("\r").rpartition("\r")[2].strip()  # the counter is taken away at the end


def test_tqdm_is_used_where_it_is_installed(monkeypatch) -> None:
    """Its bar goes away at the end, and fits a window whose width changes."""
    terminal, made = Terminal(), mock.MagicMock()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setitem(sys.modules, "tqdm", made)
    shown = progress.make_progress(3, "photos", output_is_elsewhere=True)
    made.tqdm.assert_called_once_with(total=3, unit=" photos", file=terminal, leave=False, dynamic_ncols=True)
    bar = made.tqdm.return_value
    shown.advance(2)
    bar.update.assert_called_once_with(2)
    shown.clear()
    bar.clear.assert_called_once_with()
    shown.close()
    bar.close.assert_called_once_with()


def test_the_bar_of_tqdm_itself(monkeypatch) -> None:
    pytest.importorskip("tqdm", reason="draws the bar")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    shown = progress.make_progress(3, "photos", output_is_elsewhere=True)
    shown.advance(3)
    shown.clear()
    shown.close()
    assert "3" in terminal.getvalue()


def test_without_a_terminal_nothing_is_shown(monkeypatch) -> None:
    assert type(progress.make_progress(3, "photos", output_is_elsewhere=True)) is progress.Progress
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    assert type(progress.make_progress(3, "photos", output_is_elsewhere=False)) is progress.Progress


def test_a_counter_does_not_write_too_often(monkeypatch) -> None:
    terminal = Terminal()
    counter = progress.Counter(1000, "photos", terminal)
    began = time.monotonic()
    for _ in range(1000):
        counter.advance(1)
    assert terminal.getvalue().count("\r") <= 1 + (time.monotonic() - began) / progress.INTERVAL


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told() -> None:
    with Output("/dev/full") as output:
        output.write("x")
        with pytest.raises(InputError, match="/dev/full: cannot be written"):
            output.flush()
