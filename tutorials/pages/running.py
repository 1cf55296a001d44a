"""Run the code of a lesson, cell after cell, and keep what each printed and showed, in order."""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import dataclass, field
from pathlib import Path

from npconv.pictures import Picture
from pages.cells import Lesson
from showing import Code, show_on

Output = str | Code | Picture


class LessonError(Exception):
    """A lesson that could not be run to its end."""


@dataclass
class Run:
    """A lesson, the outputs of each cell (none of a text), and how long it took."""

    lesson: Lesson
    outputs: list[list[Output]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return sum(isinstance(output, Picture) for outputs in self.outputs for output in outputs)


def run(lesson: Lesson) -> Run:
    """Run a lesson in a namespace of its own.

    Raises
    ------
    LessonError
        If a cell fails; names the file and line.
    """
    result = Run(lesson)
    namespace: dict[str, object] = {"__name__": "__main__", "__file__": str(lesson.path)}
    start = time.perf_counter()
    for cell in lesson.cells:
        outputs: list[Output] = []
        result.outputs.append(outputs)
        if not cell.is_text:
            _run_cell(lesson.path, cell.source, cell.first_line, namespace, outputs)
    result.seconds = time.perf_counter() - start
    return result


def _run_cell(path: Path, source: str, first_line: int, namespace: dict[str, object], outputs: list[Output]) -> None:
    """Run one cell; printed text stands between the pictures where it was printed."""
    printed = io.StringIO()

    def keep_text() -> None:
        if printed.getvalue():
            outputs.append(printed.getvalue())
        printed.seek(0)
        printed.truncate()

    def take(item: Code | Picture) -> None:
        keep_text()
        outputs.append(item)

    # As many empty lines before it as in the file, so that errors and a debugger name the right line.
    code = compile("\n" * (first_line - 1) + source, str(path), "exec")
    try:
        with contextlib.redirect_stdout(printed), show_on(take):
            exec(code, namespace)
    except Exception as error:
        trace = error.__traceback__
        line = first_line
        while trace is not None:
            line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == str(path) else line
            trace = trace.tb_next
        raise LessonError(f"{path.name}, line {line}: {type(error).__name__}: {error}") from error
    keep_text()
