"""How many stages of a frozen model are kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from npconv.errors import InputError
from npconv.training import frozen
from npconv.training.frozen import choose_stages
from npconv.training.head import Comparison

PHOTOS = SimpleNamespace(targets=np.zeros(2), classes=["a", "b"], problem_type="single_label_classification")


class Features:
    """Features of a model of four stages: the count of stages, in place of numbers."""

    columns = dict.fromkeys(range(5))

    def rows(self, places, count):
        return count


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ({4: 0.5, 3: 0.3, 2: 0.4}, [3, 2, 4]),  # the second left off makes it worse, and ends it
        ({4: 0.5, 3: 0.5}, [4, 3]),  # no better is not worth it either
        ({4: 0.5, 3: 0.4, 2: 0.3, 1: 0.2, 0: 0.1}, [0, 1, 2, 3, 4]),
    ],
)
def test_stages_are_left_off_as_long_as_that_helps_and_the_best_comes_first(monkeypatch, losses, found):
    asked = []

    def compare(count, targets, classes, problem_type, *, seed, executor, advance):
        asked.append((targets is PHOTOS.targets, classes, problem_type, seed, executor))
        return Comparison(1.0, 1.0, losses[count], ())

    monkeypatch.setattr(frozen, "compare_strengths", compare)
    choices = choose_stages(Features(), np.arange(2), PHOTOS, seed=7, executor="theirs")
    assert [choice.stages for choice in choices] == found
    assert [choice.comparison.loss for choice in choices] == [losses[count] for count in found]
    assert asked == [(True, 2, PHOTOS.problem_type, 7, "theirs")] * len(losses)


def test_so_many_as_are_asked_for(monkeypatch):
    monkeypatch.setattr(frozen, "compare_strengths", lambda count, *_, **__: Comparison(1.0, 1.0, 0.5, ()))
    assert [choice.stages for choice in choose_stages(Features(), np.arange(2), PHOTOS, stages=2)] == [2]
    with pytest.raises(
        InputError, match="expected stages to be one of 0, 1, 2, 3, 4, after which this model can end; got 5"
    ):
        choose_stages(Features(), np.arange(2), PHOTOS, stages=5)
