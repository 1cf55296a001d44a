"""The forms in which ``npconv classify`` writes its results, entry by entry, and what an earlier run has written."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from npconv.cli.output import to_json
from npconv.cli.photos import Result
from npconv.errors import InputError
from npconv.messages import escape

#: Photo names up to this length are padded to one width, so that the labels stand below each other.
PADDED_NAME = 60

#: The longest line that can be a result: names and labels are much shorter.
LONGEST_LINE = 10_000_000


class Format:
    """Turns results into text: what comes first, each entry, and what comes last.

    `files` are the photos of the call and `labels` how many each gets; the scores of a regression are not shares of 1.
    """

    def __init__(self, files: Sequence[str], labels: int, is_regression: bool) -> None:
        lengths = [len(escape(file)) for file in files]
        self.width = max((length for length in lengths if length <= PADDED_NAME), default=0) + 1
        self.labels = labels
        self.is_regression = is_regression

    def start(self) -> str:
        """Return what comes before the first entry."""
        return ""

    def entry(self, result: Result) -> str:
        """Return the text of one result, line ends included."""
        raise NotImplementedError

    def end(self) -> str:
        """Return what comes after the last entry, however many there were."""
        return ""

    def name(self, file: str) -> str:
        """Return the name of a photo as it is written."""
        return file

    def read(self, line: str) -> tuple[str, bool]:
        """Return the photo that a line is of, and whether it failed; ValueError if it is no such line."""
        raise NotImplementedError


class TextFormat(Format):
    """A line a photo, for people. Photos that failed are named on stderr only."""

    def entry(self, result: Result) -> str:
        """Return ``photo.jpg: cat 61.2%  dog 21.4%``."""
        if result.error is not None:
            return ""
        scores = "  ".join(f"{escape(entry['label'])} {self.score(entry['score'])}" for entry in result.value)
        return f"{f'{escape(result.file)}:':<{self.width}} {scores}\n"

    def score(self, score: float) -> str:
        """Return a score as a percentage; that of a regression, which is a share of nothing, as a number."""
        return f"{score:.4g}" if self.is_regression else f"{score:.1%}"


class JsonFormat(Format):
    """One array, with an object a photo on a line of its own."""

    separator = "\n  "

    def start(self) -> str:
        """Open the array."""
        return "["

    def entry(self, result: Result) -> str:
        """Return the object of one photo, and before it what separates it from the last."""
        separator, self.separator = self.separator, ",\n  "
        return separator + json_entry(result)

    def end(self) -> str:
        """Close the array."""
        return "\n]\n"


class JsonlFormat(Format):
    """An object a photo, each on a line of its own: what can be read and gone on with at any point."""

    def entry(self, result: Result) -> str:
        """Return the object of one photo."""
        return json_entry(result) + "\n"

    def read(self, line: str) -> tuple[str, bool]:
        """Return the photo that a line is of, and whether it failed; ValueError if it is no such line."""
        content = json.loads(line)
        if not isinstance(content, dict) or content.keys() not in ({"file", "labels"}, {"file", "error"}):
            raise ValueError("no result")
        if not isinstance(content["file"], str):
            raise ValueError("no result of a file")
        return content["file"], "error" in content


class CsvFormat(Format):
    """A row a photo, with the label and score of each rank in columns of their own."""

    def start(self) -> str:
        """Return the header."""
        ranks = range(1, self.labels + 1)
        return csv_row(["file", *(f"{name}_{rank}" for rank in ranks for name in ("label", "score")), "error"])

    def entry(self, result: Result) -> str:
        """Return the row of one photo."""
        scores: list[Any] = [cell for entry in result.value for cell in (escape(entry["label"]), entry["score"])]
        empty = [""] * (2 * self.labels - len(scores))
        return csv_row([escape(result.file), *scores, *empty, result.error or ""])

    def name(self, file: str) -> str:
        """Return the name of a photo as it is written."""
        return csv_text(escape(file))

    def read(self, line: str) -> tuple[str, bool]:
        """Return the photo that a line is of, and whether it failed; ValueError if it is no such line."""
        import csv

        try:
            (cells,) = csv.reader([line], strict=True)
        except csv.Error as error:
            raise ValueError("no row") from error
        if len(cells) != 2 + 2 * self.labels:
            raise ValueError("another number of columns")
        return cells[0], bool(cells[-1])


def json_entry(result: Result) -> str:
    """Return a result as a JSON object."""
    found = {"labels": result.value} if result.error is None else {"error": result.error}
    return to_json({"file": result.file, **found})


#: How a formula begins for one spreadsheet or another, the last four in the wide letters of East Asia. An apostrophe
#: before it is what this program put there, or is given another one: no two names are written alike.
_FORMULA = "'*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"


def csv_text(text: str) -> str:
    """Return text for a cell such that no spreadsheet takes it for a formula: with an apostrophe before what begins so.

    The name of standard input, ``-``, is none.
    """
    return f"'{text}" if text != "-" and re.match(_FORMULA, text) else text


def csv_row(cells: Sequence[Any]) -> str:
    """Return one row of a CSV file; numbers stay what they are."""
    import csv  # only here: most calls write no such file

    stream = io.StringIO()
    safe = [csv_text(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(stream, lineterminator="\n").writerow(safe)
    return stream.getvalue()


FORMATS: dict[str, type[Format]] = {"text": TextFormat, "json": JsonFormat, "jsonl": JsonlFormat, "csv": CsvFormat}

#: Those that can go on where an earlier run ended.
RESUMABLE: dict[str, type[Format]] = {"jsonl": JsonlFormat, "csv": CsvFormat}


#: A score in text for people, see `TextFormat.score`.
_SCORE = r"\d{1,3}\.\d%|-?\d{1,4}(\.\d{1,8})?(e[+-]\d{2,3})?"

#: How the object of a photo begins.
_OBJECT = b'{"file": "'


def is_result(path: Path) -> bool:
    """Tell by its beginning whether `npconv classify` wrote a file, in whatever format."""
    with path.open("rb") as file:
        beginning = file.read(LONGEST_LINE)
    for start in (b"file,label_1,score_1,", _OBJECT, b"[\n  " + _OBJECT, b"[\n]\n"):
        if beginning.startswith(start) or start.startswith(beginning):
            return not start.endswith(_OBJECT) or _is_object(beginning.removeprefix(b"[\n"))
    lines = beginning.decode(errors="replace").split("\n")[:-1]
    return bool(lines) and all(map(_is_scored, lines))


def _is_scored(line: str) -> bool:
    """Tell whether a line is one of text for people: a name, and labels with scores."""
    front, _, score = line.rpartition(" ")
    name, _, label = front.partition(": ")
    return bool(name and label.strip()) and re.fullmatch(_SCORE, score) is not None


def _is_object(text: bytes) -> bool:
    """Tell whether text begins with the object of a photo, or with a part of one if it has no second line."""
    line, end, _ = text.partition(b"\n")
    try:
        JsonlFormat([], 0, False).read(line.decode().strip().removesuffix(","))
    except (ValueError, RecursionError):
        return not end
    return True


class Earlier:
    """What is there: how often each photo, whether one of them failed, and the bytes up to the last whole line."""

    def __init__(self, done: Counter[str] | None = None) -> None:
        self.done: Counter[str] = Counter() if done is None else done
        self.failed = False
        self.size = 0

    def missing(self, files: Sequence[str], written: Callable[[str], str] = str) -> list[str]:
        """Return the files that are not there; one that is given twice is there when it is there twice.

        `written` returns the name of a file as it is written.
        """
        left = self.done.copy()
        missing = []
        for file in files:
            name = written(file)
            if left[name] > 0:
                left[name] -= 1
            else:
                missing.append(file)
        return missing


def read_earlier(file: BinaryIO, path: str, form: Format) -> Earlier:
    """Read what an earlier run has written to the file at `path`, which is open.

    A last line that was not written to its end is left out, and is to be cut off at `size`. A file that cannot be read,
    or holds something else, is an `InputError`.
    """
    try:
        return _read_lines(file, path, form)
    except OSError as error:
        raise InputError(f"{escape(path)}: cannot be read ({error.strerror}); check the path") from error


def _read_lines(file: BinaryIO, path: str, form: Format) -> Earlier:
    """Read the lines of an open file."""
    earlier = Earlier()
    header = form.start().encode()
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        is_whole = line.endswith(b"\n")
        if not is_whole and len(line) < LONGEST_LINE:
            start = header or _OBJECT
            if number == 1 and not (line.startswith(start) or start.startswith(line)):
                raise _foreign(path, number, "expected a result")
            break
        if header and number == 1:
            if line != header:
                raise _foreign(path, number, f"expected {header.decode().strip()!r}; was --top-k or the model another?")
        else:
            try:
                name, failed = form.read(line.decode())
            except (ValueError, RecursionError) as error:
                raise _foreign(path, number, "expected a result") from error
            earlier.done[name] += 1
            earlier.failed |= failed
        earlier.size += len(line)
    return earlier


def _foreign(path: str, number: int, expected: str) -> InputError:
    """Return the error for a file that holds something else."""
    return InputError(
        f"{escape(path)}: line {number} was not written by this command in this format: {expected}; "
        "give another --output, or leave out --resume to write it anew"
    )
