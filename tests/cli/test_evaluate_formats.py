"""The measures of an evaluation as lines for people and as rows, of numbers given by hand."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from npconv.cli import evaluate_formats
from npconv.cli.evaluate_formats import csv, is_evaluation, text

SHARE = {"low": 0.5, "value": 0.625, "high": 0.75}


def one(name: str, photos: int, recall: float | None, taken: str | None = None, count: int = 0) -> dict[str, Any]:
    return {
        **{"class": name, "photos": photos, "recall": recall, "precision": 0.5 if recall else None},
        **{"taken_for": taken, "taken_for_count": count},
    }


def told(monkeypatch: pytest.MonkeyPatch, **said: Any) -> list[str]:
    """Return the lines of a report."""
    whole = {"model": "m\x1b", "photos": 1234, "part": "all", "log_loss": 0.69314, **said}
    monkeypatch.setattr(importlib.import_module("npconv.training.report"), "report", lambda evaluation: whole)
    return text(None).split("\n")  # type: ignore[arg-type]  # the report is known already


def test_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [one("cat", 1000, 0.75, "dog\n", 125), one("dog", 8, 1.0), one("eel", 0, None)]
    sure = {"mean_confidence": 0.875, "calibration_error": 0.0625}
    lines = told(monkeypatch, top_1=SHARE, top_5=None, classes=classes, **sure)
    assert lines == [
        r"model              m\x1b",
        "photos             1,234",
        "top-1              62.50 %  (50.00 to 75.00 % with a confidence of 95 %)",
        "log loss           0.6931",
        "calibration error  6.2 %  (mean confidence 87.5 %)",
        "",
        "class  photos    right  precision  most often taken for",
        r"cat     1,000   75.0 %     50.0 %  dog\n (12.5 %)",
        "dog         8  100.0 %     50.0 %",
        "eel         0",
        "",
    ]
    lines = told(monkeypatch, top_1=SHARE, top_5=SHARE, classes=classes, part="test", **sure)
    assert lines[1:4] == [
        "photos             1,234 of the part test",
        "top-1              62.50 %  (50.00 to 75.00 % with a confidence of 95 %)",
        "top-5              62.50 %  (50.00 to 75.00 % with a confidence of 95 %)",
    ]


def test_of_many_classes_those_are_shown_that_are_recognised_least(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [one(f"c{number}", 2 + number % 2, 0.25 * (number % 3)) for number in range(40)] + [one("none", 0, None)]
    sure = {"mean_confidence": 0.5, "calibration_error": 0.5}
    lines = told(monkeypatch, top_1=SHARE, top_5=None, classes=classes, **sure)
    shown = [line.split()[0] for line in lines[7:-2]]
    worst = sorted(range(40), key=lambda number: (number % 3, -(number % 2), number))
    assert shown == [f"c{number}" for number in worst[:30]]
    assert lines[-2].strip() == "and 11 more classes, all but the worst; --format json has them"
    lines = told(monkeypatch, top_1=SHARE, top_5=None, classes=classes[:30], **sure)
    assert [line.split()[0] for line in lines[7:-1]] == [f"c{number}" for number in range(30)]


def test_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [{"label": "a\n", "photos": 1000, "recall": 0.5, "precision": None, "average_precision": 0.25}]
    lines = told(monkeypatch, labels=labels, all_labels_right=SHARE, mean_average_precision=0.25)
    assert lines[2:] == [
        "all labels right        62.50 %  (50.00 to 75.00 % with a confidence of 95 %)",
        "mean average precision  25.0 %",
        "log loss                0.6931",
        "",
        "label  photos   found  precision  average precision",
        r"a\n     1,000  50.0 %                        25.0 %",
        "",
    ]


def test_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [{"name": "n", "mean_absolute_error": 1.23456, "root_mean_squared_error": 2e-5, "r_squared": None}]
    assert told(monkeypatch, numbers=numbers)[2:] == [
        "",
        "number  mean absolute error  root mean squared error  R squared",
        "n                     1.235                    2e-05",
        "",
    ]


def photos(**facts: Any) -> SimpleNamespace:
    problems = [SimpleNamespace(kind="unreadable", file="b\n", detail="no"), SimpleNamespace(kind="empty", file="c")]
    return SimpleNamespace(files=["=a", "d"], classes=["x\n", "y"], problems=problems, **facts)


def test_rows_of_classes() -> None:
    arrays = (np.array([0, 1]), np.array([1, 1]), np.array([1, 0]), np.array([0.25, 0.75]), np.zeros(2))
    made = SimpleNamespace(photos=photos(), answers=1, answers_of_one_class=lambda: arrays)
    assert csv(made).split("\n") == [  # type: ignore[arg-type]
        "file,label,answer,score,place,error",
        r"'=a,x\n,y,0.25,2,",
        "d,y,y,0.75,1,",
        r"b\n,,,,,no",
        "",
    ]


def test_rows_of_labels() -> None:
    scores = np.array([[0.5, 0.25], [1.0, 0.0]])
    several = photos(targets=np.array([[1.0, np.nan], [0.0, 1.0]]))
    several.classes = ["x\n", "y"]
    made = SimpleNamespace(photos=several, answers=None, scores=scores)
    assert csv(made).split("\n") == [  # type: ignore[arg-type]
        r"file,label: x\n,answer: x\n,label: y,answer: y,error",
        "'=a,1.0,0.5,,0.25,",
        "d,0.0,1.0,1.0,0.0,",
        r"b\n,,,,,no",
        "",
    ]


@pytest.mark.parametrize(
    ("content", "is_own"),
    [
        (b"file,label,answer,score", True),
        (b"file,label: x", True),
        (b'{\n  "model": "m"', True),
        (b"model  m", True),
        (b"model m", False),
        (b"file,label,", False),
        (b"", False),
    ],
)
def test_a_file_of_an_earlier_run_is_known_by_its_beginning(tmp_path: Path, content: bytes, is_own: bool) -> None:
    (tmp_path / "a").write_bytes(content)
    assert is_evaluation(tmp_path / "a") == is_own
    assert set(evaluate_formats.FORMATS) == {"text", "json", "csv"}
