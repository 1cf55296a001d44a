"""The linear head of a network that stays as it is: fitted to features that are worked out once.

For features x, standardized to z, the head is ``z @ weight.T + bias``, and the fit makes

    objective = loss(head(z), targets) + strength / 2 * sum(weight ** 2)

smallest. The loss is the one that the problem has in training (:data:`npconv.api.loss.LOSSES`): cross-entropy, which
makes this the multinomial logistic regression; its counterpart for several labels a photo; or the squared error. All of
them are convex, so there is one smallest value, and L-BFGS (Liu and Nocedal, 1989) finds it. How strongly weights are
held back is chosen by cross-validation: the `strength` whose heads have the smallest loss on photos that they were not
fitted to.

There, the logits of a classifier are divided by the temperature of at least 1 that makes this loss smallest (Guo and
others, "On Calibration of Modern Neural Networks", 2017, section 4.2), and so they are in the head. Otherwise only a
large strength keeps a head from being too sure of itself; where features say little, it keeps it from learning too.

In the end standardization and temperature go into weight and bias, so the head takes the features as they are. All is
computed in the dtype of the features, with sums over photos in float64, a block of photos at a time: many need not fit
into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from npconv.api.loss import LOSSES
from npconv.errors import InputError
from npconv.training.photo_tables import REGRESSION, SINGLE
from npconv.training.tables import Table, blocks

Result = TypeVar("Result")

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

#: Logits are never divided by more than 1 / that, and the factor is found by so many halvings, to 0.0002.
LEAST_FACTOR = 0.05
_HALVINGS = 12

#: Steps of L-BFGS at most; a few hundred are usual for the weakest strengths.
MOST_STEPS = 2000

#: Features that vary less than this, in multiples of their size, are rounding and nothing else.
CONSTANT = 1e-6


class Tried(NamedTuple):
    """A strength, and the mean loss on the photos that were left out, with logits divided by a temperature."""

    strength: float
    loss: float
    temperature: float = 1.0


class Comparison(NamedTuple):
    """What cross-validation found: how to fit the head, the smallest loss, and all strengths that were tried."""

    strength: float
    temperature: float
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
    """Mean and standard deviation of each column of a table, in its dtype."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, table: Table) -> Scaling:
        """Measure a table (N, C); what does not vary keeps its size."""
        total = sum(table[part].sum(axis=0, dtype=np.float64) for part in blocks(table))
        mean = (total / len(table)).astype(table.dtype)
        squares = sum(np.square(table[part] - mean).sum(axis=0, dtype=np.float64) for part in blocks(table))
        scale = np.sqrt(squares / len(table)).astype(table.dtype)
        return cls(mean, np.where(scale > CONSTANT * np.abs(mean), scale, np.inf).astype(table.dtype))

    def apply(self, table: np.ndarray) -> np.ndarray:
        """Return the table with mean 0 and standard deviation 1 in each column; 0 where it does not vary."""
        return (table - self.mean) / self.scale

    def directions(self, table: np.ndarray) -> np.ndarray:
        """Return the scaled rows at length 1; a row that is the mean stays 0."""
        scaled = self.apply(table)
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        return scaled / np.where(length > 0, length, 1)

    def fold(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the linear layer that does for a table what this one, (K, C) and (K,), does for the scaled table."""
        folded = weight / self.scale.astype(np.float64)
        return folded, bias - folded @ self.mean


class Objective(NamedTuple):
    """Features (N, C), what is to come out for each, and by which loss that is judged."""

    features: Table
    targets: np.ndarray
    outputs: int  #: K
    problem_type: str
    scaling: Scaling | None = None  #: of features that are not standardized yet

    def part(self, chosen: np.ndarray) -> Objective:
        """Return the problem of some of the photos."""
        return self._replace(features=self.features[chosen], targets=self.targets[chosen])

    def outcome(self, parameters: np.ndarray) -> np.ndarray:
        """Return what a head gives for the features: (K, N)."""
        return np.concatenate([outcome for _, outcome, _ in self._outcomes(parameters)], axis=1)

    def layer(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (K, C) and bias (K,): the columns of the table that L-BFGS changes as one vector."""
        table = parameters.reshape(self.outputs, -1)
        return table[:, :-1], table[:, -1]

    def value_and_gradient(self, parameters: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
        """Return the objective at the top of this module, and its gradient."""
        weight, _ = self.layer(parameters)
        value, gradient = strength / 2 * float(np.vdot(weight, weight)), np.zeros((self.outputs, weight.shape[1] + 1))
        gradient[:, :-1] = strength * weight
        for z, outcome, targets in self._outcomes(parameters):
            share = len(z) / len(self.features)
            loss, grad_outcome = self.judge(outcome, targets)
            value += share * loss
            gradient[:, :-1] += share * (grad_outcome @ z)
            gradient[:, -1] += share * grad_outcome.sum(axis=1)
        return value, gradient.ravel()

    def _outcomes(self, parameters: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield of some photos after the others: standardized features (M, C), what a head gives (K, M), targets."""
        weight, bias = (array.astype(self.features.dtype) for array in self.layer(parameters))
        for part in blocks(self.features):
            z = self.features[part] if self.scaling is None else self.scaling.apply(self.features[part])
            yield z, weight @ z.T + bias[:, None], self.targets[part]

    def judge(self, outcome: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean loss of outcomes (K, M), and its gradient (K, M)."""
        if self.problem_type == SINGLE:
            return class_loss(outcome, targets)
        kind = LOSSES[self.problem_type]
        loss = kind.forward(outcome.T, targets, **kind.options)
        return float(loss), kind.backward(np.ones((), outcome.dtype), outcome.T, targets, **kind.options).T

    def first(self) -> np.ndarray:
        """Return the parameters from which the fit starts: zeros."""
        return np.zeros((self.features.shape[1] + 1) * self.outputs)


def class_loss(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy of logits (K, M), and its gradient (K, M).

    The same as of ``LOSSES``, for logits (M, K). With the classes in the rows, both at once take a third of the time.
    """
    columns = np.arange(logits.shape[1])
    probabilities = logits - logits.max(axis=0)
    own = probabilities[targets, columns].astype(np.float64)
    np.exp(probabilities, out=probabilities)
    total = probabilities.sum(axis=0)
    loss = float((np.log(total) - own).mean())
    probabilities /= total
    probabilities[targets, columns] -= 1
    probabilities /= len(columns)
    return loss, probabilities


def compare_strengths(
    features: Table,
    targets: np.ndarray,
    outputs: int,
    problem_type: str,
    *,
    seed: int = 0,
    folds: int = FOLDS,
    executor: Executor | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Comparison:
    """Return how strongly the weights of a head are to be held back, by cross-validation.

    Of many photos, `MOST_COMPARED` are drawn for it, and the strength is that in proportion to all of them.

    Parameters
    ----------
    features : array or Rows, (N, C)
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
    executor : Executor, optional
        What fits the heads of several parts at the same time; this process does one after another when unset.
    advance : callable
        Called with a number of heads when they are fitted.

    Raises
    ------
    InputError
        If there are fewer than two photos, or numbers that are not finite.
    """
    order = _mixed(targets, problem_type, seed)
    drawn = order[:: -(-len(order) // max(MOST_COMPARED, MOST_OF_A_CLASS * outputs))]
    problem, _ = _standardized(features[drawn], targets[drawn], outputs, problem_type)
    assert problem.scaling is not None
    objective = problem._replace(
        features=problem.scaling.apply(problem.features[:]).astype(np.float32, copy=False), scaling=None
    )
    left_out = [np.arange(len(drawn))[fold::folds] for fold in range(min(folds, len(drawn)))]
    tried = tuple(_compare(objective, left_out, 2 if outputs > MANY_CLASSES else folds, executor, advance))
    fitted = len(drawn) - len(drawn) / len(left_out)  # photos that a head was fitted to
    strength = _strength(tried)
    found = Comparison(
        strength * fitted / len(order), _temperature(tried, strength), min(each.loss for each in tried), tried
    )
    return found


def fit_head(
    features: Table, targets: np.ndarray, outputs: int, problem_type: str, *, strength: float, temperature: float = 1.0
) -> Head:
    """Fit a head; the arguments are those of :func:`compare_strengths`, which finds strength and temperature."""
    objective, targets_scaling = _standardized(features, targets, outputs, problem_type)
    assert objective.scaling is not None
    weight, bias = objective.scaling.fold(*objective.layer(minimize(objective, strength, objective.first(), KEPT)))
    if targets_scaling is not None:
        size = np.where(np.isfinite(targets_scaling.scale), targets_scaling.scale, 0)
        weight, bias = weight * size[:, None], bias * size + targets_scaling.mean
    return Head(weight / temperature, bias / temperature)


def _standardized(
    features: Table, targets: np.ndarray, outputs: int, problem_type: str
) -> tuple[Objective, Scaling | None]:
    """Return what is to be made smallest, and what was done to the targets of a regression."""
    if len(features) < 2:
        raise InputError(f"expected at least 2 photos to fit a head to, got {len(features)}")
    scaling = Scaling.of(features)
    if not np.isfinite(scaling.mean).all():
        raise InputError("expected finite features, got NaN or infinity; are these the weights of this model?")
    if problem_type != REGRESSION:
        return Objective(features, targets, outputs, problem_type, scaling), None
    numbers = np.asarray(targets, np.float64).reshape(len(features), outputs)
    targets_scaling = Scaling.of(numbers)
    return Objective(features, targets_scaling.apply(numbers), outputs, problem_type, scaling), targets_scaling


def minimize(objective: Objective, strength: float, start: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the parameters for which the objective is smallest, by L-BFGS.

    `tolerance` is how small the largest slope must become, as `COMPARED` and `KEPT` say.
    """
    from scipy.optimize import minimize as scipy_minimize  # only here, as it takes a while to load

    tolerance /= max(objective.outputs, FEW_CLASSES)
    options = {"maxcor": 20, "maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "gtol": tolerance, "ftol": 0}
    found = scipy_minimize(objective.value_and_gradient, start, (strength,), "L-BFGS-B", jac=True, options=options)
    return np.asarray(found.x)


def _compare(
    objective: Objective,
    left_out: list[np.ndarray],
    turns: int,
    executor: Executor | None,
    advance: Callable[[int], None],
) -> Iterator[Tried]:
    """Yield strengths from the strongest on, each with its loss, until that rises.

    The photos of each part are given, and how many of the parts are left out in turn. Each fit starts from the result
    of the last one, which is near.
    """
    tested = left_out[:turns]
    starts = [objective.first() for _ in tested]
    targets = objective.targets[np.concatenate(tested)]
    smallest = np.inf
    for strength in STRENGTHS:
        fit = partial(_fit_and_answer, objective, strength=strength)
        calls = [partial(fit, out, start) for out, start in zip(tested, starts, strict=True)]
        starts, outcomes = zip(*side_by_side(calls, executor), strict=True)
        advance(len(calls))
        loss, temperature = _judged(objective, np.concatenate(outcomes, axis=1), targets)
        yield Tried(strength, loss, temperature)
        if loss > smallest:
            return
        smallest = loss


def _fit_and_answer(
    objective: Objective, left_out: np.ndarray, start: np.ndarray, *, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the parameters of a head for all photos but some, (M,), and what it gives for these: (K, M)."""
    others = np.delete(np.arange(len(objective.features)), left_out)
    found = minimize(objective.part(others), strength, start, COMPARED)
    return found, objective.part(left_out).outcome(found)


def _judged(objective: Objective, outcome: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Return the smallest mean loss of outcomes (K, M) over a temperature, and that temperature.

    The loss is convex in the factor that is 1 / temperature, so halving finds where its slope is 0.
    """
    if objective.problem_type != SINGLE:
        return objective.judge(outcome, targets)[0], 1.0
    low, high = LEAST_FACTOR, 1.0
    loss, gradient = class_loss(outcome, targets)
    if np.vdot(gradient, outcome) <= 0:  # it would be smaller for heads that are surer of themselves
        return loss, 1.0
    for _ in range(_HALVINGS):
        factor = (low + high) / 2
        loss, gradient = class_loss(factor * outcome, targets)
        low, high = (low, factor) if np.vdot(gradient, outcome) > 0 else (factor, high)
    return loss, 1 / factor


def side_by_side(calls: Sequence[Callable[[], Result]], executor: Executor | None) -> list[Result]:
    """Return what comes of each call, in order; with an executor, at the same time."""
    if executor is None:
        return [call() for call in calls]
    return [future.result() for future in [executor.submit(call) for call in calls]]


def _strength(tried: Sequence[Tried]) -> float:
    """Return the strength at the lowest point of the parabola through the smallest loss and those beside it."""
    place = min(range(len(tried)), key=lambda each: tried[each].loss)
    if not 0 < place < len(tried) - 1:
        return tried[place].strength
    before, least, after = (each.loss for each in tried[place - 1 : place + 2])
    steps = (before - after) / (2 * (before - 2 * least + after))
    return tried[place].strength * (tried[place + 1].strength / tried[place].strength) ** steps


def _temperature(tried: Sequence[Tried], strength: float) -> float:
    """Return the temperature for a strength, between those of the strengths beside it."""
    strengths, temperatures = np.log([(each.strength, each.temperature) for each in sorted(tried)]).T
    return float(np.exp(np.interp(np.log(strength), strengths, temperatures)))


def _mixed(targets: np.ndarray, problem_type: str, seed: int) -> np.ndarray:
    """Return the places of the photos (N,) at random, one class after the other: every n-th has its share of each."""
    order = np.random.default_rng(seed).permutation(len(targets))
    if problem_type == SINGLE:
        order = order[np.argsort(targets[order], kind="stable")]
    return order
