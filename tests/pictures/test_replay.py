"""Gradients of which the forward pass is computed anew: those of the whole walk, and few arrays held for them."""

import numpy as np
import pytest
from support.builders import CLASSIFIERS, CONFIGS, filled_model, pictures

from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures.replay import Replay, stretches
from npconv.pictures.saliency import map_of_stage
from npconv.plan.backward import Walk

FAMILIES = pytest.mark.parametrize("family", CONFIGS)


@FAMILIES
def test_stretches_are_the_plan_cut_where_one_array_goes_on(family):
    plan = make_plan(CONFIGS[family], "image_classification")
    found = stretches(plan, ["pixel_values"])
    assert [step for stretch in found for step in stretch.steps] == list(plan)
    assert len(found) > sum(CONFIGS[family].depth if family == "cvt" else CONFIGS[family].depths)
    known = set()
    for stretch in found:
        assert stretch.takes <= known | {"pixel_values"}
        inside = set(stretch.takes)
        for step in stretch.steps:
            assert inside.issuperset(step.inputs)
            inside.add(step.name)
        known |= inside


@FAMILIES
@pytest.mark.parametrize("label", [0, 2])
def test_gradients_are_those_of_one_walk_bit_for_bit_and_can_be_taken_again(family, label):
    model = filled_model(CLASSIFIERS[family], CONFIGS[family])
    plan, params = make_plan(model.config, model.task), flatten(model.params)
    inputs = {"pixel_values": pictures(2, 32, 32)}
    names = ["pixel_values", map_of_stage(model, 0), map_of_stage(model, -1)]
    (end,) = plan.outputs
    walk = Walk(plan, params, plan.outputs, names)
    arrays = inputs | dict(walk.forward(inputs))
    upstream = np.zeros_like(arrays[end])
    upstream[:, label] = 1
    expected = {name: gradient for name, gradient in walk.backward({end: upstream}) if name in names}
    replay = Replay(plan, params, inputs, names)
    replay.backward({end: upstream + 1})
    found = replay.backward({end: upstream})
    assert set(found) == set(names)
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name])
        np.testing.assert_array_equal(replay.arrays[name], arrays[name])
    assert sum(array.nbytes for array in replay.arrays.values()) < sum(array.nbytes for array in arrays.values()) / 2
