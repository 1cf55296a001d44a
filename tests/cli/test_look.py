"""``npconv look``: a page of a photo, beside which nothing is written over."""

import shutil
from pathlib import Path

import pytest

import npconv
from npconv.cli.program import main

SHIP = Path(npconv.__file__).parent / "zoo" / "samples" / "ship.png"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(SHIP, tmp_path / "my ship.png")
    return tmp_path


def test_the_page_is_called_after_the_photo_and_may_be_written_again(here, capsys):
    for _ in range(2):
        assert main(["look", "my ship.png"]) == 0
        said, errors = capsys.readouterr()
        assert errors == ""
        assert said.startswith("my ship.html, ")
    text = (here / "my ship.html").read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "<h1>convnextv2-cifar10: my ship.png</h1>" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["my ship.png", "-o", "my ship.png"], "is read by the same call"),
        (["my ship.png", "-o", "notes.html"], "was not written by this command"),
        (["nothing.png"], "nothing.png"),
        (["notes.html"], "notes.html"),
        (["my ship.png", "--model", "nothing"], "nothing"),
        (["my ship.png", "-o", "nowhere/page.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_costs_nothing(here, capsys, words, says):
    (here / "notes.html").write_text("mine")
    before = SHIP.read_bytes()
    assert main(["look", *words]) == 2
    said, errors = capsys.readouterr()
    assert said == ""
    assert errors.count("\n") == 1
    assert says in errors
    assert (here / "notes.html").read_text() == "mine"
    assert (here / "my ship.png").read_bytes() == before


def test_force_replaces_what_is_not_ours(here, capsys):
    (here / "notes.html").write_text("mine")
    assert main(["look", "my ship.png", "-o", "notes.html", "--force"]) == 0
    assert (here / "notes.html").read_text("utf-8").startswith("<!doctype html>")
