"""Checkers of the exercises: each takes an answer, says whether it is right, and gives a hint if it is not.

In ``lesson_NN.py`` a checker is a function ``check_1(answer) -> bool`` under ``@exercise("a hint")``. An answer that
makes it fail, because it is of another kind than was asked for, is not right yet either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def exercise(hint: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], bool]]:
    """Make a checker of a function that tells whether an answer is right.

    Parameters
    ----------
    hint : str
        What to think of if it is not.
    """

    def decorate(is_right: Callable[[Any], Any]) -> Callable[[Any], bool]:
        number = is_right.__name__.removeprefix("check_")

        @wraps(is_right)
        def check(answer: Any) -> bool:
            if answer is None:
                print(f"Exercise {number}: waiting for your answer.")
                return False
            try:
                right = bool(is_right(answer))
                reason = ""
            except Exception as error:
                right = False
                reason = f" ({type(error).__name__}: {error})"
            print(f"Exercise {number}: right." if right else f"Exercise {number}: not yet. {hint}{reason}")
            return right

        return check

    return decorate
