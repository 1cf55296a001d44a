"""The way back through a plan: walked, and as steps; in training the model itself; what is kept, and let go."""

import gc
import json
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import fast_models, trained_models
from support.families import CLASSES, CONFIGS

import npconv
from npconv import gradients, layers
from npconv.models.plans import make_plan
from npconv.plan.backward import Walk, on_the_way
from npconv.plan.gradient_steps import with_gradients
from npconv.plan.operations_backward import rule_of
from npconv.plan.run import run_plan
from npconv.plan.step import Step

every_kind = pytest.mark.parametrize(("family", "task"), trained_models.KINDS)


def walked(plan, params, pixel_values, upstream_of, of, seed=0):
    """Return all results of a walk forward, and all gradients of the walk back, by name."""
    walk = Walk(plan, params, plan.outputs, of, np.random.default_rng(seed))
    results = dict(walk.forward({"pixel_values": pixel_values}))
    upstream = upstream_of({name: results.get(name, pixel_values) for name in plan.outputs})
    return results, dict(walk.backward(upstream))


def assert_same_bits(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.tobytes() == expected.tobytes()


@every_kind
@settings(max_examples=8)
@given(data=st.data())
def test_steps_and_the_walk_agree_bit_for_bit(family, task, data):
    """In inference and in training; the loss is half the sum of squares, whose gradient is the output itself."""
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    model, pixel_values = data.draw(trained_models.models(family, task, dtype))
    plan, params = make_plan(model.config, task, data.draw(st.booleans())), model.state_dict()
    of = trained_models.wanted(model)
    whole = with_gradients(plan, of)
    start = trained_models.starts(whole, pixel_values, dtype)
    made = {step.name: array for step, array in run_plan(whole, start, params, trained_models.drawing(0))}
    results, found = walked(plan, params, pixel_values, dict, of)
    for name, array in results.items():
        assert_same_bits(made[name], array)
    for name, gradient in found.items():
        assert_same_bits(made[f"{name}.grad"], gradient)
    sums = {step.name for step in whole if step.operation == "sum_gradients"}
    parts = {name for step in whole if step.name in sums for name in step.inputs}
    recorded = {name for name in made if name.endswith(".grad")} - parts
    assert recorded == {f"{name}.grad" for name in found}


@every_kind
@settings(max_examples=8)
@given(data=st.data())
def test_a_plan_in_training_is_the_model_bit_for_bit(family, task, data):
    """With a generator of the same seed."""
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    model, pixel_values = data.draw(trained_models.models(family, task, dtype))
    plan = make_plan(model.config, task, training=True)
    ran = run_plan(plan, {"pixel_values": pixel_values}, model.state_dict(), trained_models.drawing(7))
    results = {"pixel_values": pixel_values, **{step.name: array for step, array in ran}}
    output = model(pixel_values, output_hidden_states=True, training=True, rng=7)
    for name, hidden_state in zip(plan.hidden_states, output.hidden_states, strict=True):
        assert_same_bits(results[name], hidden_state)
    if task == "backbone":
        expected = output.feature_maps
    elif task == "image_classification":
        expected = [output.logits]
    else:
        expected = [output.get("cls_token_value", output.get("pooler_output", output.last_hidden_state))]
        if family == "dinov3_convnext":
            expected = [output.last_hidden_state]
    for name, array in zip(plan.outputs, expected, strict=True):
        assert_same_bits(results[name], array)


@every_kind
@settings(max_examples=8)
@given(data=st.data())
def test_nothing_is_kept_after_a_walk(family, task, data):
    """No result of the forward pass and no gradient is alive when the walk has ended and its arrays are dropped."""
    model, pixel_values = data.draw(trained_models.models(family, task))
    plan = make_plan(model.config, task, data.draw(st.booleans()))
    walk = Walk(plan, model.state_dict(), plan.outputs, trained_models.wanted(model), np.random.default_rng(0))
    alive, upstream = [], {}
    for name, array in walk.forward({"pixel_values": pixel_values}):
        alive.append(weakref.ref(array))
        if name in plan.outputs:
            upstream[name] = np.ones_like(array)
    if "pixel_values" in plan.outputs:
        upstream["pixel_values"] = np.ones_like(pixel_values)
    for _, gradient in walk.backward(upstream):
        alive.append(weakref.ref(gradient))
    assert not walk._arrays
    del array, gradient, upstream
    gc.collect()
    assert not [reference for reference in alive if reference() is not None]


@every_kind
@settings(
    max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the fixture's ledger is cleared below
@given(data=st.data())
def test_a_walk_on_a_device_is_the_same_and_never_comes_back_to_the_host(device_stub, family, task, data):
    """Masks are drawn on the host, and taken there: nothing else crosses the border, and nothing waits."""
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    model, pixel_values = data.draw(trained_models.models(family, task, dtype))
    plan, params = make_plan(model.config, task, data.draw(st.booleans())), model.state_dict()
    of = trained_models.wanted(model)
    results, expected = walked(plan, params, pixel_values, dict, of)
    x_there, params_there = (device_stub.asarray(pixel_values), {k: device_stub.asarray(v) for k, v in params.items()})
    device_stub.ledger.clear()
    results_there, found = walked(plan, params_there, x_there, dict, of)
    ledger, masks = device_stub.ledger, [step for step in plan if step.operation.endswith("_mask")]
    assert (ledger.to_host, ledger.to_device, ledger.synchronised) == (0, len(masks), 0)
    assert "float64" not in ledger.computed or dtype == "float64"
    for here, there in ((results, results_there), (expected, found)):
        assert set(there) == set(here)
        for name, array in here.items():
            assert_same_bits(there[name].get(), array)


@every_kind
@settings(max_examples=8)
@given(data=st.data())
def test_only_what_is_on_the_way_to_what_is_wanted_is_visited(family, task, data):
    """Each wanted parameter has its gradient, the same whatever else is wanted, and no other has one."""
    model, pixel_values = data.draw(trained_models.models(family, task))
    plan, params = make_plan(model.config, task), model.state_dict()
    every = trained_models.wanted(model)
    of = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    _, whole = walked(plan, params, pixel_values, dict, every)
    _, found = walked(plan, params, pixel_values, dict, of)
    assert set(found) & set(every) == set(whole) & set(of)
    for name, gradient in found.items():
        assert_same_bits(gradient, whole[name])
    steps, _ = on_the_way(plan, plan.outputs, of)
    above = set(of)
    for step in plan:  # what is made of something wanted
        if above & {*step.inputs, *step.params.values()}:
            above.add(step.name)
    assert {step.name for step, _ in steps} <= above


def test_a_parameter_that_no_output_takes_has_no_gradient():
    """Of a backbone whose last stage is not asked for."""
    config = npconv.ConvNextConfig(**fast_models.SMALL["convnext"], out_features=["stage1"])
    kind = CLASSES["convnext", "backbone"]
    model = kind(config, fast_models.weights(kind, config), dtype="float64")
    plan, every = make_plan(config, "backbone"), trained_models.wanted(model)
    _, found = walked(plan, model.state_dict(), fast_models.pictures((1, 3, 33, 40)).astype(float), dict, every)
    without = sorted(set(every) - set(found))
    assert without
    assert all(name.startswith(("encoder.stages.1", "encoder.stages.2")) for name in without)


def test_a_step_in_the_middle_is_a_beginning_too():
    """Its own upstream gradient adds to what comes from above."""
    model = fast_models.small("convnextv2", engine="explicit", dtype="float64")
    plan, params = make_plan(model.config, "image_classification"), model.state_dict()
    pixel_values, of = fast_models.pictures((2, 3, 33, 40)).astype(float), trained_models.wanted(model)
    middle = plan.resolve("convnextv2.encoder.stages.1")

    def gradients_of(*begins):
        walk = Walk(plan, params, begins, of)
        results = dict(walk.forward({"pixel_values": pixel_values}))
        return dict(walk.backward({name: results[name] for name in begins}))

    both, above, below = gradients_of(middle, *plan.outputs), gradients_of(*plan.outputs), gradients_of(middle)
    for name in of:
        expected = above[name] + below.get(name, 0)
        # Sums in another order: some thousand roundings of 1.1e-16 of the largest term.
        np.testing.assert_allclose(both[name], expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert not [name for name in below if name.startswith(("classifier", "convnextv2.encoder.stages.2"))]


def test_kept_is_what_backward_functions_take_and_shapes_where_these_are_enough():
    """The input of a pooling is not kept; the probabilities are once, though two steps take them."""
    step = Step("pooled", "global_average_pool", ("map",))
    assert rule_of("global_average_pool").kept(step) == {"x_shape": "map"}
    assert rule_of("residual").kept(Step("sum", "residual", ("x", "branch"))) == {}
    assert rule_of("softmax").kept(Step("dropout", "softmax", ("scores",))) == {"y": "dropout"}
    context = Step("context", "attention_context", ("dropout", "value"))
    assert rule_of("attention_context").kept(context) == {"probabilities": "dropout", "value": "value"}
    assert rule_of("dropout_mask") is None
    assert rule_of("running_mean") is None


def test_names_of_the_way_back():
    """Aliases go along, what two steps took has a part of each, and a loss for each of several outputs."""
    model = fast_models.small("convnext", engine="explicit", kind=fast_models.CLASSIFIERS)
    plan = with_gradients(make_plan(model.config, "image_classification"), trained_models.wanted(model))
    block = "convnext.encoder.stages.1.layers.1"
    assert plan[f"{block}.grad"].name == plan.resolve("convnext.encoder.stages.1.grad")
    below = "convnext.encoder.stages.1.layers.0.grad"
    assert plan[below].operation == "sum_gradients"
    assert plan[below].inputs == (f"{below}.0", f"{below}.1")
    assert plan[f"{below}.0"].operation == "residual_backward"
    assert plan[f"{below}.1"].operation == "depthwise_conv2d_backward"
    weight = plan[f"{block}.pwconv1.weight.grad"]
    assert (weight.operation, weight.attributes) == ("pointwise_conv2d_backward", {"wrt": "weight"})
    assert weight.inputs == (f"{block}.pwconv1.grad", f"{block}.layernorm")
    assert plan["pixel_values.grad"].layout == "NCHW"
    names = [step.name for step in plan]
    assert names.index("classifier.grad") == names.index("loss") + 1
    fields = {**fast_models.SMALL["convnext"], "out_features": ["stage1", "stage3"]}
    several = with_gradients(make_plan(CONFIGS["convnext"](**fields), "backbone"), ["pixel_values"])
    assert [step.name for step in several if step.operation == "half_square"] == ["loss.0", "loss.1"]
    assert type(plan).from_json(json.loads(json.dumps(plan.to_json()))) == plan


LOSSES = [
    ("cross_entropy", {"ignore_index": -100}, np.array([1, -100, 4])),
    ("mean_squared_error", {}, np.arange(15.0).reshape(3, 5)),
    ("binary_cross_entropy_with_logits", {}, np.arange(15).reshape(3, 5) % 2 / 2),
]


@pytest.mark.parametrize(("loss", "options", "labels"), LOSSES, ids=[loss for loss, _, _ in LOSSES])
@pytest.mark.parametrize("family", ["convnext", "cvt"])
def test_a_plan_with_labels_goes_back_from_their_loss(family, loss, options, labels):
    model = fast_models.small(family, engine="explicit", dtype="float64")
    plan = with_gradients(make_plan(model.config, "image_classification"), ["classifier.bias"], loss, **options)
    pixel_values = fast_models.pictures((3, 3, 33, 40)).astype(float)
    start = {"pixel_values": pixel_values, "labels": labels, "loss.grad": np.ones(())}
    made = {step.name: array for step, array in run_plan(plan, start, model.state_dict())}
    logits = model(pixel_values).logits
    assert made["loss"] == getattr(layers, loss)(logits, labels, **options)
    expected = getattr(gradients, f"{loss}_backward")(np.ones(()), logits, labels, **options)
    assert_same_bits(made["classifier.grad"], expected)
    assert_same_bits(made["classifier.bias.grad"], expected.sum(axis=0))


BLOCKS, SIDE, CHANNELS = 12, 48, 16


def test_the_peak_falls_far_below_keeping_everything():
    """Of a chain of blocks of maps of one size: what is kept forwards, and a few maps on the way back.

    A block of ConvNeXt takes its own input (for the convolution), what the norm takes, what the first pointwise layer
    takes, and two maps of four times the channels (what the activation and the second take), and what the layer scale
    takes: 4 + 2 * 4 = 12 maps, where all results are 5 + 2 * 4 = 13, and all gradients as many again. So a walk that
    keeps everything holds 26 maps a block; one that lets go has 12 when it turns round, and never more than those and
    the working arrays of a single block on the way.
    """
    fields = {"num_stages": 1, "hidden_sizes": [CHANNELS], "depths": [BLOCKS], "patch_size": 1}
    config = CONFIGS["convnext"](**fields, layer_scale_init_value=0.5)
    kind = CLASSES["convnext", "model"]
    model = kind(config, fast_models.weights(kind, config))
    pixel_values = fast_models.pictures((1, 3, SIDE, SIDE))
    plan, params, of = make_plan(config, "model"), model.state_dict(), trained_models.wanted(model)
    one_map = 4 * CHANNELS * SIDE * SIDE

    def peak_of(keep):
        walk = Walk(plan, params, plan.outputs, of)
        tracemalloc.start()
        kept = []
        for name, array in walk.forward({"pixel_values": pixel_values}):
            kept += [array] if keep else []
            last = {name: array}
        for _, gradient in walk.backward(last):
            kept += [gradient] if keep else []
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / one_map

    everything, let_go = peak_of(True), peak_of(False)
    assert everything >= 26 * BLOCKS
    working = 6 * 4  # a few arrays of the wide part of a block: an activation's derivative takes six
    assert let_go <= 12 * BLOCKS + working
