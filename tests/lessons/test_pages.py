"""Lessons from their files to cells and outputs."""

from __future__ import annotations

import numpy as np
import pytest

import showing
from npconv.pictures import Picture, bar_chart, curves, gallery
from pages.cells import find_lessons, read_lesson
from pages.running import LessonError, run

LESSON = """\
# %% [markdown]
# # 00 · A lesson
#
# Text with `code`.

# %%
import numpy as np
from showing import show_pictures

print("before")
show_pictures({"a": np.eye(3)}, "the picture")
print("after")

# %%
def twice(x):
    return 2 * x


assert twice(2) == 4
"""


@pytest.fixture
def lesson(tmp_path):
    path = tmp_path / "00_a_lesson.py"
    path.write_text(LESSON, encoding="utf-8")
    return path


def test_cells_are_read_with_their_lines(lesson):
    read = read_lesson(lesson)
    assert (read.number, read.title) == ("00", "00 · A lesson")
    assert [cell.is_text for cell in read.cells] == [True, False, False]
    assert read.cells[0].source.endswith("\n\nText with `code`.")
    for cell in read.cells[1:]:
        assert LESSON.splitlines()[cell.first_line - 1] == cell.source.splitlines()[0]


def test_what_a_cell_prints_and_shows_stays_in_order(lesson):
    result = run(read_lesson(lesson))
    before, picture, after = result.outputs[1]
    assert (before, after) == ("before\n", "after\n")
    assert isinstance(picture, Picture)
    assert picture.caption == "the picture"
    assert result.outputs[2] == []
    assert result.pictures == 1


def test_a_lesson_that_fails_names_its_line(lesson):
    lesson.write_text(LESSON.replace("== 4", "== 5"), encoding="utf-8")
    with pytest.raises(LessonError, match=r"00_a_lesson.py, line 19: AssertionError"):
        run(read_lesson(lesson))


def test_the_wanted_lessons_are_found(lesson, tmp_path):
    (tmp_path / "01_more.py").write_text(LESSON, encoding="utf-8")
    (tmp_path / "helper.py").write_text("", encoding="utf-8")
    assert [found.number for found in find_lessons(tmp_path, [])] == ["00", "01"]
    assert [found.number for found in find_lessons(tmp_path, ["01"])] == ["01"]
    with pytest.raises(ValueError, match="no lesson '7'; there are 00_a_lesson, 01_more"):
        find_lessons(tmp_path, ["7"])
    (tmp_path / "02_bad.py").write_text("print(1)\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected a lesson to begin with"):
        find_lessons(tmp_path, [])


@pytest.fixture
def shown():
    """Everything that is shown while the test runs."""
    items: list = []
    with showing.show_on(items.append):
        yield items


def test_a_table_has_texts_left_and_numbers_right(capsys):
    showing.show_table(["layer", "size"], [["conv", 12], ["attention", 1234567]])
    assert capsys.readouterr().out.splitlines() == [
        "layer           size",
        "---------  ---------",
        "conv              12",
        "attention  1,234,567",
    ]


def plain(x):
    """Say what it does.

    At length.
    """
    return x


def test_source_is_shown_with_the_first_line_of_its_docstring(shown):
    showing.show_source(plain)
    showing.show_source(plain, docstring=True)
    assert shown[0].text == 'def plain(x):\n    """Say what it does."""\n    return x'
    assert "At length." in shown[1].text


def test_pictures_curves_and_bars_are_those_of_npconv(shown):
    x = np.linspace(0, 10, 50)
    showing.show_pictures({"a": np.eye(2)}, "squares", size=40)
    showing.show_curves(x, {"growing": np.exp(x)}, "logarithmic", log=True)
    showing.show_bars({"one": 1.0, "two": 2.0}, "bars", x_label="size")
    assert [item.caption for item in shown] == ["squares", "logarithmic", "bars"]
    drawn = (gallery({"a": np.eye(2)}, size=40), curves(x, {"growing": np.exp(x)}, log=True))
    for item, picture in zip(shown, (*drawn, bar_chart({"one": 1.0, "two": 2.0}, x_label="size")), strict=True):
        np.testing.assert_array_equal(item.pixels, picture.pixels)


def test_a_lesson_run_as_a_script_writes_its_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(showing, "FOLDER", tmp_path / "pictures")
    monkeypatch.setattr("sys.argv", ["04_norm.py"])
    showing.show_pictures({"a": np.eye(2)}, "one")
    showing.show_source(plain)
    (path,) = (tmp_path / "pictures").iterdir()
    assert path.name.startswith("04_norm-")
    out = capsys.readouterr().out
    assert f"[picture: one: {path}]" in out
    assert "def plain" in out
