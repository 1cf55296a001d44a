"""The forms in which ``npconv evaluate`` writes what it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npconv.cli.formats import csv_row
from npconv.cli.output import table, to_json
from npconv.messages import escape

if TYPE_CHECKING:
    from npconv.training.evaluate import Evaluation

#: Of more classes, those are shown that are recognised least.
MOST_CLASSES = 30

#: How each format begins, by which a file is known as written by this command.
CSV_START, CSV_LABELS_START, JSON_START, TEXT_START = "file,label,answer,", "file,label: ", '{\n  "model": ', "model  "


def text(evaluation: Evaluation) -> str:
    """Return the measures for people, in lines."""
    from npconv.training.report import report

    said = report(evaluation)
    rows = [["model", escape(said["model"])], ["photos", f"{said['photos']:,}{_part(said['part'])}"]]
    parts: list[list[list[str]]] = [rows]
    if "top_1" in said:
        rows += [["top-1", _share(said["top_1"])]]
        rows += [["top-5", _share(said["top_5"])]] if said["top_5"] else []
        rows += [["log loss", f"{said['log_loss']:.4f}"]]
        sure = f"mean confidence {said['mean_confidence']:.1%}".replace("%", " %")
        rows += [["calibration error", f"{_percent(said['calibration_error'])}  ({sure})"]]
        parts.append(_class_rows(said["classes"]))
    elif "labels" in said:
        rows += [["all labels right", _share(said["all_labels_right"])]]
        rows += [["mean average precision", _percent(said["mean_average_precision"])]]
        rows += [["log loss", f"{said['log_loss']:.4f}"]]
        parts.append(_label_rows(said["labels"]))
    else:
        parts.append(_number_rows(said["numbers"]))
    facts, rest = table(rows), table(parts[1], right=range(1, len(parts[1][0]) - ("top_1" in said)))
    return "\n".join([*facts, "", *rest, ""])


def _class_rows(classes: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each class, with what it is most often taken for."""
    shown = classes
    if len(classes) > MOST_CLASSES:
        there = [each for each in classes if each["photos"]]
        shown = sorted(there, key=lambda each: (each["recall"], -each["photos"]))[:MOST_CLASSES]
    rows = [["class", "photos", "right", "precision", "most often taken for"]]
    for each in shown:
        taken = ""
        if each["taken_for"] is not None:
            taken = f"{escape(each['taken_for'])} ({_percent(each['taken_for_count'] / each['photos'])})"
        cells = [escape(each["class"]), f"{each['photos']:,}", _percent(each["recall"]), _percent(each["precision"])]
        rows.append([*cells, taken])
    if len(shown) < len(classes):
        rows.append([f"and {len(classes) - len(shown):,} more classes, all but the worst; --format json has them"])
    return rows


def _label_rows(labels: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each label."""
    rows = [["label", "photos", "found", "precision", "average precision"]]
    for each in labels:
        shares = (_percent(each[name]) for name in ("recall", "precision", "average_precision"))
        rows.append([escape(each["label"]), f"{each['photos']:,}", *shares])
    return rows


def _number_rows(numbers: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each number that is predicted."""
    rows = [["number", "mean absolute error", "root mean squared error", "R squared"]]
    for each in numbers:
        names = ("mean_absolute_error", "root_mean_squared_error", "r_squared")
        rows.append([escape(each["name"]), *("" if each[name] is None else f"{each[name]:.4g}" for name in names)])
    return rows


def _part(part: str) -> str:
    return "" if part == "all" else f" of the part {part}"


def _percent(share: float | None) -> str:
    """Return a share in percent, nothing for what there is not."""
    return "" if share is None else f"{100 * share:.1f} %"


def _share(share: dict[str, Any]) -> str:
    """Return a share in percent with its interval."""
    low, value, high = (f"{100 * share[name]:.2f}" for name in ("low", "value", "high"))
    return f"{value} %  ({low} to {high} % with a confidence of 95 %)"


def json(evaluation: Evaluation) -> str:
    """Return the measures as an object."""
    from npconv.training.report import report

    return to_json(report(evaluation), indent=2) + "\n"


def csv(evaluation: Evaluation) -> str:
    """Return a row for each photo, those that could not be read last."""
    if evaluation.answers is not None:
        header, rows = ["file", "label", "answer", "score", "place", "error"], _answer_rows(evaluation)
    else:
        names = evaluation.photos.classes
        header, rows = (
            ["file", *(f"{kind}: {escape(name)}" for name in names for kind in ("label", "answer")), "error"],
            _score_rows(evaluation),
        )
    failed = [each for each in evaluation.photos.problems if each.kind == "unreadable"]
    empty = [""] * (len(header) - 2)
    lines = [header, *rows, *([escape(each.file), *empty, each.detail] for each in failed)]
    return "".join(map(csv_row, lines))


def _answer_rows(evaluation: Evaluation) -> Iterator[list[Any]]:
    """Yield the row of each photo with one class."""
    classes, answers = [escape(name) for name in evaluation.photos.classes], evaluation.answers_of_one_class()
    for file, truth, answer, rank, score, _ in zip(evaluation.photos.files, *map(_plain, answers), strict=True):
        yield [escape(file), classes[truth], classes[answer], score, rank + 1, ""]


def _score_rows(evaluation: Evaluation) -> Iterator[list[Any]]:
    """Yield the row of each photo with any number of labels, or numbers."""
    assert evaluation.scores is not None
    photos = evaluation.photos
    for file, truth, scores in zip(photos.files, _plain(photos.targets), _plain(evaluation.scores), strict=True):
        cells = [cell for pair in zip(truth, scores, strict=True) for cell in pair]
        yield [escape(file), *("" if cell != cell else cell for cell in cells), ""]


def _plain(array: Any) -> Any:
    return array.tolist()


FORMATS: dict[str, Callable[[Evaluation], str]] = {"text": text, "json": json, "csv": csv}


def is_evaluation(path: Path) -> bool:
    """Tell by its beginning whether this command wrote a file."""
    starts = (CSV_START, CSV_LABELS_START, JSON_START, TEXT_START)
    with path.open("rb") as file:
        beginning = file.read(max(map(len, starts)))
    return beginning.startswith(tuple(start.encode() for start in starts))
