"""The names of a model's tensors, with their shapes and aliases, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

from npconv.api import AutoConfig
from npconv.api.families import class_for
from npconv.api.heads import BareModel
from npconv.api.sizes import input_size, size_in
from npconv.golden.course import Course, make_course
from npconv.golden.made import draw_labels
from npconv.golden.renaming import rename
from npconv.golden.trace_file import PIXELS, Trace
from npconv.golden.tracing import choose_names
from npconv.golden.truth import class_of
from npconv.layers.letters import Shape
from npconv.models import family_of
from npconv.plan.gradient_steps import GRAD
from npconv.plan.shapes import result_shapes
from npconv.plan.step import Plan, Step


class Listed(NamedTuple):
    """One tensor of a trace.

    Parameters
    ----------
    name : str
    shape : tuple of int
        For one picture.
    layout : str
        A letter for each axis.
    operation : str
        What makes it, of ``npconv.plan.operations.OPERATIONS``; empty for the pixel values.
    aliases : tuple of str
        Other names of it.
    """

    name: str
    shape: tuple[int, ...]
    layout: str
    operation: str
    aliases: tuple[str, ...]


def list_tensors(
    model: BareModel[Any] | str | PathLike[str],
    *,
    names: Mapping[str, str] | str | None = None,
    only: str | Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    gradients: bool = False,
    training: bool = False,
) -> list[Listed]:
    """Return the tensors that a trace of a model holds, in the order of computation.

    Parameters
    ----------
    model : model of npconv, str or path
        As for :func:`npconv.golden.record`; of a name or path, no weight is read.
    names : mapping of str to str, or str, optional
        What a port or a library calls them, as for :func:`npconv.golden.rename`; its names stand first then.
    only : str or sequence of str, optional
        Patterns of the names to list, as for :func:`npconv.golden.trace`.
    size : (int, int), optional
        Height and width of the picture; when unset what the preprocessing makes, or else what the configuration says.
    gradients, training : bool
        List the loss and gradients too, and what there is in training only.

    Raises
    ------
    NpconvError
        If there is no such model, it does not take such a picture, or the names are wrong.
    """
    if isinstance(model, BareModel):
        kind, config, folder = type(model), model.config, None
    else:
        config, folder = AutoConfig.from_pretrained(str(model)), str(model)
        family = family_of(config)
        kind = class_of(config) or class_for(family, family.main_task)
    height, width = size or (size_in(config, folder) if folder else input_size(config, None))
    labels = draw_labels(config, 1) if gradients and kind.task == "image_classification" else None
    course = make_course(config, kind.task, gradients, labels, training)
    shapes = _shapes(course, (1, config.num_channels, height, width), kind.parameter_shapes(config))
    chosen = choose_names(course.whole, only, kind.base_model_prefix) | {PIXELS}
    called = Trace({"family": config.model_type, "steps": course.whole.to_json()})
    named = course.whole if names is None else rename(called, names).plan
    renamed = {step.name: other for step, other in zip(course.whole, named or course.whole, strict=True)}
    inputs = {PIXELS: Step(PIXELS, "", (), layout="NCHW")}
    return [
        Listed(step.name, shapes[name], step.layout, step.operation, step.aliases)
        for name in course.names
        if name in chosen and (step := (renamed | inputs)[name])
    ]


def _shapes(course: Course, pixel_values: Shape, params: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of all tensors of a trace; that of a gradient is that of what it is the gradient of."""
    model = [step for step in course.forward if step.name not in course.losses]
    shapes = {**params, **result_shapes(Plan(tuple(model)), pixel_values, params), **dict.fromkeys(course.losses, ())}
    whose = {name: name.removesuffix(GRAD) for name in course.names}
    return {name: shapes[own] for name, own in whose.items() if own in shapes}
