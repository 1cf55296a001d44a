"""All engines one after another, round by round.

Machines have slow minutes: another tenant, a warm processor. Measured one engine after the other, a slow minute falls
on one of them; in turns, it falls on all. Each round begins with another engine, so that none always follows the same
one, and ratios are taken within a round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from npconv.bench.figures import median
from npconv.bench.remote import EngineError

Item = TypeVar("Item")

#: Seconds of calls in one turn, and the most calls.
TURN_SECONDS = 0.6
MOST_CALLS = 6

#: An engine whose call takes longer, in seconds, has its turn in every fourth round only.
SLOW_CALL = 2.0
SLOW_ROUNDS = 4


class Turns(NamedTuple):
    """What the turns of some engines gave, by their names."""

    times: dict[str, dict[int, float]]  #: by round: the median of the calls but the first, in seconds
    best: dict[str, float]  #: the shortest of these calls: what is left of a measurement that others disturbed
    failures: dict[str, str]  #: why engines failed on the way; they have no further turns
    restless: set[str]  #: whose threads kept a core busy after their turn, at the expense of the next


def rotated(names: Sequence[Item], round_number: int) -> list[Item]:
    """Return names, or what has them, in the order of a round: each begins one further on."""
    start = round_number % len(names) if names else 0
    return [*names[start:], *names[:start]]


def calls_in_turn(seconds: float) -> int:
    """Return the calls of a turn, given what one takes: two at least, because the first is dropped."""
    return max(2, min(MOST_CALLS, math.ceil(TURN_SECONDS / max(seconds, 1e-9))))


def has_turn(seconds: float, round_number: int) -> bool:
    """Tell whether an engine whose calls take so long runs in a round."""
    return seconds <= SLOW_CALL or round_number % SLOW_ROUNDS == 0


def take_turns(
    engines: Mapping[str, Any],
    seconds: Mapping[str, float],
    rounds: int,
    progress: Callable[[str], None] = lambda text: None,
) -> Turns:
    """Measure all engines in turns.

    The engines, of :class:`~npconv.bench.remote.RemoteEngine`, are loaded and warm, and have their input; a call of
    each takes about so many `seconds`. `progress` is told of each round.
    """
    turns = Turns({name: {} for name in engines}, {}, {}, set())
    for round_number in range(rounds):
        progress(f"round {round_number + 1} of {rounds}")
        for name in rotated(list(engines), round_number):
            if name in turns.failures or not has_turn(seconds[name], round_number):
                continue
            try:
                answer = engines[name].ask("run", calls=calls_in_turn(seconds[name]))
            except EngineError as failure:
                turns.failures[name] = str(failure)
                continue
            seconds_each = answer["seconds"][1:]
            turns.times[name][round_number] = median(seconds_each)
            turns.best[name] = min(*seconds_each, turns.best.get(name, math.inf))
            if not answer["rests"]:
                turns.restless.add(name)
    return turns
