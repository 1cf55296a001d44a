"""``value_and_grad``: every family and task, in inference and training; what it leaves alone, and what it refuses."""

import gc
import weakref

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings
from support import fast_models, trained_models
from support.families import CLASSES, CONFIGS
from support.foreign import TorchTensor
from support.gradient_cases import STEP
from support.rounding import UNIT_ROUNDOFF

import npconv
from npconv import InputError, layers
from npconv.models.configuration import PROBLEM_TYPES
from npconv.models.parameters import flatten, is_buffer

every_kind = pytest.mark.parametrize(("family", "task"), trained_models.KINDS)


def labels_for(problem_type, batch, classes, seed=0):
    """Return labels of a problem type, and its name."""
    rng = np.random.default_rng([seed, batch, classes])
    if problem_type == "single_label_classification":
        return rng.integers(0, classes, batch)
    return rng.random((batch, classes))


def ending_for(choose, model, pixel_values):
    """Draw labels, or gradients of the outputs, as keyword arguments."""
    if model.task == "image_classification" and model.config.num_labels and choose(st.booleans()):
        model.config.problem_type = choose(st.sampled_from(sorted(npconv.api.loss.LOSSES)))
        return {"labels": labels_for(model.config.problem_type, len(pixel_values), model.config.num_labels)}
    outputs = npconv.value_and_grad(model)(pixel_values, grad_outputs={"pixel_values": pixel_values}).outputs
    rng = np.random.default_rng(0)
    return {"grad_outputs": [rng.normal(0, 1, output.shape) for output in outputs]}


def smooth(config):
    """Leave out what has bends: there differences say nothing. A pooling gives as many features as before."""
    assume(getattr(config, "pooling", "avg") != "catavgmax")
    if config.hidden_act in ("relu", "hardswish", "selu"):
        config.hidden_act = "gelu"
    if getattr(config, "pooling", "avg") != "avg":
        config.pooling = "avg"


@every_kind
@settings(max_examples=10)
@given(data=st.data())
def test_the_slope_of_the_loss_along_any_direction(family, task, data):
    """Central differences of the whole model in float64, of all parameters at once, and of the pixels.

    Three steps, each twice the one before, show the truncation: twice the step makes four times of it. Where it does
    not, a bend is near (a GRN has one where a channel dies), and nothing is asked. A loss is off by some thousand
    roundings of its size.
    """
    model, pixel_values = data.draw(trained_models.models(family, task))
    smooth(model.config)
    call = {**ending_for(data.draw, model, pixel_values), "training": data.draw(st.booleans()), "rng": 3}
    result = npconv.value_and_grad(model)(pixel_values, **call)
    gradients = {**flatten(result.gradients), "pixel_values": None}
    gradients["pixel_values"] = npconv.value_and_grad(model, wrt="pixel_values")(pixel_values, **call).gradients
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    own = model.state_dict()

    def loss_at(step, directions):
        moved = {name: array + step * directions.get(name, 0) for name, array in own.items()}
        other = type(model)(model.config, moved, dtype="float64").requires_grad_(False)  # no way back is needed
        pixels = pixel_values + step * directions.get("pixel_values", 0)
        return float(npconv.value_and_grad(other)(pixels, **call).loss)

    params = [name for name in own if not is_buffer(name)]
    for names in (params, ["pixel_values"]):
        directions = {name: rng.choice([-1.0, 1.0], gradients[name].shape) for name in names}
        near, far, farther = (
            (loss_at(h, directions) - loss_at(-h, directions)) / (2 * h) for h in (STEP, 2 * STEP, 4 * STEP)
        )
        slope = sum((gradients[name] * directions[name]).sum() for name in names)
        size = sum(np.abs(gradients[name]).sum() for name in names)
        rounding = 5000 * UNIT_ROUNDOFF[np.dtype("float64")] * max(abs(float(result.loss)), size, 1) / STEP
        assume(3 * abs(far - near) <= abs(farther - far) + rounding)
        tolerance = abs(far - near) + rounding
        assume(tolerance <= 1e-2 * max(size, 1e-3))
        assert abs(slope - near) <= tolerance


@every_kind
@settings(max_examples=10)
@given(data=st.data())
def test_the_loss_is_that_of_the_model_and_the_tree_that_of_its_parameters(family, task, data):
    """In any dtype; the model stays as it is, to the bit."""
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    model, pixel_values = data.draw(trained_models.models(family, task, dtype))
    ending = ending_for(data.draw, model, pixel_values)
    training = data.draw(st.booleans())
    before = {name: array.tobytes() for name, array in model.state_dict().items()}
    result = npconv.value_and_grad(model)(pixel_values, **ending, training=training, rng=5)
    loss, gradients = result
    assert (loss is result.loss, gradients is result.gradients) == (True, True)
    assert loss.dtype == dtype
    if "labels" in ending:
        expected = model(pixel_values, **ending, training=training, rng=5)
        assert loss.tobytes() == expected.loss.tobytes()
        assert result.outputs[0].tobytes() == expected.logits.tobytes()
    own, found = flatten(model.params), flatten(gradients)
    assert list(found) == list(own)
    for name, array in own.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        assert not (is_buffer(name) and found[name].any())
    assert {name: array.tobytes() for name, array in model.state_dict().items()} == before
    again = npconv.value_and_grad(model)(pixel_values, **ending, training=training, rng=5)
    assert all(
        a.tobytes() == b.tobytes() for a, b in zip(flatten(again.gradients).values(), found.values(), strict=True)
    )


def test_a_sum_that_float16_cannot_hold_is_infinite_and_its_gradients_are_right():
    model = npconv.ConvNextModel(
        npconv.ConvNextConfig(hidden_sizes=[4, 8], depths=[1, 1], num_stages=2), dtype="float16"
    )
    pixel_values = np.full((1, 3, 32, 32), 100, np.float16)
    result = npconv.value_and_grad(model, "pixel_values")(pixel_values, grad_outputs={"pixel_values": pixel_values})
    assert np.isposinf(result.loss), "3 * 32 * 32 * 100 * 100"
    assert np.array_equal(result.gradients, pixel_values)


SIZE = (3, 3, 33, 40)


@pytest.fixture
def model():
    return fast_models.small("convnext", engine="explicit", dtype="float64")


@pytest.fixture
def cvt():
    return fast_models.small("cvt", engine="explicit", dtype="float64")


@pytest.fixture
def pixel_values():
    return fast_models.pictures(SIZE).astype(np.float64)


def test_pixels_in_place_of_parameters(model, pixel_values):
    labels = np.array([1, 4, 0])
    function = npconv.value_and_grad(model, wrt="pixel_values")
    loss, gradient = function(pixel_values, labels)
    assert gradient.shape == pixel_values.shape
    assert gradient.any(axis=(2, 3)).all()
    other, tree = function(pixel_values, labels, wrt="params")
    assert other == loss
    assert list(tree) == list(model.params)
    _, same = npconv.value_and_grad(model)(pixel_values, labels, wrt="pixel_values")
    np.testing.assert_array_equal(same, gradient)


@pytest.mark.parametrize("problem_type", [None, *PROBLEM_TYPES])
@pytest.mark.parametrize("classes", [1, 5])
def test_labels_of_every_problem_type(problem_type, classes, pixel_values):
    """The gradient of the classifier's bias is that of the logits, summed over the batch: by hand."""
    config = npconv.ConvNextConfig(
        **{**fast_models.SMALL["convnext"], "num_labels": classes}, problem_type=problem_type
    )
    kind = CLASSES["convnext", "image_classification"]
    model = kind(config, fast_models.weights(kind, config), dtype="float64")
    labels = labels_for(problem_type or "single_label_classification", 3, classes)
    loss, gradients = npconv.value_and_grad(model)(pixel_values, labels)
    logits = model(pixel_values).logits
    assert loss == model(pixel_values, labels).loss
    if (problem_type or ("regression" if classes == 1 else "single")) == "regression":
        targets = labels.reshape(3, -1)
        expected = 2 * (logits - targets) / logits.size
    elif problem_type == "multi_label_classification":
        expected = (1 / (1 + np.exp(-logits)) - labels) / logits.size
    else:
        expected = (layers.softmax(logits, axis=1) - (labels[:, None] == np.arange(classes))) / 3
    # A few roundings of 1.1e-16 on numbers of the size of 1.
    np.testing.assert_allclose(gradients["classifier"]["bias"], expected.sum(axis=0), rtol=0, atol=1e-14)


def test_a_label_of_minus_100_does_not_count(model, pixel_values):
    _, gradient = npconv.value_and_grad(model, "pixel_values")(pixel_values, [1, -100, 2])
    assert gradient[0].any()
    assert not gradient[1].any()


def test_gradients_of_outputs_by_order_and_by_name(pixel_values):
    """A single array for a single output; a sequence; names as in a trace, with or without that of the family."""
    config = npconv.ConvNextConfig(**fast_models.SMALL["convnext"], out_features=["stage1", "stage3"])
    kind = CLASSES["convnext", "backbone"]
    backbone = kind(config, fast_models.weights(kind, config), dtype="float64")
    function = npconv.value_and_grad(backbone, "pixel_values")
    maps = backbone(pixel_values).feature_maps
    given = [np.ones_like(one) for one in maps]
    result = function(pixel_values, grad_outputs=given)
    assert result.loss == pytest.approx(sum(one.sum() for one in maps), rel=1e-12)  # sums of some thousand terms
    names = ["hidden_states_norms.stage1", "hidden_states_norms.stage3"]
    by_name = function(pixel_values, grad_outputs=dict(zip(names, given, strict=True)))
    np.testing.assert_array_equal(by_name.gradients, result.gradients)
    parts = [function(pixel_values, grad_outputs={name: one}) for name, one in zip(names, given, strict=True)]
    # Sums in another order: some hundred roundings of 1.1e-16 of the largest.
    largest = np.abs(result.gradients).max()
    np.testing.assert_allclose(parts[0].gradients + parts[1].gradients, result.gradients, rtol=0, atol=1e-13 * largest)

    model = fast_models.small("convnext", engine="explicit", dtype="float64")
    logits = model(pixel_values).logits
    function = npconv.value_and_grad(model, "pixel_values")
    expected = function(pixel_values, grad_outputs=np.ones_like(logits)).gradients
    for spelling in ([np.ones_like(logits)], {"classifier": np.ones_like(logits)}):
        np.testing.assert_array_equal(function(pixel_values, grad_outputs=spelling).gradients, expected)
    stage = model(pixel_values, output_hidden_states=True).hidden_states[2]
    in_the_middle = [
        function(pixel_values, grad_outputs={name: np.ones_like(stage)})
        for name in ("encoder.stages.1", "convnext.encoder.stages.1", "convnext.encoder.stages.1.layers.1")
    ]
    for result in in_the_middle:
        np.testing.assert_array_equal(result.gradients, in_the_middle[0].gradients)
        assert result.loss == pytest.approx(stage.sum(), rel=1e-12)  # as above
        np.testing.assert_array_equal(result.outputs[0], logits)


def test_a_feature_map_that_is_the_picture_itself():
    """The stem of a backbone of DINOv3."""
    config = CONFIGS["dinov3_convnext"](hidden_sizes=[6, 10], depths=[1, 1], out_features=["stem", "stage2"])
    backbone = npconv.DINOv3ConvNextBackbone(config, dtype="float64")
    x = fast_models.pictures((2, 3, 17, 16)).astype(float)
    function, maps = npconv.value_and_grad(backbone, "pixel_values"), backbone(x).feature_maps
    only_stem = function(x, grad_outputs=[2 * np.ones_like(x), 0 * maps[1]])
    np.testing.assert_array_equal(only_stem.gradients, np.full_like(x, 2.0))
    both = function(x, grad_outputs=[np.ones_like(x), np.ones_like(maps[1])]).gradients
    by_name = function(x, grad_outputs={"stages.1": np.ones_like(maps[1])}).gradients
    np.testing.assert_array_equal(both, by_name + 1)
    np.testing.assert_array_equal(only_stem.outputs[0], x)


def test_training_returns_the_new_statistics_and_changes_nothing(cvt, pixel_values):
    """Each is a tenth of the batch's and nine of the old; the next step starts from what the caller loads."""
    labels = [0, 1, 2]
    before = {name: array.copy() for name, array in cvt.state_dict().items()}
    result = npconv.value_and_grad(cvt)(pixel_values, labels, training=True, rng=0)
    stored = [name for name in before if is_buffer(name)]
    assert sorted(result.statistics) == sorted(stored)
    with npconv.golden.trace(only="*.convolution") as trace:
        cvt(pixel_values, training=False)
    first = next(name for name in stored if name.endswith("running_mean"))
    for name, array in cvt.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    module = first.removesuffix(".running_mean")
    x = np.asarray(
        trace[module.replace(".normalization", ".convolution")]
    )  # of the first block, no statistic before it
    numbers = x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
    for name, batch in (("running_mean", numbers.mean(axis=1)), ("running_var", numbers.var(axis=1, ddof=1))):
        expected = 0.9 * before[f"{module}.{name}"] + 0.1 * batch
        np.testing.assert_allclose(result.statistics[f"{module}.{name}"], expected, rtol=1e-12)  # means of 1000 terms
    assert result.statistics[f"{module}.num_batches_tracked"] == before[f"{module}.num_batches_tracked"] + 1
    cvt.load_state_dict(result.statistics, strict=False)
    for name in stored:
        np.testing.assert_array_equal(cvt.state_dict()[name], result.statistics[name])
    inference = npconv.value_and_grad(cvt)(pixel_values, labels)
    assert inference.statistics == {}
    assert inference.loss != result.loss


def test_train_and_eval_say_whether_it_is_training(pixel_values):
    config = npconv.CvtConfig(**fast_models.SMALL["cvt"], drop_rate=[0.5] * 3)
    kind = CLASSES["cvt", "image_classification"]
    model = kind(config, fast_models.weights(kind, config), dtype="float64")
    function = npconv.value_and_grad(model)
    in_training = function(pixel_values, [0, 1, 2], training=True, rng=1)
    model.train()
    assert function(pixel_values, [0, 1, 2], rng=1).loss == in_training.loss
    assert function(pixel_values, [0, 1, 2], rng=2).loss != in_training.loss
    assert function(pixel_values, [0, 1, 2], training=False).statistics == {}
    model.eval()
    assert function(pixel_values, [0, 1, 2], rng=1).statistics == {}
    by_generator = function(pixel_values, [0, 1, 2], training=True, rng=np.random.default_rng(1))
    assert by_generator.loss == in_training.loss


def test_frozen_parameters_have_gradient_0_and_the_others_the_same(cvt, pixel_values):
    _, whole = npconv.value_and_grad(cvt)(pixel_values, [0, 1, 2])
    cvt.cvt.requires_grad_(False)
    _, found = npconv.value_and_grad(cvt)(pixel_values, [0, 1, 2])
    for name, gradient in flatten(found).items():
        expected = flatten(whole)[name]
        np.testing.assert_array_equal(gradient, 0 * expected if name.startswith("cvt.") else expected)
    cvt.requires_grad_(False)
    loss, found = npconv.value_and_grad(cvt)(pixel_values, [0, 1, 2])
    assert not any(gradient.any() for gradient in flatten(found).values())
    assert loss == cvt(pixel_values, [0, 1, 2]).loss


def test_gradients_are_the_callers_own(model, pixel_values):
    """Each may be written to: none is a view of a parameter, of another gradient or of a result."""
    labels = [0, 1, 2]
    _, first = npconv.value_and_grad(model)(pixel_values, labels)
    before = {name: array.copy() for name, array in flatten(first).items()}
    for name, gradient in flatten(first).items():
        np.testing.assert_array_equal(gradient, before[name])
        gradient *= 0
    _, second = npconv.value_and_grad(model)(pixel_values, labels)
    for name, gradient in flatten(second).items():
        np.testing.assert_array_equal(gradient, before[name])


def test_float32_is_near_float64_and_float16_in_its_own_digits(pixel_values):
    """Of the largest of each tensor: some hundred roundings of the dtype, in which what is kept is stored."""
    labels, found = [0, 1, 2], {}
    for dtype in ("float16", "float32", "float64"):
        model = fast_models.small("convnextv2", engine="explicit", dtype=dtype)
        _, tree = npconv.value_and_grad(model)(pixel_values, labels)
        found[dtype] = flatten(tree)
        assert {gradient.dtype for gradient in found[dtype].values()} == {np.dtype(dtype)}
    for dtype in ("float16", "float32"):
        for name, truth in found["float64"].items():
            allowed = 200 * UNIT_ROUNDOFF[np.dtype(dtype)] * np.abs(truth).max()
            np.testing.assert_allclose(found[dtype][name].astype(float), truth, rtol=0, atol=allowed, err_msg=name)


def test_nothing_of_a_call_stays_alive(model, pixel_values):
    """Of the outputs and gradients of a call that was dropped."""
    result = npconv.value_and_grad(model)(pixel_values, [0, 1, 2])
    alive = [weakref.ref(array) for array in (*flatten(result.gradients).values(), *result.outputs)]
    del result
    gc.collect()
    assert not [reference for reference in alive if reference() is not None]


def test_tensors_of_other_libraries_are_taken_as_the_model_takes_them(model, pixel_values):
    labels = np.array([1, 4, 0])
    loss, gradient = npconv.value_and_grad(model, "pixel_values")(pixel_values, labels)
    given = npconv.value_and_grad(model, "pixel_values")(TorchTensor(pixel_values), TorchTensor(labels))
    assert given.loss == loss
    np.testing.assert_array_equal(given.gradients, gradient)
    upstream = npconv.value_and_grad(model, "pixel_values")
    of_tensor = upstream(TorchTensor(pixel_values), grad_outputs=TorchTensor(LOGITS)).gradients
    np.testing.assert_array_equal(of_tensor, upstream(pixel_values, grad_outputs=LOGITS).gradients)


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
@pytest.mark.parametrize(
    "ending", [{"labels": [0, 1, 2]}, {"grad_outputs": np.ones((3, 5))}], ids=["labels", "outputs"]
)
def test_on_a_device_it_is_the_same_and_gradients_stay_there(device_stub, family, ending, pixel_values):
    """What the caller gives is taken there; to look at labels the host waits, and nothing comes back."""
    here = fast_models.small(family, engine="explicit", dtype="float64")
    there = type(here)(here.config, here.state_dict(), dtype="float64", device="stub")
    loss, expected = npconv.value_and_grad(here)(pixel_values, **ending, training=True, rng=1)
    device_stub.ledger.clear()
    result = npconv.value_and_grad(there)(pixel_values, **ending, training=True, rng=1)
    assert device_stub.ledger.to_host == 0
    assert device_stub.ledger.synchronised == (3 if "labels" in ending else 0)
    assert result.loss.get() == loss
    for name, gradient in flatten(result.gradients).items():
        np.testing.assert_array_equal(gradient.get(), flatten(expected)[name])
    there.requires_grad_(False)
    frozen = npconv.value_and_grad(there)(pixel_values, **ending, training=True, rng=1).gradients
    assert not any(gradient.get().any() for gradient in flatten(frozen).values())


def test_what_has_no_gradients_is_refused(pixel_values):
    with pytest.raises(InputError, match="expected a model of npconv, got dict"):
        npconv.value_and_grad({})
    fast = fast_models.small("convnext", engine="fast")
    with pytest.raises(InputError, match="engine='explicit' for gradients, got engine='fast'; load it with that"):
        npconv.value_and_grad(fast)
    with pytest.raises(InputError, match="expected wrt to be 'params' or 'pixel_values', got 'weights'"):
        npconv.value_and_grad(fast_models.small("convnext", engine="explicit"), wrt="weights")
    config = npconv.ConvNextConfig(**fast_models.SMALL["convnext"], hidden_act=fast_models.softplus)
    own = CLASSES["convnext", "image_classification"](config)
    with pytest.raises(
        InputError, match="expected hidden_act to be the name of an activation for gradients"
    ) as refusal:
        npconv.value_and_grad(own)(pixel_values, [0, 1, 2])
    assert "\n" not in str(refusal.value)


X = fast_models.pictures(SIZE)
LOGITS = np.ones((3, 5))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (X[0], r"expected x of shape \(N, C, H, W\), got \(3, 33, 40\)"),
        (X[:, :2], "patch_embeddings: conv2d: the weights expect 3 channels on axis 1 of x"),
        (X[:, :, :3, :3], "window does not fit into a 3 x 3 map"),
        (X.astype(int), "expected normalized floating-point pixel_values, got int64"),
        (None, "expected a NumPy or CuPy array"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(pixels, message):
    with pytest.raises(InputError, match=message) as refusal:
        npconv.value_and_grad(fast_models.small("convnext", engine="explicit"))(pixels, [0, 1, 2])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "expected labels, or grad_outputs with a gradient for each output; got neither"),
        ({"labels": [0, 1, 2], "grad_outputs": LOGITS}, "with a gradient for each output; got both"),
        ({"labels": [0, 1]}, "expected 3 integer labels, got shape"),
        ({"labels": [0, 1, 9]}, "expected labels from 0 to 4 or -100, got one outside"),
        ({"labels": ["a", "b", "c"]}, "expected labels to be numbers"),
        ({"labels": [[0], [1, 2]]}, "expected labels of one shape"),
        ({"labels": [0, 1, 2], "wrt": "weights"}, "expected wrt to be 'params' or 'pixel_values', got 'weights'"),
        ({"labels": [0, 1, 2], "training": "yes"}, "expected training to be True or False, got 'yes'"),
        ({"labels": [0, 1, 2], "training": True, "rng": -1}, "expected rng to be a numpy.random.Generator or a seed"),
        ({"grad_outputs": LOGITS[:2]}, r"expected a gradient of shape \(3, 5\) for classifier, got \(2, 5\)"),
        ({"grad_outputs": LOGITS[0]}, r"expected a gradient of shape \(3, 5\) for classifier, got \(5,\)"),
        ({"grad_outputs": [LOGITS, LOGITS]}, "expected grad_outputs for 1 outputs, got 2"),
        ({"grad_outputs": [None]}, "expected a NumPy or CuPy array, got NoneType"),
        ({"grad_outputs": {}}, r"expected grad_outputs for one or more arrays of the model, each once; got \[\]"),
        ({"grad_outputs": {"encoder": LOGITS, "convnext.encoder": LOGITS}}, "each once; got"),
        ({"grad_outputs": {3: LOGITS}}, "expected names of arrays of the model in grad_outputs, such as "),
        ({"grad_outputs": {"pixel_values": LOGITS}}, "for pixel_values, got"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(call, message):
    model = fast_models.small("convnext", engine="explicit")
    with pytest.raises(InputError, match=message) as refusal:
        npconv.value_and_grad(model)(X, **call)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["clasifier", "encoder.stages.1.layers.9", "", "convnext.encoder.stage.0"])
def test_an_unknown_name_is_answered_with_one_that_works(name):
    model = fast_models.small("convnext", engine="explicit")
    function = npconv.value_and_grad(model, "pixel_values")
    with pytest.raises(InputError, match="such as ") as refusal:
        function(X, grad_outputs={name: LOGITS})
    advised = str(refusal.value).partition("such as ")[2].partition("; got")[0]
    with pytest.raises(InputError, match=r"expected a gradient of shape|^$") as refusal:
        function(X, grad_outputs={advised: np.ones(7)})
    assert advised in str(refusal.value)


def test_labels_for_what_has_no_classes_are_refused():
    bare = fast_models.small("convnext", engine="explicit", kind=fast_models.BARE_MODELS)
    with pytest.raises(InputError, match="expected a classifier for labels, got a ConvNextModel; give grad_outputs"):
        npconv.value_and_grad(bare)(X, [0, 1, 2])
    config = npconv.ConvNextConfig(**{**fast_models.SMALL["convnext"], "num_labels": 0})
    without = CLASSES["convnext", "image_classification"](config)
    with pytest.raises(InputError, match="expected a model with classes for a loss, got one with num_labels 0"):
        npconv.value_and_grad(without)(X, [0, 1, 2])


def test_a_batch_of_one_number_a_channel_has_no_variance_to_train_with():
    """Said in one line, by the name of the step."""
    own = npconv.CvtConfig().to_dict()
    fields = {name: value[:1] for name, value in own.items() if isinstance(value, list) and len(value) == 3}
    fields |= {"patch_sizes": [1], "patch_stride": [1], "patch_padding": [0]}
    fields |= {"embed_dim": [4], "num_heads": [1], "depth": [1], "cls_token": [True], "num_labels": 2}
    config = npconv.CvtConfig(**fields)
    model = npconv.CvtForImageClassification(config)
    function, x = npconv.value_and_grad(model), np.ones((1, 3, 1, 1), np.float32)
    assert np.isfinite(function(x, [0]).loss)
    with pytest.raises(ValueError, match="expected at least 2 numbers a channel, got 1; use a larger batch") as refusal:
        function(x, [0], training=True)
    assert "\n" not in str(refusal.value)
