"""The optimizer, the learning rate, the average, and which parameters are trained how."""

import numpy as np
import pytest
from support.small_training import FIELDS, small_model

from npconv.errors import InputError
from npconv.models.parameters import flatten
from npconv.training.average import average_decay, update_average
from npconv.training.groups import parameter_groups, train_only
from npconv.training.optimizer import BETAS, EPS, LONGEST, AdamW, clipped
from npconv.training.recipe import Recipe
from npconv.training.schedule import LOWEST_RATE, learning_rate
from npconv.training.weights import Part, Weights


def test_adamw_is_its_formula():
    rng = np.random.default_rng(0)
    vector = rng.normal(size=5)
    expected, parts = vector.copy(), [Part(slice(0, 2), 1, True), Part(slice(2, 5), 0, False)]
    optimizer = AdamW(vector, parts, weight_decay=0.1, layer_decay=0.5)
    rates, decays = np.array([0.5, 0.5, 1, 1, 1]), np.array([0.1, 0.1, 0, 0, 0])
    gradients = rng.normal(size=(4, 5))
    for count, gradient in enumerate(gradients, 1):
        optimizer.step(vector, gradient, 0.01)
        weights = [np.array([(1 - beta) * beta ** (count - k) for k in range(1, count + 1)]) for beta in BETAS]
        mean, square = (w @ gradients[:count] ** power / w.sum() for w, power in zip(weights, (1, 2), strict=True))
        expected = expected * (1 - 0.01 * rates * decays) - 0.01 * rates * mean / (np.sqrt(square) + EPS)
        np.testing.assert_allclose(vector, expected, rtol=1e-13)  # some roundings of float64


def test_a_long_gradient_is_cut_and_a_short_one_stays():
    direction = np.array([3.0, -4.0])
    np.testing.assert_allclose(clipped(20 * direction), direction / 5 * LONGEST, rtol=1e-6)  # 1e-6 is added to 100
    np.testing.assert_array_equal(clipped(direction / 6), direction / 6)
    np.testing.assert_array_equal(clipped(np.zeros(2)), np.zeros(2))


def test_learning_rate_rises_then_falls():
    rates = [learning_rate(step / 200, 0.2, 0.5) for step in range(200)]
    assert rates[0] == pytest.approx(0.5 * LOWEST_RATE)
    assert rates[40] == max(rates)
    assert 0.4 < rates[40] < 0.5
    assert np.all(np.diff(rates[:41]) > 0)
    assert np.all(np.diff(rates[40:]) < 0)
    assert rates[-1] == pytest.approx(0.5 * LOWEST_RATE, rel=0.02)
    assert learning_rate(0.0, 0.0, 0.5) == 0.5


def test_the_average_forgets_the_start_and_reaches_as_far_back_as_asked():
    average = np.array([1000.0])
    for step in range(2000):
        update_average(average, np.array([float(step)]), step, average_decay(50))
    assert average[0] == pytest.approx(1999 - 50, abs=1e-6)  # the mean age of exponential weights; 0.98**2000 is gone
    update_average(average, np.array([7.0]), 2000, average_decay(0))
    assert average[0] == 7


@pytest.mark.parametrize("family", FIELDS)
def test_only_kernels_and_matrices_decay(family):
    model = small_model(family)
    decaying = {name for group in parameter_groups(model) if group.decays for name in group.names}
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    assert {name for name, shape in shapes.items() if max(shape) < np.prod(shape)} == decaying
    assert all(name.endswith(".weight") for name in decaying)


def test_a_matrix_of_a_single_row_decays_too():
    decaying = {name for group in parameter_groups(small_model(num_labels=1)) if group.decays for name in group.names}
    assert "classifier.weight" in decaying


@pytest.mark.parametrize("family", FIELDS)
def test_every_parameter_is_in_one_group_and_blocks_count_from_the_head(family):
    model = small_model(family)
    groups = parameter_groups(model)
    names = [name for group in groups for name in group.names]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    depth = {name: group.depth for group in groups for name in group.names}
    assert depth["classifier.weight"] == 0
    last, first = (f"{family}.encoder.stages.{place}." for place in ("1.layers.1", "0.layers.0"))
    assert {depth[name] for name in names if name.startswith(last)} == {1}
    assert {depth[name] for name in names if name.startswith(first)} == {3}
    assert {depth[name] for name in names if "stages" not in name} <= {0, 4}
    before = f"{family}.encoder.stages.1."
    assert {depth[name] for name in names if name.startswith(before) and "layers" not in name} == {2}


@pytest.mark.parametrize("family", FIELDS)
def test_the_last_stages_are_trained_with_the_head(family):
    model = small_model(family)
    train_only(model, 1)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"classifier.weight", "classifier.bias"} <= trained
    expected = {
        name
        for name, _ in model.named_parameters()
        if "stages.1" in name or ("stages" not in name and "embeddings" not in name)
    }
    assert trained == expected
    assert {name for group in parameter_groups(model) for name in group.names} == trained
    train_only(model, None)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("stages", [0, 3])
def test_stages_that_are_not_there_are_refused(stages):
    with pytest.raises(InputError, match=f"from 1 to the 2 stages of the model, got {stages}"):
        train_only(small_model(), stages)


@pytest.mark.parametrize("family", FIELDS)
def test_a_model_computes_with_the_vector_of_its_weights(family):
    model = small_model(family)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    weights = Weights(model, parameter_groups(model))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    statistics = sum(buffer.size for name, buffer in model.named_buffers() if "running" in name)
    assert weights.vector.size == model.num_parameters() + statistics
    assert weights.trained == model.num_parameters()
    assert sum(part.place.stop - part.place.start for part in weights.parts) == weights.trained
    weights.vector[:] = np.arange(weights.vector.size)
    arrays = flatten(model.params)
    floats = [array.ravel() for name, array in arrays.items() if not name.endswith("num_batches_tracked")]
    np.testing.assert_array_equal(np.sort(np.concatenate(floats)), weights.vector)
    gathered = weights.gather(arrays)
    np.testing.assert_array_equal(gathered, weights.vector[: weights.trained])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs to be at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size to be a whole number, got 2.5"),
        ({"rate": float("nan")}, "rate to be at least 0, got nan"),
        ({"rate": float("inf")}, "rate to be at least 0, got inf"),
        ({"label_smoothing": 1.5}, "label_smoothing to be at least 0 and at most 1, got 1.5"),
        ({"seed": "x"}, "seed to be at least 0, got 'x'"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Recipe(**fields)
