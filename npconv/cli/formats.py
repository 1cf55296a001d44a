"""The forms in which ``npconv classify`` writes its results, each entry as soon as it is there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from npconv.cli.output import escape, to_json

#: Photo names up to this length are padded to one width, so that the labels stand below each other.
PADDED_NAME = 60


@dataclass(frozen=True)
class Result:
    """What became of one photo: `labels`, best first, as ``{"label": ..., "score": ...}``; or an `error`."""

    file: str
    labels: Sequence[dict[str, Any]] = ()
    error: str | None = None


class Format(Protocol):
    """Turns results into text: what comes first, each entry, and what comes last."""

    def __init__(self, files: Sequence[str], labels: int, is_regression: bool) -> None:
        """Prepare for these photos, each with that many labels; scores of a regression are no shares of 1."""

    def start(self) -> str:
        """Return what comes before the first entry."""

    def entry(self, result: Result) -> str:
        """Return the text of one result, line ends included."""

    def end(self) -> str:
        """Return what comes after the last entry, however many there were."""


class TextFormat:
    """A line a photo, for people. Photos that failed are named on stderr only."""

    def __init__(self, files: Sequence[str], labels: int, is_regression: bool) -> None:
        lengths = [len(escape(file)) for file in files]
        self.width = max((length for length in lengths if length <= PADDED_NAME), default=0) + 1
        self.is_regression = is_regression

    def start(self) -> str:
        """Nothing comes first."""
        return ""

    def entry(self, result: Result) -> str:
        """Return ``photo.jpg: cat 61.2%  dog 21.4%``."""
        if result.error is not None:
            return ""
        scores = "  ".join(f"{escape(entry['label'])} {self.score(entry['score'])}" for entry in result.labels)
        return f"{f'{escape(result.file)}:':<{self.width}} {scores}\n"

    def score(self, score: float) -> str:
        """Return a score as a percentage; that of a regression, which is a share of nothing, as a number."""
        return f"{score:.4g}" if self.is_regression else f"{score:.1%}"

    def end(self) -> str:
        """Nothing comes last."""
        return ""


class JsonFormat:
    """One array, with an object a photo on a line of its own."""

    def __init__(self, files: Sequence[str], labels: int, is_regression: bool) -> None:
        self.separator = "\n  "

    def start(self) -> str:
        """Open the array."""
        return "["

    def entry(self, result: Result) -> str:
        """Return the object of one photo, and before it what separates it from the last."""
        separator, self.separator = self.separator, ",\n  "
        return separator + to_json(json_entry(result))

    def end(self) -> str:
        """Close the array."""
        return "\n]\n"


class JsonlFormat:
    """An object a photo, each on a line of its own: what can be read and gone on with at any point."""

    def __init__(self, files: Sequence[str], labels: int, is_regression: bool) -> None:
        pass

    def start(self) -> str:
        """Nothing comes first."""
        return ""

    def entry(self, result: Result) -> str:
        """Return the object of one photo."""
        return to_json(json_entry(result)) + "\n"

    def end(self) -> str:
        """Nothing comes last."""
        return ""

    def name(self, file: str) -> str:
        """Return the name of a photo as it is written."""
        return file

    def read(self, line: str) -> tuple[str, bool]:
        """Return the photo that a line is of, and whether it failed; ValueError if it is no such line."""
        content = json.loads(line)
        if not isinstance(content, dict) or content.keys() not in ({"file", "labels"}, {"file", "error"}):
            raise ValueError("no result")
        if not isinstance(content["file"], str):
            raise ValueError("no result of a file")
        return content["file"], "error" in content


class CsvFormat:
    """A row a photo, with the label and score of each rank in columns of their own."""

    def __init__(self, files: Sequence[str], labels: int, is_regression: bool) -> None:
        self.labels = labels

    def start(self) -> str:
        """Return the header."""
        ranks = range(1, self.labels + 1)
        return csv_row(["file", *(f"{name}_{rank}" for rank in ranks for name in ("label", "score")), "error"])

    def entry(self, result: Result) -> str:
        """Return the row of one photo."""
        scores: list[Any] = [cell for entry in result.labels for cell in (escape(entry["label"]), entry["score"])]
        empty = [""] * (2 * self.labels - len(scores))
        return csv_row([escape(result.file), *scores, *empty, result.error or ""])

    def end(self) -> str:
        """Nothing comes last."""
        return ""

    def name(self, file: str) -> str:
        """Return the name of a photo as it is written."""
        return escape(file)

    def read(self, line: str) -> tuple[str, bool]:
        """Return the photo that a line is of, and whether it failed; ValueError if it is no such line."""
        try:
            (cells,) = csv.reader([line], strict=True)
        except csv.Error as error:
            raise ValueError("no row") from error
        if len(cells) != 2 + 2 * self.labels:
            raise ValueError("another number of columns")
        return cells[0], bool(cells[-1])


def json_entry(result: Result) -> dict[str, Any]:
    """Return a result as JSON has it."""
    return {"file": result.file, **({"labels": result.labels} if result.error is None else {"error": result.error})}


def csv_row(cells: Sequence[Any]) -> str:
    """Return one row of a CSV file."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()


FORMATS: dict[str, type[Format]] = {"text": TextFormat, "json": JsonFormat, "jsonl": JsonlFormat, "csv": CsvFormat}

#: Those that can go on where an earlier run ended.
RESUMABLE: dict[str, type[JsonlFormat] | type[CsvFormat]] = {"jsonl": JsonlFormat, "csv": CsvFormat}
