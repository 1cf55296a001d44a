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
from typing import NamedTuple

import numpy as np

from npconv.api.loss import LOSSES
from npconv.errors import InputError
from npconv.training.photo_tables import REGRESSION, SINGLE

#: Parts of the photos in cross-validation: each is left out once.
FOLDS = 5

#: Strengths that are tried, the strongest first, until the loss rises; half a decade apart.
STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-1, -17, -1))

#: How small the largest slope of the objective must become, of a head that is compared and of the one that is kept:
#: divided by K, as a class has that share of the photos, or by `FEW_CLASSES`.
COMPARED, KEPT = 2e-3, 1e-4
FEW_CLASSES = 10

#: More photos than that, or than so many of each class, tell no better how strong is best.
MOST_COMPARED, MOST_OF_A_CLASS = 3000, 3

#: Of more classes, two of the parts are left out in turn: each takes long, and has many photos.
MANY_CLASSES = 100

#: Steps of L-BFGS at most; a few hundred are usual for the weakest strengths.
MOST_STEPS = 2000

#: Features that vary less than this, in multiples of their size, are rounding and nothing else.
CONSTANT = 1e-6


class Tried(NamedTuple):
    """A strength, and the mean loss on the photos that were left out."""

    strength: float
    loss: float


class Comparison(NamedTuple):
    """What cross-validation found: the strength to fit with, the smallest loss, and all strengths that were tried."""

    strength: float
    loss: float
    tried: tuple[Tried, ...]


class Head(NamedTuple):
    """A linear layer from features to logits, or to the numbers of a regression; both arrays are float64."""

    weight: np.ndarray  #: (K, C)
    bias: np.ndarray  #: (K,)

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


def compare_strengths(
    features: np.ndarray, targets: np.ndarray, outputs: int, problem_type: str, *, seed: int = 0, folds: int = FOLDS
) -> Comparison:
    """Return how strongly the weights of a head are to be held back, by cross-validation.

    Of many photos, `MOST_COMPARED` are drawn for it, and the strength is that in proportion to all of them.

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
        Of what is drawn; with it, the result is the same each time.
    folds : int
        Parts of cross-validation, as far as there are photos for them.

    Raises
    ------
    InputError
        If there are fewer than two photos, or numbers that are not finite.
    """
    objective, _, _ = _standardized(features, targets, outputs, problem_type)
    order = _mixed(objective, seed)
    drawn = order[:: -(-len(order) // max(MOST_COMPARED, MOST_OF_A_CLASS * outputs))]
    left_out = [drawn[fold :: min(folds, len(drawn))] for fold in range(min(folds, len(drawn)))]
    tried = tuple(_compare(objective, left_out, 2 if outputs > MANY_CLASSES else folds))
    fitted = len(drawn) - len(drawn) / len(left_out)  # photos that a head was fitted to
    return Comparison(_strength(tried) * fitted / len(order), min(each.loss for each in tried), tried)


def fit_head(features: np.ndarray, targets: np.ndarray, outputs: int, problem_type: str, *, strength: float) -> Head:
    """Fit a head; the arguments are those of :func:`compare_strengths`, which finds the strength."""
    objective, scaling, targets_scaling = _standardized(features, targets, outputs, problem_type)
    weight, bias = objective.layer(minimize(objective, strength, objective.first(), KEPT))
    weight, bias = scaling.fold(weight.T, bias)
    if targets_scaling is not None:
        size = np.where(np.isfinite(targets_scaling.scale), targets_scaling.scale, 0)
        weight, bias = weight * size[:, None], bias * size + targets_scaling.mean
    return Head(weight, bias)


def _standardized(
    features: np.ndarray, targets: np.ndarray, outputs: int, problem_type: str
) -> tuple[Objective, Scaling, Scaling | None]:
    """Return what is to be made smallest, and what was done to the features, and to the targets of a regression."""
    if len(features) < 2:
        raise InputError(f"expected at least 2 photos to fit a head to, got {len(features)}")
    scaling = Scaling.of(np.asarray(features, np.float64))
    z = scaling.apply(features)
    if not np.isfinite(z).all():
        raise InputError("expected finite features, got NaN or infinity; are these the weights of this model?")
    if problem_type != REGRESSION:
        return Objective(z, targets, outputs, problem_type), scaling, None
    numbers = np.asarray(targets, np.float64).reshape(len(features), outputs)
    targets_scaling = Scaling.of(numbers)
    return Objective(z, targets_scaling.apply(numbers), outputs, problem_type), scaling, targets_scaling


def minimize(objective: Objective, strength: float, start: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the parameters for which the objective is smallest, by L-BFGS.

    `tolerance` is how small the largest slope must become, as `COMPARED` and `KEPT` say.
    """
    from scipy.optimize import minimize as scipy_minimize  # only here, as it takes a while to load

    tolerance /= max(objective.outputs, FEW_CLASSES)
    options = {"maxcor": 20, "maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "gtol": tolerance, "ftol": 0}
    found = scipy_minimize(objective.value_and_gradient, start, (strength,), "L-BFGS-B", jac=True, options=options)
    return np.asarray(found.x)


def _compare(objective: Objective, left_out: list[np.ndarray], turns: int) -> Iterator[Tried]:
    """Yield strengths from the strongest on, each with its loss, until that rises.

    The photos of each part are given, and how many of the parts are left out in turn. Each fit starts from the result
    of the last one, which is near.
    """
    tested = left_out[:turns]
    starts = [objective.first() for _ in tested]
    count = sum(map(len, tested))
    smallest = np.inf
    for strength in STRENGTHS:
        loss = 0.0
        for place, out in enumerate(tested):
            others = np.concatenate(left_out[:place] + left_out[place + 1 :])
            starts[place] = minimize(objective.part(others), strength, starts[place], COMPARED)
            loss += objective.part(out).loss(starts[place]) * len(out) / count
        yield Tried(strength, loss)
        if loss > smallest:
            return
        smallest = loss


def _strength(tried: Sequence[Tried]) -> float:
    """Return the strength at the lowest point of the parabola through the smallest loss and those beside it."""
    place = min(range(len(tried)), key=lambda each: tried[each].loss)
    if not 0 < place < len(tried) - 1:
        return tried[place].strength
    before, least, after = (each.loss for each in tried[place - 1 : place + 2])
    steps = (before - after) / (2 * (before - 2 * least + after))
    return tried[place].strength * (tried[place + 1].strength / tried[place].strength) ** steps


def _mixed(objective: Objective, seed: int) -> np.ndarray:
    """Return the places of the photos (N,) at random, one class after the other: every n-th has its share of each."""
    order = np.random.default_rng(seed).permutation(len(objective.z))
    if objective.problem_type == SINGLE:
        order = order[np.argsort(objective.targets[order], kind="stable")]
    return order
