"""Text on its way out: one line, any encoding."""

import io
import json
import math
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npconv.cli.output import Output, screen_width, table, to_json, write
from npconv.messages import escape

ANY_TEXT = st.text(st.characters(), max_size=20)  # half surrogates too: so Python keeps bytes that are no UTF-8


@given(ANY_TEXT, st.sampled_from(["ascii", "latin-1", "utf-8", "cp1252"]))
def test_any_text_is_written_on_one_line_in_any_encoding(text: str, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    write(stream, escape(text) + "\n", flush=True)
    written = stream.buffer.getvalue().decode(encoding)
    assert written.endswith("\n")
    assert written.rstrip("\n").isprintable()


def test_odd_letters_are_escaped_and_others_kept() -> None:
    assert escape("café 猫 🐈") == "café 猫 🐈"
    assert escape("a\nb\tc\x1b[31m\udcff\u202e") == "a\\nb\\tc\\x1b[31m\\udcff\\u202e"


def test_a_closed_stream_is_no_error() -> None:
    write(None, "text", flush=True)


@pytest.mark.parametrize(("platform", "is_closed"), [("linux", False), ("darwin", False), ("win32", True)])
def test_a_file_is_held_while_another_takes_its_place_but_where_that_cannot_be(
    platform: str, is_closed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other program takes it in between; on Windows an open file cannot be replaced."""
    path, found, replace = tmp_path / "labels.csv", [], os.replace
    path.write_text("earlier\n")
    with Output(str(path)) as output:
        output.write("later\n")
        lock = output._lock
        monkeypatch.setattr(sys, "platform", platform)

        def replaced(*places: Path) -> None:
            found.append(lock is not None and lock.closed)
            replace(*places)

        monkeypatch.setattr(os, "replace", replaced)
    assert (found, path.read_text()) == ([is_closed], "later\n")


@given(ANY_TEXT)
def test_json_is_ascii_and_keeps_every_text(text: str) -> None:
    line = to_json({"file": text})
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line) == {"file": text}


def test_json_has_no_numbers_that_json_lacks() -> None:
    assert to_json([math.nan, -math.inf, 0.1]) == '["NaN", "-Infinity", 0.1]'


def test_columns_are_aligned_and_nothing_trails() -> None:
    rows = [("a", "10", ""), ("a long line of its own",), ("bcd", "5", "x")]
    assert table(rows, right=(1,), indent=1) == [" a    10", " a long line of its own", " bcd   5  x"]


@pytest.mark.parametrize(("columns", "expected"), [("20", 60), ("100", 100), ("500", 120)])
def test_the_width_stays_readable(columns: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert screen_width() == expected
