"""The way of the class token through its stage: where it looks, and what the classifier would already say of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npconv.layers import softmax
from npconv.pictures.picture import Picture
from npconv.pictures.views import Attention
from npconv.plan.backward import on_the_way
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step

#: Classes that are named at each stop.
BEST = 3


@dataclass(frozen=True)
class Stop:
    """The class token after a step.

    Parameters
    ----------
    name : str
        Of the step.
    length : float
        Of the token, the root of its sum of squares.
    attention : Picture, optional
        Where it looked in this block's attention, mean over all heads.
    scores : mapping of str to float
        The likeliest classes, if the rest of the model took the token as it is here.
    """

    name: str
    length: float
    attention: Picture | None
    scores: Mapping[str, float]


def follow(
    plan: Plan,
    params: Mapping[str, Any],
    steps: Iterable[tuple[Step, np.ndarray | None, Attention | None]],
    labels: Sequence[str],
) -> Iterator[Stop]:
    """Yield the stops of the class token that the answer is made of; none if there is none.

    Parameters
    ----------
    plan : Plan
    params : mapping of str to array
        The model's parameters by their names in a checkpoint.
    steps : iterable of (Step, ndarray or None, Attention or None)
        The steps of the plan, each with the class token (D,) in its result, and with its attention maps.
    labels : sequence of str
        The names of the classes; empty if the model has none.
    """
    ends = [step for step in plan if step.operation == "class_token"]
    if not ends:
        return
    end = ends[-1]
    if end.name not in plan.outputs and not on_the_way(plan, plan.outputs, {end.name})[0]:
        return  # the token of an earlier stage, which ends there
    prefix = end.name.removesuffix("class_token")
    looked: Picture | None = None
    for step, token, attention in steps:
        if not step.name.startswith(prefix):
            continue
        if attention is not None:
            looked = Picture(attention.atlas.pixels[: attention.height, : attention.width])
        if token is not None and step.operation in ("tokens", "residual"):
            yield Stop(step.name, float(np.linalg.norm(token)), looked, _scores(plan, params, end, token, labels))
            looked = None


def _scores(
    plan: Plan, params: Mapping[str, Any], end: Step, token: np.ndarray, labels: Sequence[str]
) -> dict[str, float]:
    """Return the likeliest classes of a class token."""
    if not labels:
        return {}
    (output,) = plan.outputs
    ((_, logits),) = run_plan(plan, {end.name: token[None, None]}, params, only=[output])
    scores = softmax(logits.astype(np.float64), axis=1)[0]
    return {labels[number]: float(scores[number]) for number in np.argsort(-scores, kind="stable")[:BEST]}
