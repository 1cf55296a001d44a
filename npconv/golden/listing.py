"""The names of a model's tensors, with their shapes and aliases, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

from npconv.api import AutoConfig
from npconv.api.families import class_for
from npconv.api.heads import BareModel
from npconv.api.sizes import input_size, size_in
from npconv.golden.renaming import rename
from npconv.golden.trace_file import PIXELS, Trace
from npconv.golden.tracing import choose_names
from npconv.golden.truth import class_of
from npconv.models import family_of
from npconv.models.plans import make_plan
from npconv.plan.shapes import result_shapes


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
    plan = make_plan(config, kind.task)
    height, width = size or (size_in(config, folder) if folder else input_size(config, None))
    shapes = result_shapes(plan, (1, config.num_channels, height, width), kind.parameter_shapes(config))
    chosen = choose_names(plan, only, kind.base_model_prefix)
    called = Trace({"family": config.model_type, "steps": plan.to_json()})
    named = plan if names is None else rename(called, names).plan
    return [
        Listed(PIXELS, shapes[PIXELS], "NCHW", "", ()),
        *(
            Listed(other.name, shapes[step.name], step.layout, step.operation, other.aliases)
            for step, other in zip(plan, named or plan, strict=True)
            if step.name in chosen
        ),
    ]
