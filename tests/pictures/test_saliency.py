"""What speaks for a class: the gradients against central differences, and which map of a stage is taken."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from PIL import Image
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, pictures
from support.fast_models import weights

import npconv
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures import grad_cam, saliency
from npconv.plan.run import run_plan

#: A central difference is off by the third derivative times STEP**2 / 6, and by rounding, about 1e-16 / STEP. The
#: farthest of these came to 4e-9 of the largest.
STEP = 1e-5
BOUND = 1e-7


def made(config, dtype="float64", **options):
    """Return a classifier with random parameters, none without effect."""
    model_class = CLASSIFIERS[config.model_type]
    return model_class(config, weights(model_class, config), dtype=dtype, **options)


#: Whose last map goes to the classifier, in place of a class token.
WITHOUT_TOKEN = npconv.CvtConfig(**{**CONFIGS["cvt"].to_dict(), "cls_token": [False, False, False]})
MODELS = {
    **{family: made(config) for family, config in CONFIGS.items()},
    "cvt without class token": made(WITHOUT_TOKEN),
}
PREFIXES = {name: f"{model.base_model_prefix}.encoder.stages" for name, model in MODELS.items()}

#: The map that stands for the last stage where a class token goes on.
LOOKED_AT = "cvt.encoder.stages.2.layers.1.attention.attention.map"


def logits_of(model, arrays):
    """Return the logits where some arrays of the model are given."""
    plan = make_plan(model.config, model.task)
    (end,) = plan.outputs
    return next(result for _, result in run_plan(plan, arrays, flatten(model.params), only=[end]))


def array_of(model, name, pixel_values):
    """Return an array of a model by its name."""
    plan = make_plan(model.config, model.task)
    wanted = plan.resolve(name)
    arrays = {"pixel_values": pixel_values}
    return wanted, next(result for _, result in run_plan(plan, arrays, flatten(model.params), only=[wanted]))


def weighted_sum(model, name, pixel_values, labels):
    """Return the weighted sum of the channels, with the mean gradient of each from a difference along that channel."""
    name, feature_map = array_of(model, name, pixel_values)
    batch, channels, height, width = feature_map.shape
    weights = np.empty((batch, channels, 1, 1))
    for channel in range(channels):
        nudge = np.zeros_like(feature_map)
        nudge[:, channel] = STEP
        up, down = (
            logits_of(model, {"pixel_values": pixel_values, name: feature_map + sign * nudge}) for sign in (1, -1)
        )
        slope = (up - down)[np.arange(batch), labels] / (2 * STEP)
        weights[:, channel, 0, 0] = slope / (height * width)
    return (weights * feature_map).sum(axis=1)


def negated(model):
    """Return the classifier whose logits have the other sign, so that what spoke for a class speaks against it."""
    state = model.state_dict()
    state |= {name: -array for name, array in state.items() if name.startswith("classifier.")}
    return type(model)(model.config, state, dtype="float64")


@pytest.mark.parametrize("name", MODELS)
def test_saliency_is_the_slope_of_the_logit(name):
    model, x = MODELS[name], pictures(dtype="float64")
    gradient = saliency(model, x, [0, 2])
    assert gradient.shape == x.shape
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction = rng.standard_normal(x.shape)
        up, down = (model(x + sign * STEP * direction).logits for sign in (1, -1))
        slopes = (up - down)[[0, 1], [0, 2]] / (2 * STEP)
        assert np.abs(slopes).max() > 1e-3
        found = (gradient * direction).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(found, slopes, rtol=0, atol=BOUND * np.abs(slopes).max())


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_grad_cam_weighs_the_channels_by_their_mean_slope(name, stage):
    model, x, labels = MODELS[name], pictures(dtype="float64"), np.array([0, 2])
    looked_at = LOOKED_AT if (name, stage) == ("cvt", 2) else f"{PREFIXES[name]}.{stage}"
    signed = weighted_sum(model, looked_at, x, labels)
    largest = np.abs(signed).max()
    assert largest > 1e-3
    for classifier, expected in ((model, np.maximum(signed, 0)), (negated(model), np.maximum(-signed, 0))):
        cam = grad_cam(classifier, x, labels, stage)
        np.testing.assert_allclose(cam, expected, rtol=0, atol=BOUND * largest)
        np.testing.assert_array_equal(grad_cam(classifier, x, labels, stage - 3), cam)


def test_the_map_behind_a_class_token_does_nothing_to_the_class():
    """So its gradient is 0, and Grad-CAM of it would be 0 everywhere."""
    model, x = MODELS["cvt"], pictures(dtype="float64")
    name, feature_map = array_of(model, f"{PREFIXES['cvt']}.2", x)
    others = logits_of(model, {"pixel_values": x, name: feature_map + 1})
    np.testing.assert_array_equal(others, model(x).logits)


@pytest.mark.parametrize(("name", "stage"), [("convnext-cifar10", 1), ("cvt-cifar10", 2)])
def test_grad_cam_points_at_the_corner_where_the_ship_is(name, stage):
    """At half its size on grey: by chance 1/4 of the map would lie in its corner; the least of these is 0.54."""
    ship = np.asarray(Image.open(files("npconv") / "zoo" / "samples" / "ship.png").resize((32, 32)))
    model, processor = (
        kind.from_pretrained(name) for kind in (npconv.AutoModelForImageClassification, npconv.AutoImageProcessor)
    )
    small = processor(ship)["pixel_values"].reshape(3, 16, 2, 16, 2).mean(axis=(2, 4))
    x, shares = np.zeros((4, 3, 32, 32), np.float32), []
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    for picture, (down, right) in zip(x, corners, strict=True):
        picture[:, 16 * down : 16 * down + 16, 16 * right : 16 * right + 16] = small
    for cam, (down, right) in zip(grad_cam(model, x, "ship", stage), corners, strict=True):
        half = len(cam) // 2
        shares.append(cam.reshape(2, half, 2, half).sum(axis=(1, 3))[down, right] / cam.sum())
    assert min(shares) > 0.4


@pytest.mark.parametrize("function", [saliency, grad_cam])
@pytest.mark.parametrize("name", MODELS)
def test_the_class_may_be_left_open_or_named_or_one_for_each_picture(function, name):
    model, x = MODELS[name], pictures(batch=3, dtype="float64")
    found = model(x).logits.argmax(axis=1)
    np.testing.assert_array_equal(function(model, x), function(model, x, found))
    np.testing.assert_array_equal(function(model, x, "LABEL_2"), function(model, x, 2))
    np.testing.assert_array_equal(function(model, x, 2), function(model, x, [2, 2, 2]))
    alone = np.concatenate([function(model, x[place : place + 1], label) for place, label in enumerate([0, 3, 1])])
    np.testing.assert_allclose(function(model, x, (0, 3, 1)), alone, rtol=1e-9, atol=1e-9 * np.abs(alone).max())


@pytest.mark.parametrize("function", [saliency, grad_cam])
def test_nothing_is_written_to_and_training_changes_nothing(function):
    config = npconv.ConvNextConfig(**{**CONFIGS["convnext"].to_dict(), "drop_path_rate": 0.5})
    model, x = made(config, "float32"), pictures()
    before, parameters = x.copy(), {name: array.copy() for name, array in model.state_dict().items()}
    expected = function(model, x, 1)
    assert expected.dtype == np.float32
    model.train()
    np.testing.assert_array_equal(function(model, x, 1), expected)
    assert model.training
    np.testing.assert_array_equal(x, before)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, parameters[name])


@pytest.mark.parametrize("function", [saliency, grad_cam])
@pytest.mark.parametrize("label", [None, "LABEL_1", [0, 2]])
@pytest.mark.parametrize("family", CONFIGS)
def test_arrays_of_a_device_stay_there(device_stub, family, label, function):
    x = pictures()
    model = made(CONFIGS[family], "float32", device="stub")
    x_there = device_stub.asarray(x)
    device_stub.ledger.clear()
    there = function(model, x_there, label)
    assert device_stub.ledger.to_host == 0
    np.testing.assert_array_equal(there.get(), function(made(CONFIGS[family], "float32"), x, label))


def test_what_does_not_fit_is_refused():
    model, x = MODELS["convnext"], pictures()
    bare = BARE_MODELS["convnext"](CONFIGS["convnext"])
    without = CLASSIFIERS["convnext"](
        npconv.ConvNextConfig(num_labels=0, depths=[1, 1, 1, 1], hidden_sizes=[2, 2, 2, 2])
    )
    fast = CLASSIFIERS["convnext"](CONFIGS["convnext"], engine="fast")
    for function in (saliency, grad_cam):
        for other, message in (
            (None, "expected a model of npconv, got NoneType"),
            (bare, "expected a classifier with classes, got a ConvNextModel without"),
            (without, "expected a classifier with classes"),
            (fast, "got engine='fast'"),
        ):
            with pytest.raises(npconv.InputError, match=message):
                function(other, x)
        for label, message in (
            (4, "expected classes from 0 to 3, got 4"),
            (-1, "expected classes from 0 to 3, got -1"),
            ([0, 9], "expected classes from 0 to 3, got 9"),
            ("LABEL_9", r"expected the name of a class of the model, got 'LABEL_9' \(nearest: 'LABEL_"),
            ([1, 2, 3], "a number for each of 2 pictures"),
            (1.5, "a number for each of 2 pictures"),
            (True, "a number for each of 2 pictures"),
            ([[1], [1, 2]], "expected labels of one shape"),
        ):
            with pytest.raises(npconv.InputError, match=message):
                function(model, x, label)
        with pytest.raises(npconv.InputError, match="expected a NumPy or CuPy array, got NoneType"):
            function(model, None)
    for stage in (3, -4, True, 1.0, "last"):
        with pytest.raises(npconv.InputError, match="expected a stage from 0 to 2, or from -1 back; got"):
            grad_cam(model, x, 0, stage)
