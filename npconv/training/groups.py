"""Which parameters are trained alike: those of a block that decay, and those of it that do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from npconv.errors import InputError
from npconv.models.plans import make_plan
from npconv.plan.step import Plan, Step

#: Operations whose weights are kernels and matrices. They alone decay: no biases, norms, layer scales or class tokens.
DECAYING = ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear")

#: In which stage and block a parameter lies, by its name. What stands in a stage before its blocks has no block.
_PLACE = re.compile(r"(?:^|\.)stages\.(\d+)\.(?:layers\.(\d+)\.)?")


class Group(NamedTuple):
    """The names of parameters that are trained alike."""

    names: tuple[str, ...]
    #: How many blocks lie between them and the head, which is 0.
    depth: int
    decays: bool


def parameter_groups(model: Any) -> list[Group]:
    """Return the parameters of a model that are marked with ``requires_grad``, by groups from the stem to the head."""
    plan = make_plan(model.config, model.task)
    wanted = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    alike: dict[tuple[int, bool], list[str]] = {}
    for step, depth in _depths(plan):
        for argument, name in step.params.items():
            if name in wanted:
                decays = step.operation in DECAYING and argument == "weight"
                alike.setdefault((depth, decays), []).append(name)
    return [Group(tuple(names), depth, decays) for (depth, decays), names in alike.items()]


def train_only(model: Any, stages: int | None) -> None:
    """Mark the last stages of a model and its head as to be trained, and nothing before them; all, if None.

    Raises
    ------
    InputError
        If the model has fewer stages.
    """
    names = [name for name, _ in model.named_parameters()]
    count = 1 + max(int(found[1]) for name in names if (found := _PLACE.search(name)))
    if stages is not None and not 1 <= stages <= count:
        raise InputError(f"expected layers to be head, all, or from 1 to the {count} stages of the model, got {stages}")
    first = 0 if stages is None else count - stages
    trained = {
        name
        for step, stage in _stages(make_plan(model.config, model.task))
        for name in step.params.values()
        if stages is None or stage >= first
    }
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in trained


def _depths(plan: Plan) -> Iterator[tuple[Step, int]]:
    """Yield each step and how many blocks lie between it and the head."""
    blocks: dict[tuple[str, str], int] = {}  # stage and block -> their number, after the stem, which is 0
    numbers = []
    for step in plan:
        found = next(filter(None, map(_PLACE.search, step.params.values())), None)
        if found:
            numbers.append(blocks.setdefault((found[1], found[2] or "0"), len(blocks) + 1))
        else:
            numbers.append(len(blocks) + 1 if blocks else 0)
    for step, number in zip(plan, numbers, strict=True):
        yield step, max(numbers) - number


def _stages(plan: Plan) -> Iterator[tuple[Step, int]]:
    """Yield each step and its stage: -1 for the stem, and for what comes after the last stage that one."""
    stage = -1
    for step in plan:
        found = next(filter(None, map(_PLACE.search, step.params.values())), None)
        stage = int(found[1]) if found else stage
        yield step, stage
