"""Golden traces with gradients: what they hold, of which loss they are, their noise, and training."""

import copy

import numpy as np
import pytest
from support.compare_samples import pixels, small
from support.fast_models import BACKBONES, KINDS, pictures
from support.fast_models import small as small_of
from support.gradient_samples import LABELS, golden

import npconv
from npconv.errors import GoldenError
from npconv.golden.listing import list_tensors
from npconv.golden.made import draw_labels
from npconv.golden.trace_file import load_trace
from npconv.golden.tracing import trace
from npconv.golden.truth import record
from npconv.models.parameters import flatten
from npconv.plan.gradient_steps import is_gradient, is_share
from npconv.plan.run import run_plan

pytestmark = pytest.mark.long

FAMILIES = ["convnextv2", "cvt"]
X = pictures((2, 3, 40, 48))


def in_float64(model, **fields):
    """The same model in float64, with other fields of its configuration."""
    config = copy.deepcopy(model.config)
    for name, value in fields.items():
        setattr(config, name, value)
    return type(model)(config, model.state_dict(), dtype="float64")


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_value_and_grad(family):
    model, found = in_float64(small(family)), golden(family)
    x = pixels(family).astype(np.float64)
    loss, gradients = npconv.value_and_grad(model)(x, labels=LABELS)
    assert found["loss"] == loss
    trained = dict(model.named_parameters())
    for name, gradient in flatten(gradients).items():
        if name in trained:
            np.testing.assert_array_equal(found[f"{name}.grad"], gradient, strict=True)
    of_pixels = npconv.value_and_grad(model, wrt="pixel_values")(x, labels=LABELS).gradients
    np.testing.assert_array_equal(found["pixel_values.grad"], of_pixels, strict=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_forwards_comes_first_and_then_every_array_that_the_loss_depends_on(family):
    found = golden(family)
    names, plan = list(found), found.plan
    back = names.index("loss.grad")
    assert names[:2] == ["pixel_values", "labels"]
    assert names[back - 1] == "loss"
    assert not any(map(is_gradient, names[:back]))
    assert all(map(is_gradient, names[back:]))
    assert [name for name in names if name in plan] == [step.name for step in plan if not is_share(step.name)]
    taken = {name for step in plan for name in step.inputs}
    without = [step.name for step in plan if not is_gradient(step.name) and f"{step.name}.grad" not in found]
    assert {name for name in without if not is_share(name)} == {name for name in without if name not in taken} - {
        "loss"
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_the_steps_in_a_trace_make_its_gradients_bit_for_bit(family):
    found = golden(family)
    params = {name: np.asarray(array, np.float64) for name, array in found.params.items()}
    given = {name: np.asarray(array) for name, array in found.items() if name not in found.plan}
    given["pixel_values"] = given["pixel_values"].astype(np.float64)
    made = {step.name: array for step, array in run_plan(found.plan, given, params)}
    for name in made.keys() & found.keys():
        np.testing.assert_array_equal(made[name], found[name], strict=True)
    assert any(is_share(name) for name in made)
    assert not any(map(is_share, found))


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_of_gradients_is_measured_and_small(family):
    found = golden(family)
    for name in filter(is_gradient, found.plan and found):
        noise = found.about["noise"][name]
        if name == "loss.grad":
            assert noise == {"given": 0.0}
            continue
        assert set(noise) == {"explicit", "perturbed"}
        # In the last block only what the class token asks for is taken: all else there has a gradient of 0 in any
        # program. That of a key's bias is 0 in exact arithmetic, and has noise alone.
        largest = max(np.abs(found[name]).max(), np.abs(found["pixel_values.grad"]).max())
        assert (noise["perturbed"] > 0) == found[name].any(), name
        assert noise["perturbed"] < 1e-3 * largest, name


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_models_without_classes_have_half_the_sum_of_squares_for_a_loss(kind, family):
    model = in_float64(small_of(family, kind, engine="explicit"))
    labels = draw_labels(model.config, len(X)) if "Classification" in type(model).__name__ else None
    found = record(model, X, noise=False, gradients=True, labels=labels)
    outputs = found.plan.outputs
    if labels is not None:
        assert found["loss"] == pytest.approx(float(model(X, labels=labels).loss))
        return
    losses = ["loss"] if len(outputs) == 1 else [f"loss.{number}" for number in range(len(outputs))]
    assert [name for name in found if name.startswith("loss") and not is_gradient(name)] == losses
    for loss, output in zip(losses, outputs, strict=True):
        assert found[loss] == pytest.approx(np.square(found[output]).sum() / 2)
        assert found[f"{loss}.grad"] == 1


@pytest.mark.parametrize("problem_type", ["regression", "multi_label_classification"])
def test_labels_of_other_kinds(problem_type):
    model = in_float64(small("convnextv2"), problem_type=problem_type)
    labels = draw_labels(model.config, len(X))
    assert labels.shape == (2, 5)
    found = record(model, X, noise=False, gradients=True, labels=labels)
    assert found["loss"] == pytest.approx(float(model(X, labels=labels).loss))
    with pytest.raises(GoldenError, match=r"expected labels for \w+ of shape \(N, 5\), got \(3,\)"):
        record(model, X, gradients=True, labels=[0.0, 1.0, 1.0])


def test_labels_that_are_refused():
    model = small("convnextv2")
    with pytest.raises(GoldenError, match=r"expected labels for the gradients of a classifier.*--label 3; got none"):
        record(model, X, gradients=True)
    with pytest.raises(GoldenError, match="expected no labels without gradients"):
        record(model, X, labels=[1, 0])
    with pytest.raises(GoldenError, match="expected 2 integer labels, got shape"):
        record(model, X, gradients=True, labels=[1])
    with pytest.raises(GoldenError, match="expected labels from 0 to 4 or -100"):
        record(model, X, gradients=True, labels=[1, 5])
    backbone = small_of("convnextv2", BACKBONES, engine="explicit")
    with pytest.raises(GoldenError, match="expected no labels for a model without classes"):
        record(backbone, X, gradients=True, labels=[1, 0])


def test_a_trace_of_a_call_has_gradients_of_its_labels():
    model, x = in_float64(small("convnextv2")), pixels("convnextv2")
    with trace(gradients=True) as found:
        model(x.astype(np.float64), labels=LABELS)
    for name, array in golden().items():
        if name != "pixel_values":
            np.testing.assert_array_equal(found[name], array, strict=True)
    with trace() as forwards_only:
        model(x.astype(np.float64), labels=LABELS)
    assert not any(map(is_gradient, forwards_only))


def test_patterns_choose_gradients_too(tmp_path):
    found = record(small("convnextv2"), X, gradients=True, labels=LABELS, only="*.layers.0.pwconv2.*.grad")
    assert {name.rpartition("pwconv2.")[2] for name in list(found)[2:]} == {"loss.grad", "weight.grad", "bias.grad"}
    assert set(found.about["noise"]) == set(found) - {"pixel_values"}
    assert all(".layers.0.pwconv2." in name for name in found.params)
    found.save(tmp_path / "only.safetensors")
    assert list(load_trace(tmp_path / "only.safetensors")) == list(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_records_its_masks_and_can_be_run_again(family):
    names = ("drop_path_rate", "drop_rate", "attention_drop_rate") if family == "cvt" else ("drop_path_rate",)
    model = in_float64(small(family), **dict.fromkeys(names, [0.5, 0.5] if family == "cvt" else 0.5))
    found = record(model, X, gradients=True, labels=LABELS, training=True, rng=4)
    expected = npconv.value_and_grad(model)(X.astype(np.float64), labels=LABELS, training=True, rng=4)
    assert found["loss"] == expected.loss
    masks = [name for name in found if name not in found.plan and name.endswith("mask")]
    assert masks
    assert all(found.about["noise"][name] == {"given": 0.0} for name in masks)
    for name, array in expected.statistics.items():
        np.testing.assert_array_equal(found[name], array)
    params = {name: np.asarray(array, np.float64) for name, array in found.params.items()}
    given = {name: np.asarray(array) for name, array in found.items() if name not in found.plan}
    made = {
        step.name: array
        for step, array in run_plan(found.plan, {**given, "pixel_values": X.astype(np.float64)}, params)
    }
    assert made["pixel_values.grad"].tobytes() == found["pixel_values.grad"].tobytes()
    others = [record(model, X, training=True, rng=seed, noise=False) for seed in range(5, 8)]
    assert any(not np.array_equal(other[name], found[name]) for other in others for name in masks)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_list_of_names_has_those_of_a_trace(family, training):
    model, x = small(family), pixels(family)
    found = record(model, x[:1], noise=False, gradients=True, labels=[1], training=training)
    listed = list_tensors(model, gradients=True, training=training, size=x.shape[2:])
    assert [one.name for one in listed] == [name for name in found if name not in ("labels", "loss.grad")]
    assert {one.name: one.shape for one in listed} == {one.name: found[one.name].shape for one in listed}
    aliases = {alias: one.name for one in listed for alias in one.aliases}
    assert {alias: name for alias, name in found.about["aliases"].items() if name in found} == aliases
