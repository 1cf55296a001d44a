"""Lessons as files: Python whose parts begin with ``# %%``, or with ``# %% [markdown]`` for text in comments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(r"^# %%(?P<markdown> \[markdown\])?\s*$")
_NAME = re.compile(r"(?P<number>\d\d)_\w+\.py")


@dataclass(frozen=True)
class Cell:
    """A part of a lesson: text in Markdown, or code and the number of its first line in the file."""

    is_text: bool
    source: str
    first_line: int


@dataclass(frozen=True)
class Lesson:
    """A lesson, as it stands in its file."""

    path: Path
    cells: list[Cell]

    @property
    def number(self) -> str:
        """The two digits that the file name begins with."""
        return self.path.name[:2]

    @property
    def title(self) -> str:
        """The heading of the first text."""
        return next(cell for cell in self.cells if cell.is_text).source.splitlines()[0].lstrip("# ")


def find_lessons(folder: Path, wanted: list[str]) -> list[Lesson]:
    """Return the lessons of a folder in order; those whose name begins with one of `wanted`, or all.

    Raises
    ------
    ValueError
        If one that is wanted is not there.
    """
    paths = sorted(path for path in folder.glob("*.py") if _NAME.fullmatch(path.name))
    for start in wanted:
        if not any(path.name.startswith(start) for path in paths):
            raise ValueError(f"no lesson {start!r}; there are {', '.join(path.stem for path in paths)}")
    return [read_lesson(path) for path in paths if not wanted or path.name.startswith(tuple(wanted))]


def read_lesson(path: Path) -> Lesson:
    """Read the cells of a lesson; what stands before the first mark is no part of it.

    Raises
    ------
    ValueError
        If the lesson does not begin with a text that has a heading.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [index for index, line in enumerate(lines) if _MARK.match(line)]
    cells = []
    for start, stop in zip(starts, [*starts, len(lines)][1:], strict=True):
        mark = _MARK.match(lines[start])
        is_text = mark is not None and mark["markdown"] is not None
        body = lines[start + 1 : stop]
        source = "\n".join(line.removeprefix("#").removeprefix(" ") if is_text else line for line in body)
        # Code keeps its place: its first line is the one after the mark, whatever blank lines surround it.
        cells.append(Cell(is_text, source.strip() if is_text else source.rstrip(), start + 2))
    if not cells or not cells[0].is_text or not cells[0].source.startswith("# "):
        raise ValueError(f"{path}: expected a lesson to begin with '# %% [markdown]' and a heading '# # ...'")
    return Lesson(path, [cell for cell in cells if cell.source.strip()])
