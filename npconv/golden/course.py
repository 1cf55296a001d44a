"""What a trace follows: the steps of a model forwards, then the loss, and all gradients on the way back.

The steps of the way back are in the plan of the trace, one for each array and so fit to be run one at a time. To record
them all they are walked (:mod:`npconv.plan.backward`), which calls each backward function once and gives the same bits.

What single steps give to an array that several took, ``NAME.grad.0``, is in the plan and not in the trace: no program
that differentiates by itself lets one see it, and ``NAME.grad`` is the sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npconv.api.heads import prepare_labels
from npconv.api.loss import LOSSES, infer_problem_type
from npconv.backend import array_module, to_device
from npconv.errors import GoldenError
from npconv.golden.trace_file import PIXELS
from npconv.models import PretrainedConfig
from npconv.models.plans import make_plan
from npconv.plan.backward import RANDOM, Walk
from npconv.plan.gradient_steps import GRAD, LABELS, is_share, with_gradients, with_loss
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step


@dataclass(frozen=True)
class Course:
    """The steps of a trace.

    Parameters
    ----------
    forward : Plan
        Those of the model; before gradients those that make the losses as well.
    back : tuple of Step
        Those of the gradients.
    losses : tuple of str
        Where the way back begins; none without gradients.
    labels : ndarray, optional
    training : bool
    """

    forward: Plan
    back: tuple[Step, ...] = ()
    losses: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    training: bool = False

    @property
    def whole(self) -> Plan:
        """All steps."""
        return replace(self.forward, steps=(*self.forward.steps, *self.back))

    @property
    def plan(self) -> Plan:
        """What the trace says of itself: all steps but those that draw masks, which it holds."""
        return replace(self.forward, steps=tuple(step for step in self.whole if step.name not in self.masks))

    @property
    def masks(self) -> set[str]:
        """The names of what is drawn at random."""
        return {step.name for step in self.forward if step.operation in RANDOM}

    @property
    def names(self) -> list[str]:
        """All names of the trace, in order."""
        inputs = [PIXELS] if self.labels is None else [PIXELS, LABELS]
        back = [step.name for step in self.back if not is_share(step.name)]
        return [*inputs, *(step.name for step in self.forward), *self.upstream, *back]

    @property
    def upstream(self) -> list[str]:
        """The names of the gradients of the losses."""
        return [f"{loss}{GRAD}" for loss in self.losses]

    def inputs(self, pixel_values: Any) -> dict[str, Any]:
        """Return what a run starts from."""
        one = array_module(pixel_values).ones((), pixel_values.dtype)
        labels = {} if self.labels is None else {LABELS: self.labels}
        return {PIXELS: pixel_values, **labels, **dict.fromkeys(self.upstream, one)}

    def run(
        self,
        inputs: Mapping[str, Any],
        params: Mapping[str, Any],
        names: Set[str],
        rng: np.random.Generator | None = None,
    ) -> Iterator[tuple[str, Any]]:
        """Yield the results of these names; masks that are not among the inputs are drawn."""
        if rng is None and not self.losses:
            for step, result in run_plan(self.forward, inputs, params, only=names):
                yield step.name, result
            return
        wanted = {PIXELS, *(name for step in self.forward for name in step.params.values())}
        walk = Walk(self.forward, params, self.losses, wanted, rng)
        given = {name: array for name, array in inputs.items() if name not in self.upstream}
        yield from (found for found in walk.forward(given) if found[0] in names)
        upstream = {loss: inputs[f"{loss}{GRAD}"] for loss in self.losses}
        for name, gradient in walk.backward(upstream):
            if f"{name}{GRAD}" in names:
                yield f"{name}{GRAD}", gradient


def make_course(
    config: PretrainedConfig,
    task: str,
    gradients: bool = False,
    labels: Any = None,
    training: bool = False,
    device: str = "cpu",
) -> Course:
    """Return what a trace of a model follows.

    Parameters
    ----------
    config : PretrainedConfig
    task : str
        What the model is for, as :func:`npconv.models.plans.make_plan` takes it.
    gradients : bool
        Go on with the loss and the gradients.
    labels : array or sequence, optional
        What the loss of a classifier is of, as ``model(pixel_values, labels=...)`` takes it; a model without classes
        has half the sum of squares of each output for a loss.
    training : bool
        With dropout and drop path, and batch statistics.
    device : str
        Where the model is.

    Raises
    ------
    GoldenError
        If labels are missing, or there is no use for them, or there is no such model.
    """
    plan = make_plan(config, task, training)
    if not gradients:
        if labels is not None:
            raise GoldenError("expected no labels without gradients, got some; ask for gradients too")
        return Course(plan, training=training)
    loss, options, prepared = _loss(config, config.num_labels if task == "image_classification" else 0, labels)
    of = {PIXELS, *(name for step in plan for name in step.params.values())}
    forward = with_loss(plan, loss, **options)
    losses = tuple(step.name for step in forward.steps[len(plan) :])
    back = with_gradients(plan, of, loss, **options).steps[len(forward) :]
    return Course(forward, back, losses, None if prepared is None else to_device(prepared, device), training)


def _loss(config: PretrainedConfig, classes: int, labels: Any) -> tuple[str | None, dict[str, Any], Any]:
    """Return the operation that makes the loss, its attributes, and labels as it takes them."""
    if not classes:
        if labels is not None:
            raise GoldenError("expected no labels for a model without classes, got some")
        return None, {}, None
    if labels is None:
        raise GoldenError(
            "expected labels for the gradients of a classifier, the class of each picture, such as labels=[3] or "
            "--label 3; got none"
        )
    prepared = prepare_labels(labels, device="cpu")
    chosen = LOSSES[config.problem_type or infer_problem_type(prepared, config)]
    loss, options = chosen.name, dict(chosen.options)
    if loss == "cross_entropy":
        return loss, options, prepared.reshape(-1)
    if prepared.size % classes:
        raise GoldenError(f"expected labels for {loss} of shape (N, {classes}), got {prepared.shape}")
    return loss, options, prepared.reshape(-1, classes)
