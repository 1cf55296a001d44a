"""In which of several steps a mistake is made, told from the end of a part; ``test_unlisted.py`` has models for it."""

import numpy as np
import pytest
from support.compare_samples import BLOCK, golden, make_trace, run

from npconv.golden.compare import compare
from npconv.golden.kinds.change import Change
from npconv.golden.report import in_places
from npconv.golden.segment import make_segment, run_changed, run_on
from npconv.golden.subsets import find_some, make_group, patterns
from npconv.plan.step import Step

COUNT = 9


def chain(subset, strength):
    """The end of steps that turn what they take, those of a subset by more: what one does depends on those before."""
    x = np.random.default_rng(5).normal(size=200)
    for index in range(COUNT):
        more = np.random.default_rng(index).normal(size=200)
        x = x + np.tanh(x[::-1] + more) + (strength * np.sin(x + more) if index in subset else 0)
    return x


@pytest.mark.parametrize("strength", [1e-3, 0.1, 0.5])
@pytest.mark.parametrize("subset", [{1, 3}, {0, 2, 4, 6, 8}, {1, 2, 3, 4, 5, 6, 7, 8}, {2, 3, 7}, {0, 1, 2, 5, 8}])
def test_the_steps_are_found(subset, strength):
    right, mine = chain((), strength), chain(subset, strength)
    effects = np.array([chain({index}, strength) - right for index in range(COUNT)])
    changes = [Change("", "", Step(f"{index}", "", ()), abs) for index in range(COUNT)]
    group = make_group(changes, effects, mine - right)
    runs = []

    def tried(some):
        runs.append(some)
        rest = chain(some, strength) - mine
        return float(rest @ rest), some if abs(rest).max() < 1e-9 else None

    assert find_some(group, mine - right, tried) == subset
    assert len(runs) < 150
    assert len(set(runs)) == len(runs)


def test_an_unlikely_mistake_is_no_group():
    rng = np.random.default_rng(3)
    changes = [Change("", "", Step(f"{index}", "", ()), abs) for index in range(4)]
    assert make_group(changes, rng.normal(size=(4, 500)), rng.normal(size=500)) is None
    assert make_group(changes[:2], rng.normal(size=(2, 500)), rng.normal(size=500)) is None


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e30), (np.float64, 1e200)])
def test_numbers_whose_squares_are_none(dtype, large):
    """Not an error of a library for linear algebra, nor a division by 0."""
    rng = np.random.default_rng(3)
    changes = [Change("", "", Step(f"{index}", "", ()), abs) for index in range(4)]
    effects, wrong = rng.normal(size=(4, 500)).astype(dtype), rng.normal(size=500).astype(dtype)
    with np.errstate(all="ignore"):
        for one, other in ((effects * large, wrong), (effects, wrong * large), (effects, wrong / large)):
            assert make_group(changes, one.astype(dtype), other.astype(dtype)) is None


def test_patterns_are_those_of_loops():
    assert frozenset({1, 2, 3}) in set(patterns(4))
    assert frozenset({0, 2}) in set(patterns(4))
    assert all(0 < len(some) < 4 for some in patterns(4))


def test_results_that_are_run_on_together_give_what_each_gives_alone():
    coarse = {name: array for name, array in run().items() if name == "pixel_values" or name.endswith("layers.1")}
    comparison = compare(golden(), make_trace(coarse))
    segment = make_segment(comparison, comparison.differences[-1])
    name = f"{BLOCK}.act"
    assert name in segment.results
    step = segment.plan[name]
    made = [segment.results[name] * factor for factor in (1.0, 0.5, 2.0)]
    alone = [run_changed(segment, {name: (step, lambda *_, one=one, **__: one)}, golden()) for one in made]
    for one, other in zip(run_on(segment, name, made), alone, strict=True):
        assert one.shape == other.shape
        assert abs(one - other).max() <= 1e-12 * abs(other).max()


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a.layers.1.act"], "a.layers.1.act"),
        (["a.layers.12.act", "a.layers.3.act"], "a.layers.{3, 12}.act"),
        (["a.layers.1", "a.norm", "b.layers.1"], "a.layers.1, a.norm, b.layers.1"),
        ([f"s{index}" for index in range(8)], "s0, s1, s2, s3, s4, s5 and 2 more"),
    ],
)
def test_places_are_said_in_short(names, text):
    assert in_places(names) == text
