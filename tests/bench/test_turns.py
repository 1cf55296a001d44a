"""Who runs when: rotation, dropped first calls, failures on the way."""

import pytest

from npconv.bench.remote import EngineError
from npconv.bench.turns import SLOW_CALL, SLOW_ROUNDS, calls_in_turn, rotated, take_turns


class FakeEngine:
    """Notes its turns in a common diary; call number n takes `seconds` + n, so that a dropped first call shows."""

    def __init__(self, name, diary, seconds=1.0, fails_in_turn=None, rests=True):
        self.name, self.diary, self.seconds, self.fails_in_turn, self.rests = name, diary, seconds, fails_in_turn, rests
        self.turns = 0

    def ask(self, do, *, calls):
        assert do == "run"
        self.diary.append(self.name)
        self.turns += 1
        if self.turns == self.fails_in_turn:
            raise EngineError("out of luck")
        first, *rest = range(calls)
        return {"seconds": [1000.0 + first, *(self.seconds for _ in rest)], "rests": self.rests}


def test_each_round_begins_one_further_on():
    assert [rotated("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert rotated([], 3) == []


def test_turns_are_interleaved_and_rotated():
    diary = []
    engines = {name: FakeEngine(name, diary) for name in "abc"}
    take_turns(engines, dict.fromkeys("abc", 1.0), 3)
    assert "".join(diary) == "abc" + "bca" + "cab"


def test_the_first_call_of_a_turn_is_dropped():
    engines = {"a": FakeEngine("a", [], seconds=0.25)}
    turns = take_turns(engines, {"a": 0.25}, 2)
    assert turns == ({"a": {0: 0.25, 1: 0.25}}, {"a": 0.25}, {}, set())


def test_the_best_call_of_all_turns_is_kept():
    class Varying(FakeEngine):
        def ask(self, do, *, calls):
            self.turns += 1
            return {"seconds": [0.001, 5.0, 3.0 + self.turns], "rests": True}

    assert take_turns({"a": Varying("a", [])}, {"a": 1.0}, 2).best == {"a": 4.0}


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 6), (0.01, 6), (0.2, 3), (0.5, 2), (60.0, 2)])
def test_calls_in_a_turn(seconds, calls):
    assert calls_in_turn(seconds) == calls


def test_slow_engines_have_fewer_turns():
    diary = []
    engines = {"slow": FakeEngine("slow", diary), "quick": FakeEngine("quick", diary)}
    rounds = 2 * SLOW_ROUNDS
    times = take_turns(engines, {"slow": SLOW_CALL + 1, "quick": 0.1}, rounds).times
    assert list(times["slow"]) == [0, SLOW_ROUNDS]
    assert list(times["quick"]) == list(range(rounds))


def test_a_failure_ends_the_turns_of_that_engine_alone():
    diary = []
    engines = {"a": FakeEngine("a", diary), "b": FakeEngine("b", diary, fails_in_turn=2)}
    turns = take_turns(engines, {"a": 1.0, "b": 1.0}, 4)
    times = turns.times
    assert turns.failures == {"b": "out of luck"}
    assert list(times["a"]) == [0, 1, 2, 3]
    assert list(times["b"]) == [0]
    assert diary.count("b") == 2


def test_an_engine_that_does_not_rest_is_named():
    engines = {"a": FakeEngine("a", []), "b": FakeEngine("b", [], rests=False)}
    assert take_turns(engines, {"a": 1.0, "b": 1.0}, 1).restless == {"b"}


def test_progress_names_every_round():
    told = []
    take_turns({"a": FakeEngine("a", [])}, {"a": 1.0}, 2, told.append)
    assert told == ["round 1 of 2", "round 2 of 2"]
