"""What is wrong with labelled photos, on stderr."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from npconv.cli.output import write

if TYPE_CHECKING:
    from npconv.training.problems import Problem

#: What is wrong in the same way is said so often.
MOST_LINES = 10


def say_problems(command: str, problems: Iterable[Problem], whole: str) -> None:
    """Write what is wrong to stderr, a line each, but not more than some of a kind; `whole` says where all of it is."""
    from npconv.training.problems import describe

    said: Counter[str] = Counter()
    for problem in problems:
        said[problem.kind] += 1
        if said[problem.kind] <= MOST_LINES:
            write(sys.stderr, f"npconv {command}: {describe(problem)}\n", flush=True)
    for kind, count in said.items():
        if count > MOST_LINES:
            more = f"{count - MOST_LINES:,} more like these ({kind.replace('_', ' ')})"
            write(sys.stderr, f"npconv {command}: {more}; {whole}\n", flush=True)
