"""Checkers of the exercises: each takes an answer, says whether it is right, and gives a hint if it is not.

In ``lesson_NN.py`` a checker is a function ``check_1(answer) -> bool`` under ``@exercise("a hint", "a plainer one")``.
An answer that makes it fail, because it is of another kind than was asked for, is not right yet either. The first hint
says where to look; whoever wants to be told how it is done asks for more: ``check_1(answer, hint=2)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def exercise(*hints: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], bool]]:
    """Make a checker of a function that tells whether an answer is right.

    Parameters
    ----------
    *hints : str
        What to think of if it is not, each plainer than the one before.
    """

    def decorate(is_right: Callable[[Any], Any]) -> Callable[[Any], bool]:
        number = is_right.__name__.removeprefix("check_")

        @wraps(is_right)
        def check(answer: Any, hint: int = 1) -> bool:
            if answer is None:
                print(f"Exercise {number}: waiting for your answer.")
                return False
            try:
                right = bool(is_right(answer))
                reason = ""
            except Exception as error:
                right = False
                reason = f" ({type(error).__name__}: {error})"
            given = min(max(hint, 1), len(hints))
            more = f" More: check_{number}(..., hint={given + 1})." if given < len(hints) else ""
            told = f"Exercise {number}: not yet. {hints[given - 1]}{reason}{more}"
            print(f"Exercise {number}: right." if right else told)
            return right

        return check

    return decorate
