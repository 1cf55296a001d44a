"""Where the positions of a map look, by the attention of CvT, and the kernels that depthwise convolutions look with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from npconv.api.gradients import PIXELS, check_model
from npconv.api.heads import BareModel, prepare_pixel_values
from npconv.backend import Array
from npconv.errors import InputError
from npconv.messages import hint, shown
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures.heatmap import as_heatmap
from npconv.plan.run import run_plan
from npconv.plan.step import Plan

#: Within a block, as a plan names them: the probabilities, and what becomes queries and keys.
PROBABILITIES, QUERIES, KEYS = "dropout", "convolution_projection_query", "convolution_projection_key"


def attention_map(
    model: BareModel[Any],
    pixel_values: Any,
    position: Sequence[int] | None = None,
    stage: int = -1,
    block: int = -1,
    *,
    head: int | None = None,
) -> Array:
    """Return where a position of a map, or the class token, looks.

    Parameters
    ----------
    model : a CvT of npconv
        With ``engine="explicit"``.
    pixel_values : array or tensor (N, C, H, W)
        As the model takes them.
    position : (row, column), optional
        Of the stage's map; the class token when unset.
    stage, block : int
        Which block of which stage, counted from 0, or from the end if negative.
    head : int, optional
        The mean of all heads when unset.

    Returns
    -------
    array (N, H', W')
        The attention to each position of the keys, whose map has a quarter of the positions in the published models. It
        sums to 1; in a stage with a class token to what is left of 1 by the attention to that. In the model's dtype.

    Raises
    ------
    InputError
        If the model has no attention or has the fast engine, or an argument does not fit it.
    """
    check_model(model, "attention")
    plan = make_plan(model.config, model.task)
    name = _attention(plan, model, stage, block)
    wanted = {part: plan.resolve(f"{name}.{part}") for part in (PROBABILITIES, QUERIES, KEYS)}
    maps = {part: plan[wanted[part]].inputs[0] for part in (QUERIES, KEYS)}  # before they are laid out as tokens
    inputs = {PIXELS: prepare_pixel_values(pixel_values, dtype=model.dtype, device=model.device)}
    only = [wanted[PROBABILITIES], *maps.values()]
    arrays = {step.name: array for step, array in run_plan(plan, inputs, flatten(model.params), only=only)}
    probabilities = arrays[wanted[PROBABILITIES]]  # (N, h, T, S)
    queries, keys = (arrays[maps[part]].shape[2:] for part in (QUERIES, KEYS))
    rows = probabilities[:, :, _token(position, probabilities.shape[2], queries)]  # (N, h, S)
    if head is not None and not _is_below(head, rows.shape[1]):
        raise InputError(f"expected a head from 0 to {rows.shape[1] - 1}, or None for their mean; got {shown(head)}")
    row = rows.mean(axis=1) if head is None else rows[:, head]
    return as_heatmap(row[:, -keys[0] * keys[1] :].reshape(-1, *keys))


def kernels(model: BareModel[Any], name: str | None = None) -> Array:
    """Return the kernels of a depthwise convolution: where each channel looks.

    Parameters
    ----------
    model : a model of npconv
    name : str, optional
        Of the layer or of its weight, as in a checkpoint: ``"convnext.encoder.stages.0.layers.0.dwconv"``, also without
        the ``"convnext."`` of a classifier. The first of the model when unset.

    Returns
    -------
    array (C, kh, kw)
        A copy, in the model's dtype.

    Raises
    ------
    InputError
        If the model has no such layer.
    """
    if not isinstance(model, BareModel):
        raise InputError(f"expected a model of npconv, got {type(model).__name__}")
    plan = make_plan(model.config, model.task)
    steps = [step for step in plan if step.operation == "depthwise_conv2d"]
    names = [step.params["weight"].removesuffix(".weight") for step in steps]
    if not names:
        raise InputError(f"expected a model with depthwise convolutions, got a {type(model).__name__} without")
    sought = names[0] if name is None else str(name).removesuffix(".weight")
    found = next((one for one in (sought, f"{model.base_model_prefix}.{sought}") if one in names), None)
    if found is None:
        raise InputError(
            f"expected the name of a depthwise convolution of the model, got {shown(name)}{hint(sought, names)}"
        )
    return as_heatmap(model.state_dict()[f"{found}.weight"][:, 0].copy())


def _attention(plan: Plan, model: BareModel[Any], stage: int, block: int) -> str:
    """Return the name of the attention of a block."""
    found: dict[int, list[str]] = {}
    for step in plan:
        place = re.search(r"(?:^|\.)stages\.(\d+)\.", step.name)
        if step.operation == "softmax" and place:
            found.setdefault(int(place[1]), []).append(step.name.rpartition(".")[0])
    if not found:
        raise InputError(f"expected a model with attention, a CvT; got a {type(model).__name__}")
    blocks = list(found.values())
    for what, number, parts in (
        ("stage", stage, blocks),
        ("block", block, blocks[stage] if _is_in(stage, blocks) else ()),
    ):
        if not _is_in(number, parts):
            raise InputError(f"expected a {what} from 0 to {len(parts) - 1}, or from -1 back; got {shown(number)}")
    return blocks[stage][block]


def _token(position: Sequence[int] | None, tokens: int, size: tuple[int, int]) -> int:
    """Return the place of a position, or of the class token, among the queries."""
    height, width = size
    first = tokens - height * width
    if position is None:
        if not first:
            raise InputError("expected a position (row, column), as the stage has no class token; got None")
        return 0
    if np.shape(position) != (2,) or not all(_is_below(at, end) for at, end in zip(position, size, strict=True)):
        raise InputError(
            f"expected a position (row, column) of a map with {height} x {width}, counted from 0; got {shown(position)}"
        )
    row, column = position
    return first + int(row) * width + int(column)


def _is_below(number: Any, end: int) -> bool:
    """Tell whether something is a whole number from 0 to below an end."""
    is_whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    return is_whole and 0 <= int(number) < end


def _is_in(number: Any, parts: Sequence[Any]) -> bool:
    """Tell whether something counts one of some parts, from 0 or from the end."""
    return _is_below(number, len(parts)) or (isinstance(number, int | np.integer) and -len(parts) <= int(number) < 0)
