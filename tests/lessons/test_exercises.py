"""The checkers of the exercises: right answers pass, wrong ones get a hint, nothing makes them fail."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "tutorials"
NUMBERS = sorted(path.name[:2] for path in FOLDER.glob("*.py") if path.name[:2].isdecimal())


def load(number):
    """Return the checkers of a lesson with a right and a wrong answer each."""
    exercises = importlib.import_module(f"exercises.lesson_{number}")
    solutions = importlib.import_module(f"solutions.lesson_{number}")
    checkers = [getattr(exercises, f"check_{index}") for index in range(1, len(solutions.RIGHT) + 1)]
    assert not hasattr(exercises, f"check_{len(checkers) + 1}")
    return list(zip(checkers, solutions.RIGHT, solutions.WRONG, strict=True))


@pytest.mark.parametrize("number", NUMBERS)
def test_right_and_wrong_answers_are_told_apart(number, capsys):
    cases = load(number)
    assert 2 <= len(cases) <= 3
    for index, (check, right, wrong) in enumerate(cases, 1):
        assert check(right) is True
        assert capsys.readouterr().out == f"Exercise {index}: right.\n"
        assert check(wrong) is False
        out = capsys.readouterr().out
        assert out.startswith(f"Exercise {index}: not yet. ")
        assert len(out) > 40  # a hint
        assert check(None) is False
        assert capsys.readouterr().out == f"Exercise {index}: waiting for your answer.\n"


def test_hints_grow_plainer_and_only_on_demand(capsys):
    """The first says no formula: no function of NumPy, no power, no index, no more than one sign of arithmetic."""
    for number in NUMBERS:
        for index, (check, _, wrong) in enumerate(load(number), 1):
            said = []
            for hint in (1, 2, 3):
                check(wrong, hint=hint)
                said.append(capsys.readouterr().out)
            first, _, more = said[0].partition("not yet. ")[2].partition(" More: ")
            if not more:
                continue
            assert said[0].rstrip().endswith(f"More: check_{index}(..., hint=2).")
            assert first not in said[1]
            assert said[1] == said[2]
            assert not re.search(r"[*/=+\[\]]|sqrt|exp\(|sum\(", first.partition(" (")[0])


NONSENSE = ["text", -1, 10**30, np.nan, [], {}, np.zeros((2, 3)), int, object(), print]


@pytest.mark.parametrize("number", NUMBERS)
def test_an_answer_of_another_kind_is_not_yet_right(number, capsys):
    for check, _, _ in load(number):
        for answer in NONSENSE:
            assert check(answer) is False, (check, answer)
    assert "not yet" in capsys.readouterr().out
