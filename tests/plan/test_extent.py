"""How much a step will make, where the plan is a stranger's: never less than it does, on the way back and in training.

That of the steps of a model is tried in ``tests/golden/test_bounds.py``.
"""

import tracemalloc

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from support import gradient_cases, trained_models
from support.trained_models import shapes_of

from npconv.errors import InputError
from npconv.golden.segment import FAILURES
from npconv.models.plans import make_plan
from npconv.plan import extent as module
from npconv.plan.costs import multiply_adds
from npconv.plan.extent import Allowance, Extent, TooMuchError, extent_of
from npconv.plan.gradient_steps import with_gradients
from npconv.plan.operations_backward import BACKWARD, rule_of
from npconv.plan.run import run_step
from npconv.plan.shapes import result_shape, result_shapes
from npconv.plan.step import Step

#: A call of the layer of every backward operation that is a layer's: arrays that fit each other.
FITTING = {case.layer.function.__name__: case for case in gradient_cases.CASES}
FITTING = {name: case for name, case in FITTING.items() if name in BACKWARD}

#: Arrays of the size of those that are given that a function may hold beside its result: each derivative a few.
WORKING = 24


def step_of(case, wrt):
    """Return the backward step of a case, with all that it takes among its inputs, and the arrays of these."""
    operation = case.layer.function.__name__
    known = {**case.layer.arrays, **case.arrays}
    names = [name.removesuffix("_shape") for name in ("grad_y", *rule_of(operation).takes)]
    inputs = {name: known[name] for name in names if name in known}
    params = {name: inputs.pop(name) for name in ("weight", "bias", "running_mean", "running_var") if name in inputs}
    attributes = {name: value for name, value in case.options.items() if not name.endswith("_shape")}
    step = Step(
        "y", f"{operation}_backward", tuple(inputs), {name: name for name in params}, {**attributes, "wrt": wrt}
    )
    return step, list(inputs.values()), params


@pytest.mark.parametrize("operation", sorted(FITTING))
def test_steps_that_fit_are_counted_as_they_are(operation):
    case = FITTING[operation]
    for wrt in case.gives:
        step, inputs, params = step_of(case, wrt)
        made = run_step(step, inputs, params)
        shapes = [array.shape for array in inputs]
        assert result_shape(step, shapes, shapes_of(params)) == made.shape == case.layer.arrays[wrt].shape
        assert extent_of(step, shapes, shapes_of(params)).made >= made.size


@pytest.mark.parametrize("operation", sorted(FITTING))
@settings(max_examples=60)
@given(data=st.data())
def test_what_a_stranger_makes_of_arrays_that_do_not_fit_is_counted_or_refused(operation, data):
    """Some arrays get other lengths, one or many times larger; options other values."""
    case = FITTING[operation]
    step, inputs, params = step_of(case, data.draw(st.sampled_from(case.gives)))

    def stretched(array):
        lengths = [data.draw(st.sampled_from([length, length, length, 1, 40])) for length in array.shape]
        return np.ones(lengths, array.dtype)

    inputs, params = [stretched(array) for array in inputs], {name: stretched(a) for name, a in params.items()}
    changes = {"stride": [1, 10**6], "padding": [0, 3], "dilation": [1, 9], "kernel_size": [1, 3], "num_heads": [1, 40]}
    step.attributes.update(
        {name: data.draw(st.sampled_from(values)) for name, values in changes.items() if name in step.attributes}
    )
    try:
        extent = extent_of(step, [array.shape for array in inputs], shapes_of(params))
    except (InputError, *FAILURES):
        return  # it is not run
    if extent.held > 10**7:
        return  # nor is this, see `Allowance`
    tracemalloc.start()
    try:
        with np.errstate(all="ignore"):
            made = run_step(step, inputs, params)
        assert made.size <= extent.made
    except ValueError:
        pass  # refused by the function: before it made anything large
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= 8 * WORKING * (extent.held + extent.made) + 10**5  # and what Python itself takes for a call


@pytest.mark.parametrize(("family", "task"), trained_models.KINDS)
@settings(max_examples=5)
@given(data=st.data())
def test_the_way_back_takes_twice_the_products_of_the_way_forward(family, task, data):
    """Each factor of a product has a gradient, which takes as many; the pixels' own counts where it is wanted."""
    model, pixel_values = data.draw(trained_models.models(family, task))
    plan = with_gradients(make_plan(model.config, task), trained_models.wanted(model))
    params = shapes_of(model.state_dict())
    start = trained_models.starts(plan, pixel_values)
    shapes = result_shapes(plan, params=params, **shapes_of(start))
    costs = {step.name: multiply_adds(step, shapes, params) for step in plan}
    back = {step.name for step in plan if step.operation.endswith("_backward")}
    passed = {step.inputs[0].removesuffix(".grad").split(".grad.")[0] for step in plan if step.name in back}
    forward = sum(cost for name, cost in costs.items() if name in passed)
    assert sum(costs[name] for name in back) == 2 * forward
    for step in plan:
        extent = extent_of(step, [shapes[name] for name in step.inputs], params)
        assert extent.work >= costs[step.name]


def test_a_window_of_a_stranger_cannot_reach_far_beyond_the_map():
    """A stride of 10**9 with two windows would ask for a map as large."""
    options = {"stride": 10**9, "padding": 0, "wrt": "x"}
    pool = Step("y", "average_pool2d_backward", ("g", "x"), {}, {**options, "kernel_size": 1, "ceil_mode": False})
    with pytest.raises(InputError, match="expected grad_y of shape"):
        extent_of(pool, [(1, 1, 2, 2), (1, 1, 4, 4)], {})
    convolution = Step("y", "conv2d_backward", ("g", "x"), {"weight": "w"}, options)
    with pytest.raises(InputError, match="expected grad_y of shape"):
        extent_of(convolution, [(1, 1, 2, 2), (1, 1, 4, 4)], {"w": (1, 1, 1, 1)})


def test_the_gradient_of_a_weight_is_made_for_each_sample():
    """A convolution of a batch of pictures of one position has few numbers, and many of these gradients."""
    step = Step("y", "conv2d_backward", ("g", "x"), {"weight": "w"}, {"stride": 1, "padding": 0, "wrt": "weight"})
    extent = extent_of(step, [(1000, 50, 1, 1), (1000, 50, 1, 1)], {"w": (50, 50, 1, 1)})
    assert extent.made == 2500
    assert extent.held >= 1000 * 2500


@pytest.mark.parametrize("wrt", ["jump", "grad_y", "eps", None, 3])
def test_a_gradient_of_what_is_no_argument_is_refused(wrt):
    step = Step("y", "layer_norm_backward", ("g", "x"), {"weight": "w"}, {"eps": 1e-6, "axis": 1, "wrt": wrt})
    if wrt is None:
        del step.attributes["wrt"]
    with pytest.raises(
        InputError, match="layer_norm_backward: expected wrt to be one of x, weight, bias; got"
    ) as error:
        extent_of(step, [(1, 2, 3, 4), (1, 2, 3, 4)], {"w": (2,)})
    assert not isinstance(error.value, TooMuchError)
    assert "\n" not in str(error.value)


def test_an_allowance_is_used_up_to_its_end(monkeypatch):
    step = Step("a", "residual", ("x", "y"))
    monkeypatch.setattr(module, "extent_of", lambda *_: Extent(made=20, held=5, work=30))
    for name, each in (("HELD", 2), ("WORK", 3)):
        monkeypatch.setattr(module, f"{name}_FOR_EACH", each)
        monkeypatch.setattr(module, f"{name}_ANYWAY", 30)
    allowance = Allowance(10)
    assert (allowance.held, allowance.work) == (50, 60)
    allowance.take(step, [], {})
    assert (allowance.held, allowance.work) == (30, 30)
    allowance.held = 25
    allowance.take(step, [], {})
    assert (allowance.held, allowance.work) == (5, 0)
    allowance.held = 100
    with pytest.raises(TooMuchError, match="a: residual would take 30 products, of a trace of 10 numbers"):
        allowance.take(step, [], {})
    allowance.held, allowance.work = 24, 100
    with pytest.raises(TooMuchError, match="a: residual would take 25 numbers, of a trace of 10 numbers"):
        allowance.take(step, [], {})
