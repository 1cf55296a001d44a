"""Run a program, in any language, over the cases of an operation.

The program gets a folder and the name of a file. In the folder, ``case.json`` says what the case is: its
``attributes``, and shape and file of each of its ``inputs`` and ``params``. All numbers are raw little-endian float32,
in C order. Into the file it writes its result, raw little-endian float32 of the shape ``output``; it ends with status
0.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.files.temporary import temporary_folder
from npconv.golden.case import Case, describe, explain
from npconv.golden.export import write_case
from npconv.golden.measures import check_unit, distance
from npconv.messages import quoted

#: Of what a broken program says, the bytes that are looked at.
LAST_WORDS = 4096


@dataclass(frozen=True)
class Outcome:
    """How a program did on one case.

    Parameters
    ----------
    case : Case
    passed : bool
    error : float
        Largest absolute difference; infinite where there is no result to compare.
    says : str
        What is wrong, in one line; empty if nothing is.
    tells : bool
        A wrong result would not pass: the tolerance, which grows with the unit, is less than the values.
    tolerance : float
        Largest absolute difference of a right result in the unit.
    """

    case: Case
    passed: bool
    error: float
    says: str = ""
    tells: bool = True
    tolerance: float = 0.0


def check(cases: Iterable[Case], command: str, *, timeout: float = 60.0, unit: str = "float32") -> Iterator[Outcome]:
    """Run a program on cases, one after another.

    Parameters
    ----------
    cases : iterable of Case
    command : str
        Its words, split as a shell splits them; no shell runs. ``{input}`` stands for the folder with the case and
        ``{output}`` for the file to write.
    timeout : float
        Seconds that it may take for a case.
    unit : str
        What the program computes in; see `npconv.golden.assert_close`.

    Yields
    ------
    Outcome

    Raises
    ------
    GoldenError
        If the command or the unit makes no sense, there is no case, or the program cannot be started.
    """
    check_unit(unit)
    words = split(command)
    found = list(cases)
    if not found:
        raise GoldenError("expected a case at least to check the program by, got none")
    for case in found:
        with temporary_folder() as folder:
            yield check_case(case, words, folder, timeout, unit)


def split(command: str) -> list[str]:
    """Return the words of a command; refuse an open quote, and one without ``{input}`` or ``{output}``."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise GoldenError(f"expected a command whose quotes are closed, got {quoted(command)} ({error})") from error
    for place in ("{input}", "{output}"):
        if not any(place in word for word in words[1:]):
            raise GoldenError(
                f"expected a command with {place} in it, such as './my_grn {{input}} {{output}}', got {quoted(command)}"
            )
    return words


def check_case(case: Case, words: Sequence[str], folder: Path, timeout: float, unit: str) -> Outcome:
    """Run a program on one case, in a folder for its files."""
    given, result = folder / "case", folder / "output.f32"
    write_case(given, case, expected=False)
    filled = [word.replace("{input}", str(given)).replace("{output}", str(result)) for word in words]
    said = run(filled, folder / "stderr", timeout)
    said, actual = (said, None) if said else read(result, case.expected.shape)
    tolerance = case.tolerance_in(unit)
    if actual is None:
        return Outcome(case, False, float("inf"), said, tolerance=tolerance)
    error = distance(case.expected, actual)
    if error <= tolerance:
        tells = tolerance < float(np.abs(case.expected).max())
        return Outcome(case, True, error, tells=tells, tolerance=tolerance)
    said = "; ".join([describe(actual, case.expected, tolerance), *explain(case, actual, tolerance)])
    return Outcome(case, False, error, said, tolerance=tolerance)


def run(words: Sequence[str], words_file: Path, timeout: float) -> str:
    """Run a program; return what is wrong with how it ended, in one line, or an empty text.

    Its standard output is dropped. However it ends, and also if it does not end in time or this process is interrupted,
    the processes that it started end with it.
    """
    with words_file.open("wb") as stderr, ending_with_block() as start:
        try:
            program = start(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise GoldenError(f"{quoted(words[0])} cannot be started ({reason}); check --command") from error
        try:
            status = program.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"did not end within {timeout:g} s"
    if status == 0:
        return ""
    how = f"ended with status {status}"
    if status < 0:
        names = {known.value: known.name for known in signal.Signals}
        how = f"was ended by signal {-status} ({names.get(-status, 'unknown')})"
    last = last_line(words_file)
    return f"{how}: {last}" if last else how


class Program(subprocess.Popen[bytes]):
    """A program whose processes end with a ``with`` block, however the block and the program end.

    The block gives what starts it: an interruption may come while it is being started, and then it runs all the same.
    """

    def __init__(self, known: list[Program], words: Sequence[str], **options: Any) -> None:
        known.append(self)
        super().__init__(words, start_new_session=True, **options)

    def end(self) -> None:
        """End the program, if it still runs, and the processes of its group, which may outlive it."""
        if getattr(self, "pid", None) is None:  # it did not come so far
            return
        if sys.platform == "win32":
            self.kill()
        else:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        self.wait()


@contextmanager
def ending_with_block() -> Iterator[Callable[..., Program]]:
    """Give what starts a :class:`Program`."""
    known: list[Program] = []
    try:
        yield partial(Program, known)
    finally:
        for program in known:
            program.end()


def last_line(path: Path) -> str:
    """Return the last line of a file that is not empty, shortened."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - LAST_WORDS, 0))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def read(path: Path, shape: tuple[int, ...]) -> tuple[str, np.ndarray | None]:
    """Return what a program wrote, as an array; or what is wrong with it, and None."""
    expected = 4 * int(np.prod(shape))
    if not path.is_file():  # a link to nowhere, a pipe
        return "wrote no output file", None
    size = path.stat().st_size
    if size != expected:
        return f"wrote {size} bytes, expected {expected}: float32 of shape {shape}", None
    return "", np.frombuffer(path.read_bytes(), "<f4").reshape(shape)
