"""The linear head: its objective, its optimum, how strongly its weights are held back."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from npconv.api.loss import LOSSES
from npconv.errors import InputError
from npconv.training import head as module
from npconv.training.head import (
    KEPT,
    STRENGTHS,
    Objective,
    Scaling,
    Tried,
    class_loss,
    compare_strengths,
    fit_head,
    minimize,
)
from npconv.training.measures import answers_of
from npconv.training.photo_tables import MULTI, REGRESSION, SINGLE

#: Outputs of the problems of `make_targets`.
OUTPUTS = {SINGLE: 4, MULTI: 3, REGRESSION: 2}


def test_the_strengths_go_down_by_half_decades_from_a_third_to_a_hundred_millionth():
    np.testing.assert_allclose(STRENGTHS, [10**-0.5, *(0.1 * 10.0 ** (-step / 2) for step in range(15))])
    assert STRENGTHS[-1] == pytest.approx(1e-8)


def make_features(count: int = 60, channels: int = 5, seed: int = 0) -> np.ndarray:
    """Features of sizes and places as different as those of a network."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, channels)) * 10.0 ** rng.integers(-2, 3, channels) + 3).astype(np.float32)


def make_targets(features: np.ndarray, problem_type: str, seed: int = 1) -> np.ndarray:
    """Targets that the features half determine."""
    rng = np.random.default_rng(seed)
    z = Scaling.of(features.astype(np.float64)).apply(features)
    scores = z @ rng.normal(size=(z.shape[1], OUTPUTS[problem_type])) + rng.normal(size=(len(z), OUTPUTS[problem_type]))
    if problem_type == SINGLE:
        return scores.argmax(axis=1)
    return (scores > 0).astype(np.float32) if problem_type == MULTI else scores.astype(np.float32)


def make_objective(problem_type: str) -> Objective:
    features = make_features()
    z = Scaling.of(features.astype(np.float64)).apply(features)
    targets = make_targets(features, problem_type)
    return Objective(z, targets, OUTPUTS[problem_type], problem_type)


@pytest.mark.parametrize("problem_type", OUTPUTS)
def test_the_gradient_is_that_of_differences(problem_type):
    objective = make_objective(problem_type)
    parameters = np.random.default_rng(2).normal(size=objective.first().shape)
    _, gradient = objective.value_and_gradient(parameters, 0.3)
    step = 1e-6
    for place, expected in enumerate(gradient):
        shift = np.zeros_like(parameters)
        shift[place] = step
        after, before = (objective.value_and_gradient(parameters + sign * shift, 0.3)[0] for sign in (1, -1))
        # the error of a central difference: step ** 2 by the third derivative, and 1e-16 / step of rounding
        assert (after - before) / (2 * step) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_of_classes_is_the_cross_entropy(dtype, seed):
    rng = np.random.default_rng(seed)
    classes, photos = rng.integers(2, 9), rng.integers(1, 20)
    logits = (rng.normal(size=(classes, photos)) * 10.0 ** rng.integers(-1, 3)).astype(dtype)
    targets = rng.integers(0, classes, photos)
    kind = LOSSES[SINGLE]
    expected = kind.forward(logits.T, targets, **kind.options)
    gradient = kind.backward(np.ones((), dtype), logits.T, targets, **kind.options).T
    loss, found = class_loss(logits, targets)
    # exponentials and sums of up to 9 numbers, by another way
    tolerance = 20 * float(np.finfo(dtype).eps)
    assert loss == pytest.approx(float(expected), rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(found, gradient, rtol=0, atol=tolerance)
    assert found.dtype == dtype


def test_a_head_of_float32_is_that_of_float64():
    features = make_features(400)
    targets = make_targets(features, SINGLE)
    one, another = (fit_head(each, targets, 4, SINGLE, strength=1e-2) for each in (features, features.astype("f8")))
    scale = features.std(axis=0)
    # Each is within a slope of KEPT / FEW_CLASSES of its optimum, and so within that / strength of it; the slopes of
    # float32 are sums of 400 numbers of at most 1/400, so rounding adds 1e-7.
    np.testing.assert_allclose(one.weight * scale, another.weight * scale, atol=2 * KEPT / 10 / 1e-2)


def test_logits_have_the_temperature_that_makes_their_loss_smallest():
    rng = np.random.default_rng(5)
    targets = rng.integers(0, 4, 500)
    outcome = rng.normal(size=(4, 500))
    outcome[targets, np.arange(500)] += 1
    objective = Objective(np.zeros((500, 1)), targets, 4, SINGLE)
    loss, temperature = module._judged(objective, 5 * outcome, targets)
    losses = {factor: class_loss(5 * outcome * factor, targets)[0] for factor in np.linspace(0.05, 1, 96)}
    assert 1 / temperature == pytest.approx(min(losses, key=losses.get), abs=0.01)
    assert loss <= min(losses.values())
    assert temperature > 4
    assert module._judged(objective, 0.2 * outcome, targets)[1] == 1  # never surer than it was fitted


def test_a_temperature_lies_between_those_of_the_strengths_beside():
    tried = [Tried(1.0, 0.3, 1.0), Tried(0.1, 0.2, 2.0), Tried(0.01, 0.4, 8.0)]
    assert module._temperature(tried, 0.1) == pytest.approx(2)
    assert module._temperature(tried, 10**-1.5) == pytest.approx(4)  # in logarithms, the middle
    assert module._temperature(tried, 10.0) == 1


def test_where_features_say_little_they_are_still_learned_from():
    """A weak direction among many that say nothing: a strength alone that keeps the head modest would lose it."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(300, 60)).astype(np.float32)
    targets = (features[:, 0] + rng.normal(0, 1.5, 300) > 0).astype(int)
    found = compare_strengths(features, targets, 2, SINGLE)
    head = fit_head(features, targets, 2, SINGLE, strength=found.strength, temperature=found.temperature)
    as_it_is = fit_head(features, targets, 2, SINGLE, strength=found.strength)
    assert found.temperature > 1
    np.testing.assert_allclose(head.weight * found.temperature, as_it_is.weight)
    assert found.loss < np.log(2)


@pytest.mark.parametrize("problem_type", OUTPUTS)
def test_the_optimum_is_that_of_another_method(problem_type):
    objective, strength = make_objective(problem_type), 1e-2
    found = minimize(objective, strength, objective.first(), KEPT)
    other = scipy_minimize(objective.value_and_gradient, objective.first(), (strength,), "BFGS", jac=True, tol=1e-10)
    # The objective curves by the strength at least, in every direction but that of a bias that all classes share: so a
    # slope of KEPT is at most KEPT / strength away.
    for one, another in zip(objective.layer(found), objective.layer(other.x), strict=True):
        np.testing.assert_allclose(one, another, atol=1e-4)


def test_a_regression_is_the_ridge_of_the_textbook():
    objective, strength = make_objective(REGRESSION), 0.05
    weight, bias = objective.layer(minimize(objective, strength, objective.first(), 1e-9))
    z, targets = objective.features, objective.targets.astype(np.float64)
    # Of the mean over all N K numbers, so the strength counts N K / 2 times.
    penalty = strength * targets.size / 2 * np.eye(z.shape[1])
    expected = np.linalg.solve(z.T @ z + penalty, z.T @ (targets - targets.mean(axis=0)))
    np.testing.assert_allclose(weight.T, expected, atol=1e-7)
    np.testing.assert_allclose(bias, targets.mean(axis=0), atol=1e-7)


def test_scaling_goes_into_weight_and_bias():
    rng = np.random.default_rng(3)
    table = make_features().astype(np.float64)
    table[:, 2] = 7
    scaling, weight, bias = Scaling.of(table), rng.normal(size=(4, 5)), rng.normal(size=4)
    folded_weight, folded_bias = scaling.fold(weight, bias)
    expected = scaling.apply(table) @ weight.T + bias
    # float64, and numbers of some hundreds
    np.testing.assert_allclose(table @ folded_weight.T + folded_bias, expected, rtol=0, atol=1e-12)
    assert (folded_weight[:, 2] == 0).all()


@pytest.mark.parametrize("problem_type", OUTPUTS)
def test_a_head_takes_features_as_they_are(problem_type):
    features = make_features().astype(np.float64)
    targets = make_targets(features, problem_type)
    head = fit_head(features, targets, OUTPUTS[problem_type], problem_type, strength=1e-2)
    scaling = Scaling.of(features)
    numbers = targets.astype(np.float64)
    own = Scaling.of(numbers.reshape(len(features), -1))
    wanted = own.apply(numbers) if problem_type == REGRESSION else targets
    objective = Objective(scaling.apply(features), wanted, OUTPUTS[problem_type], problem_type)
    weight, bias = objective.layer(minimize(objective, 1e-2, objective.first(), KEPT))
    outcome = objective.features @ weight.T + bias
    if problem_type == REGRESSION:
        outcome = outcome * own.scale + own.mean
    np.testing.assert_allclose(head(features), outcome, atol=1e-9)


def test_a_head_separates_what_can_be_separated():
    features = np.repeat(np.eye(3), 20, axis=0) + np.random.default_rng(0).normal(0, 0.05, (60, 3))
    head = fit_head(features, np.repeat([2, 0, 1], 20), 3, SINGLE, strength=1e-3)
    assert (head(features).argmax(axis=1) == np.repeat([2, 0, 1], 20)).all()


def test_a_number_of_any_size_is_predicted():
    features = make_features()
    z = Scaling.of(features.astype(np.float64)).apply(features)
    targets = 1e6 + 1e4 * z[:, 0]
    head = fit_head(features, targets, 1, REGRESSION, strength=1e-8)
    # the strength, and a slope of KEPT, of a variance of 1
    np.testing.assert_allclose(head(features.astype(np.float64))[:, 0], targets, atol=10)


def test_targets_that_are_all_the_same_are_predicted():
    head = fit_head(make_features(), np.full(60, 5.0), 1, REGRESSION, strength=1e-2)
    assert (head(make_features(seed=4).astype(np.float64)) == 5).all()


def test_a_seed_decides_everything():
    features = make_features()
    targets = make_targets(features, SINGLE)
    one, again, other = (compare_strengths(features, targets, 4, SINGLE, seed=seed) for seed in (7, 7, 8))
    assert one == again
    assert one.tried != other.tried


def test_every_n_th_photo_has_its_share_of_each_class():
    targets = np.random.default_rng(1).permutation([0] * 10 + [1] * 50 + [2] * 5)
    order = module._mixed(targets, SINGLE, seed=0)
    assert sorted(order) == list(range(65))
    for start in range(5):
        assert np.bincount(targets[order[start::5]], minlength=3).tolist() == [2, 10, 1]


def test_two_photos_are_enough():
    features, targets = np.array([[0.0, 1], [1, 0]]), np.array([0, 1])
    strength = compare_strengths(features, targets, 2, SINGLE).strength
    assert fit_head(features, targets, 2, SINGLE, strength=strength)(features).argmax(axis=1).tolist() == [0, 1]


def test_the_strengths_end_where_the_loss_rises():
    features = make_features()
    found = compare_strengths(features, make_targets(features, SINGLE), 4, SINGLE)
    losses = [each.loss for each in found.tried]
    assert [each.strength for each in found.tried] == list(STRENGTHS[: len(losses)])
    assert losses[:-1] == sorted(losses[:-1], reverse=True)
    assert losses[-1] > losses[-2]
    assert found.loss == losses[-2]


def test_of_many_photos_some_are_compared_and_the_strength_is_that_for_all(monkeypatch):
    features = np.tile(make_features(), (4, 1))
    targets = np.tile(make_targets(make_features(), SINGLE), 4)
    parts: list[int] = []
    part = Objective.part
    monkeypatch.setattr(Objective, "part", lambda self, chosen: parts.append(len(chosen)) or part(self, chosen))
    monkeypatch.setattr(module, "MOST_COMPARED", 100)
    found = compare_strengths(features, targets, 4, SINGLE)
    assert set(parts) == {64, 16}  # every third of 240, in five parts
    assert found.strength == pytest.approx(module._strength(found.tried) * 64 / 240)


def test_features_that_say_nothing_get_next_to_no_weight():
    rng = np.random.default_rng(0)
    found = compare_strengths(rng.normal(size=(200, 50)), rng.integers(0, 2, 200), 2, SINGLE)
    # of half a chance each; without anything that holds them back, 50 weights fit noise
    assert found.strength > 0.1
    assert found.loss == pytest.approx(np.log(2), rel=0.05)


def test_the_strength_is_at_the_lowest_point_of_the_parabola():
    exponents = np.array([-1.0, -1.5, -2.0, -2.5])
    tried = [Tried(10.0**exponent, 0.2 + (exponent + 1.7) ** 2) for exponent in exponents]
    assert np.log10(module._strength(tried)) == pytest.approx(-1.7)
    assert module._strength(tried[:1]) == 0.1  # one that has no neighbours stays as it is


def test_numbers_that_are_none_are_refused():
    features = make_features()
    features[3, 1] = np.nan
    with pytest.raises(InputError, match="expected finite features"):
        compare_strengths(features, make_targets(make_features(), SINGLE), 4, SINGLE)
    with pytest.raises(InputError, match="at least 2 photos"):
        fit_head(features[:1], np.array([0]), 2, SINGLE, strength=1.0)


@pytest.mark.reference
def test_the_optimum_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    objective, strength = make_objective(SINGLE), 1e-2
    weight, bias = objective.layer(minimize(objective, strength, objective.first(), 1e-7))
    # C counts the sum of the losses, where the strength counts their mean
    model = linear_model.LogisticRegression(C=1 / (strength * len(objective.features)), tol=1e-10, max_iter=10_000)
    model.fit(objective.features, objective.targets)
    np.testing.assert_allclose(weight, model.coef_, atol=1e-5)
    np.testing.assert_allclose(bias - bias.mean(), model.intercept_ - model.intercept_.mean(), atol=1e-5)


@pytest.mark.reference
def test_it_is_as_good_as_the_choice_of_scikit_learn():
    """Within half a point of accuracy and 2 % of the log loss, on digits as they are, the mean of three splits."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    linear_model = pytest.importorskip("sklearn.linear_model")
    found = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(digits.target))
        train, test = order[:1000], order[1000:]
        scaling = Scaling.of(digits.data[train])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of its next version
            model = linear_model.LogisticRegressionCV(max_iter=1000)
            model.fit(scaling.apply(digits.data[train]), digits.target[train])
        own = (digits.data[train], digits.target[train], 10, SINGLE)
        chosen = compare_strengths(*own)
        head = fit_head(*own, strength=chosen.strength, temperature=chosen.temperature)
        theirs = model.predict_log_proba(scaling.apply(digits.data[test]))
        for scores in (head(digits.data[test]), theirs):
            answers = answers_of(scores, digits.target[test])
            found.append((answers.is_right.mean(), answers.loss.mean()))
    ours, theirs = np.reshape(found, (3, 2, 2)).mean(axis=0)
    assert ours[0] >= theirs[0] - 0.005
    assert ours[1] <= theirs[1] * 1.02
