"""The linear head of a network that stays as it is: fitted to features that are worked out once.

For features x, standardized to z, the head is ``z @ weight.T + bias``, and the fit makes

    objective = loss(head(z), targets) + strength / 2 * sum(weight ** 2)

smallest. The loss is the one that the problem has in training (:data:`npconv.api.loss.LOSSES`): cross-entropy, which
makes this the multinomial logistic regression; its counterpart for several labels a photo; or the squared error. All of
them are convex, so there is one smallest value, and L-BFGS (Liu and Nocedal, 1989) finds it. How strongly weights are
held back is chosen by cross-validation: the `strength` whose heads have the smallest loss on photos that they were not
fitted to.

In the end the standardization goes into weight and bias, so the head takes the features as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from npconv.api.loss import LOSSES
from npconv.errors import InputError

#: Parts of the photos in cross-validation: each is left out once.
FOLDS = 5

#: Strengths that are tried, the strongest first, until the loss rises; half a decade apart.
STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(0, -17, -1))

#: How small the largest slope of the objective must become: of a head that is compared, and of the one that is kept.
COMPARED, KEPT = 2e-4, 1e-6

#: Steps of L-BFGS at most; a few hundred are usual for the weakest strengths.
MOST_STEPS = 2000

#: Features that vary less than this, in multiples of their size, are rounding and nothing else.
CONSTANT = 1e-6


class Tried(NamedTuple):
    """A strength, and the mean loss on the photos that were left out."""

    strength: float
    loss: float


@dataclass(frozen=True)
class Head:
    """A linear layer from features to logits, or to the numbers of a regression.

    Attributes
    ----------
    weight : array (K, C), float64
    bias : array (K,), float64
    strength : float
        That was chosen.
    loss : float
        The smallest that cross-validation found.
    tried : tuple of Tried
        All strengths that were tried.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float
    loss: float
    tried: tuple[Tried, ...]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the logits (N, K) of features (N, C)."""
        return features @ self.weight.T + self.bias


class Scaling(NamedTuple):
    """Mean and standard deviation of each column of a table."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray) -> Scaling:
        """Measure a table (N, C); what does not vary keeps its size."""
        mean, scale = table.mean(axis=0), table.std(axis=0)
        return cls(mean, np.where(scale > CONSTANT * np.abs(mean), scale, np.inf))

    def apply(self, table: np.ndarray) -> np.ndarray:
        """Return the table with mean 0 and standard deviation 1 in each column; 0 where it does not vary."""
        return (table - self.mean) / self.scale

    def directions(self, table: np.ndarray) -> np.ndarray:
        """Return the scaled rows at length 1, in float32; a row that is the mean stays 0."""
        scaled = self.apply(table).astype(np.float32)
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        return scaled / np.where(length > 0, length, 1)

    def fold(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the linear layer that does for a table what this one, (K, C) and (K,), does for the scaled table."""
        folded = weight / self.scale
        return folded, bias - folded @ self.mean


class Objective(NamedTuple):
    """Features that are standardized, (N, C), what is to come out for each, and by which loss that is judged."""

    z: np.ndarray
    targets: np.ndarray
    outputs: int  #: K
    problem_type: str

    def part(self, chosen: np.ndarray) -> Objective:
        """Return the problem of some of the photos, in float32: for what is only compared, in half the time."""
        return self._replace(z=self.z[chosen].astype(np.float32), targets=self.targets[chosen])

    def loss(self, parameters: np.ndarray) -> float:
        """Return the mean loss of a head, without what holds its weights back."""
        kind = LOSSES[self.problem_type]
        return float(kind.forward(self.outcome(parameters), self.targets, **kind.options))

    def outcome(self, parameters: np.ndarray) -> np.ndarray:
        """Return what a head gives for the features: (N, K)."""
        weight, bias = self.layer(parameters)
        return self.z @ weight + bias

    def layer(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (C, K) and bias (K,): the rows of the table that L-BFGS changes as one vector."""
        table = parameters.reshape(-1, self.outputs).astype(self.z.dtype, copy=False)
        return table[:-1], table[-1]

    def value_and_gradient(self, parameters: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
        """Return the objective at the top of this module, and its gradient."""
        kind = LOSSES[self.problem_type]
        weight, _ = self.layer(parameters)
        outcome = self.outcome(parameters)
        loss = kind.forward(outcome, self.targets, **kind.options) + strength / 2 * np.vdot(weight, weight)
        grad_outcome = kind.backward(np.ones((), outcome.dtype), outcome, self.targets, **kind.options)
        grad_weight = self.z.T @ grad_outcome + strength * weight
        return float(loss), np.concatenate([grad_weight.ravel(), grad_outcome.sum(axis=0)], dtype=np.float64)

    def first(self) -> np.ndarray:
        """Return the parameters from which the fit starts: zeros."""
        return np.zeros((self.z.shape[1] + 1) * self.outputs)


def fit_head(
    features: np.ndarray, targets: np.ndarray, outputs: int, problem_type: str, *, seed: int = 0, folds: int = FOLDS
) -> Head:
    """Fit a head, its strength chosen by cross-validation.

    Parameters
    ----------
    features : array (N, C)
        Floating-point.
    targets : array
        (N,) whole numbers from 0 to K - 1 of a ``"single_label_classification"``; (N, K) from 0 to 1 of a
        ``"multi_label_classification"``; (N,) or (N, K) of a ``"regression"``.
    outputs : int
        K.
    problem_type : str
    seed : int
        Of the parts of cross-validation; with it, the result is the same each time.
    folds : int
        Parts of cross-validation, as far as there are photos for them.

    Returns
    -------
    Head

    Raises
    ------
    InputError
        If there are fewer than two photos, or numbers that are not finite.
    """
    if len(features) < 2:
        raise InputError(f"expected at least 2 photos to fit a head to, got {len(features)}")
    scaling = Scaling.of(np.asarray(features, np.float64))
    z = scaling.apply(features)
    if not np.isfinite(z).all():
        raise InputError("expected finite features, got NaN or infinity; are these the weights of this model?")
    is_regression = problem_type == "regression"
    if is_regression:
        targets = np.asarray(targets, np.float64).reshape(len(features), outputs)
        targets_scaling = Scaling.of(targets)
        targets = targets_scaling.apply(targets)
    objective = Objective(z, targets, outputs, problem_type)
    left_out = _folds(objective, folds, seed)
    tried, fitted = zip(*_compare(objective, left_out), strict=True)
    strength = _strength(tried) * (1 - 1 / len(left_out))  # in the same proportion to more photos
    start = fitted[_best(tried)]
    weight, bias = objective.layer(minimize(objective, strength, start, KEPT))
    weight, bias = scaling.fold(weight.T, bias)
    if is_regression:
        size = np.where(np.isfinite(targets_scaling.scale), targets_scaling.scale, 0)
        weight, bias = weight * size[:, None], bias * size + targets_scaling.mean
    return Head(weight, bias, strength, tried[_best(tried)].loss, tried)


def minimize(objective: Objective, strength: float, start: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the parameters for which the objective is smallest, by L-BFGS.

    `tolerance` is how small the largest slope must become.
    """
    from scipy.optimize import minimize as scipy_minimize  # only here, as it takes a while to load

    options = {"maxcor": 20, "maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "gtol": tolerance, "ftol": 0}
    found = scipy_minimize(objective.value_and_gradient, start, (strength,), "L-BFGS-B", jac=True, options=options)
    return np.asarray(found.x)


def _compare(objective: Objective, left_out: list[np.ndarray]) -> Iterator[tuple[Tried, np.ndarray]]:
    """Yield strengths from the strongest on, each with its loss, until that rises; and the mean of what was fitted.

    Each fit starts from the result of the last one, which is near.
    """
    starts = [objective.first() for _ in left_out]
    smallest = np.inf
    for strength in STRENGTHS:
        loss = 0.0
        for place, out in enumerate(left_out):
            starts[place] = minimize(objective.part(~out), strength, starts[place], COMPARED)
            loss += objective.part(out).loss(starts[place]) * np.count_nonzero(out) / len(objective.z)
        yield Tried(strength, loss), np.mean(starts, axis=0)
        if loss > smallest:
            return
        smallest = loss


def _best(tried: Sequence[Tried]) -> int:
    """Return the place of the smallest loss."""
    return min(range(len(tried)), key=lambda place: tried[place].loss)


def _strength(tried: Sequence[Tried]) -> float:
    """Return the strength at the lowest point of the parabola through the smallest loss and those beside it."""
    place = _best(tried)
    if not 0 < place < len(tried) - 1:
        return tried[place].strength
    before, least, after = (each.loss for each in tried[place - 1 : place + 2])
    steps = (before - after) / (2 * (before - 2 * least + after))
    return tried[place].strength * (tried[place + 1].strength / tried[place].strength) ** steps


def _folds(objective: Objective, folds: int, seed: int) -> list[np.ndarray]:
    """Return masks (N,) of the photos that are left out in turn: of each class about as many in each."""
    count = len(objective.z)
    order = np.random.default_rng(seed).permutation(count)
    if objective.problem_type == "single_label_classification":
        order = order[np.argsort(objective.targets[order], kind="stable")]
    folds = min(folds, count)
    fold_of = np.empty(count, np.int64)
    fold_of[order] = np.arange(count) % folds
    return [fold_of == fold for fold in range(folds)]
