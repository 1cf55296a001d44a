"""The rules of operations: a shape for each result as a running model has it, and what a step costs."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from support import fast_models, trained_models
from support.trained_models import shapes_of
from test_plans import draw_model, results_of

from npconv.errors import InputError
from npconv.models.plans import make_plan
from npconv.plan.costs import MULTIPLY_ADDS, multiply_adds
from npconv.plan.gradient_steps import with_gradients
from npconv.plan.operations import OPERATIONS
from npconv.plan.operations_backward import passed_back
from npconv.plan.operations_forward import FORWARD
from npconv.plan.run import run_plan
from npconv.plan.shapes import LETTERS, letters_of, result_shape, result_shapes
from npconv.plan.step import Plan, Step
from npconv.plan.writing import Steps


def test_every_operation_has_a_rule():
    """Those of backward operations are made of those forwards, so the letters must name all that gradients are of."""
    assert all("result" in letters_of(operation) for operation in FORWARD)
    assert not [operation for operation in LETTERS if hasattr(OPERATIONS[operation], "shapes")]
    assert set(MULTIPLY_ADDS) <= set(FORWARD)
    for operation in OPERATIONS.keys() - FORWARD.keys():
        rule = passed_back(operation)
        assert set(rule.gives) <= set(letters_of(rule.operation))


@pytest.mark.parametrize(("classes", "family"), fast_models.KINDS)
@settings(max_examples=15)
@given(data=st.data())
def test_shapes_are_those_of_the_arrays(classes, family, data):
    model, pixel_values = draw_model(data.draw, family, classes, "float32")
    plan, results = results_of(model, pixel_values)
    shapes = result_shapes(plan, pixel_values.shape, model.parameter_shapes(model.config))
    assert shapes.pop("pixel_values") == pixel_values.shape
    assert shapes == {name: array.shape for name, array in results.items()}


@pytest.mark.parametrize(("family", "task"), trained_models.KINDS)
@settings(max_examples=8)
@given(data=st.data())
def test_shapes_are_those_of_the_arrays_backwards_and_in_training(family, task, data):
    """Of losses, of every gradient, and of every step of training."""
    model, pixel_values = data.draw(trained_models.models(family, task))
    plan = make_plan(model.config, task, data.draw(st.booleans()))
    plan, params = with_gradients(plan, trained_models.wanted(model)), model.state_dict()
    start = trained_models.starts(plan, pixel_values)
    found = {step.name: made.shape for step, made in run_plan(plan, start, params, trained_models.drawing(0))}
    shapes = result_shapes(plan, params=shapes_of(params), **shapes_of(start))
    assert {name: shape for name, shape in shapes.items() if name not in start} == found


def one_step(operation, *inputs, params=None, **attributes):
    """Return what the rules say of a single step."""
    params = params or {}
    names = tuple(f"input.{number}" for number in range(len(inputs)))
    step = Step("output", operation, names, {name: name for name in params}, attributes)
    shapes = {**dict(zip(names, inputs, strict=True)), "output": result_shape(step, inputs, params)}
    return shapes["output"], multiply_adds(step, shapes, params)


def conv2d_backward(wrt):
    """Return what the rules say of the way back through the first convolution below."""
    options = {"params": {"weight": (5, 3, 4, 2)}, "stride": [2, 3], "padding": 1}
    return one_step("conv2d_backward", (1, 5, 4, 3), (1, 3, 9, 8), **options, wrt=wrt)


@pytest.mark.parametrize(
    ("found", "shape", "cost"),
    [
        (
            one_step("conv2d", (1, 3, 9, 8), params={"weight": (5, 3, 4, 2)}, stride=[2, 3], padding=1),
            (1, 5, 4, 3),
            1440,
        ),
        (
            one_step("depthwise_conv2d", (1, 4, 9, 8), params={"weight": (4, 1, 7, 7)}, stride=1, padding=3),
            (1, 4, 9, 8),
            14112,
        ),
        (one_step("linear", (7, 4), params={"weight": (6, 4), "bias": (6,)}), (7, 6), 168),
        (one_step("attention_scores", (1, 7, 4), (1, 3, 4), num_heads=2, scale=0.5), (1, 2, 7, 3), 84),
        (one_step("attention_context", (1, 2, 7, 3), (1, 3, 4)), (1, 7, 4), 84),
        (conv2d_backward("x"), (1, 3, 9, 8), 1440),
        (conv2d_backward("weight"), (5, 3, 4, 2), 1440),
        (conv2d_backward("bias"), (5,), 0),
        (one_step("linear_backward", (7, 6), (7, 4), params={"weight": (6, 4)}, wrt="bias"), (6,), 0),
        (one_step("attention_context_backward", (1, 7, 4), (1, 2, 7, 3), (1, 3, 4), wrt="value"), (1, 3, 4), 84),
        (one_step("pad_end_backward", (1, 2, 4, 5), wrt="x"), (1, 2, 3, 4), 0),
        (one_step("join_features_backward", (3, 9), (3, 4), wrt="y"), (3, 5), 0),
        (one_step("join_class_token_backward", (2, 7, 5), (1, 1, 5), wrt="x"), (2, 6, 5), 0),
        (
            one_step("tokens_backward", (2, 13, 5), (2, 5, 3, 4), params={"cls_token": (1, 1, 5)}, wrt="x"),
            (2, 5, 3, 4),
            0,
        ),
        (one_step("softmax_backward", (2, 3), (2, 3), axis=-1, wrt="x"), (2, 3), 0),
        (one_step("half_square", (2, 3)), (), 0),
        (one_step("cross_entropy", (2, 3), (2,), ignore_index=-100), (), 0),
        (one_step("sum_gradients", (2, 3), (2, 3)), (2, 3), 0),
        (one_step("drop_path_mask", (2, 3, 4), rate=0.5), (2,), 0),
        (one_step("running_var", (2, 3, 4, 5), params={"running_var": (3,)}), (3,), 0),
        (one_step("resize", (3, 9, 8), height=4, width=5, resample=3), (3, 4, 5), 0),
        (one_step("center_crop", (3, 9, 8), height=4, width=5), (3, 4, 5), 0),
        (one_step("normalize", (3, 9, 8), mean=0.5, std=0.5), (3, 9, 8), 0),
    ],
)
def test_what_a_step_gives_and_costs(found, shape, cost):
    assert found == (shape, cost)


def test_a_step_that_cannot_run_is_named():
    window = Step("a.b", "conv2d", ("pixel_values",), {"weight": "a.b.weight"}, {"stride": 1, "padding": 0})
    with pytest.raises(InputError, match=r"a\.b: a window of 4 does not fit into 3 positions with padding 0"):
        result_shapes(Plan((window,)), (1, 2, 3, 9), {"a.b.weight": (5, 2, 4, 4)})
    branch = Step("sum", "residual", ("pixel_values", "a.b"))
    with pytest.raises(InputError, match=r"sum: expected a branch of the shape \(1, 2, 4, 9\) .*, got \(1, 2, 1, 6\)"):
        result_shapes(Plan((window, branch)), (1, 2, 4, 9), {"a.b.weight": (2, 2, 4, 4)})


def test_a_parameter_may_have_another_name_than_the_argument():
    steps = Steps()
    steps.add("block.scaled", "layer_scale", "pixel_values", params={"layer_scale_parameter": "gamma"}, of="block")
    (step,) = steps.plan(["block.scaled"], [])
    assert step.params == {"layer_scale_parameter": "block.gamma"}
