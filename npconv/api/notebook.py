"""What a notebook shows of models and of what they return."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from npconv.errors import NpconvError
from npconv.html import Markup, element, folded, note, note_table
from npconv.layers.letters import Shape
from npconv.models.parameters import count_parameters
from npconv.models.plans import make_plan
from npconv.models.tree import spread, summary
from npconv.plan.shapes import result_shapes

if TYPE_CHECKING:
    from npconv.api.base import PreTrainedModel

#: The edge in pixels of the picture for which shapes are told, where the configuration has none.
EDGE = 224

#: Maps of an output that are shown.
MOST_MAPS = 12

_STAGE = re.compile(r"(?:^|.*\.)stages\.(\d+)(?:\.|$)")
_BLOCK = re.compile(r"\.stages\.\d+\.layers\.(\d+)\.|^stages\.\d+\.layers\.(\d+)\.")


def model_note(model: PreTrainedModel) -> str:
    """Return what a notebook shows of a model: its size, a table of its stages, its configuration."""
    about = f"{model.num_parameters():,} parameters, {model.dtype}, {model.device}, engine={model.engine!r}"
    words = (model.family.title, model.name_or_path, model.task.replace("_", " "), _head(model))
    edge = model.config.image_size if isinstance(model.config.image_size, int) else EDGE
    table = note_table(_stages(model, edge), ("", "blocks", f"map of {edge} x {edge} pixels", "parameters"))
    fields = folded("configuration", Markup(model.config._repr_html_()))
    return note(type(model).__name__, about, element("div", ", ".join(filter(None, words))), table, fields)


def output_note(name: str, values: Mapping[str, Any]) -> str:
    """Return what a notebook shows of an output: each array with its dtype, shape and range."""
    rows = []
    for field, value in values.items():
        parts = enumerate(value) if isinstance(value, list | tuple) else [(None, value)]
        named = [(field if place is None else f"{field}[{place}]", part) for place, part in parts]
        rows += [(part, summary(array), spread(array)) for part, array in named[:MOST_MAPS]]
        rows += [(f"{len(named) - MOST_MAPS} more of {field}", "", "")] if len(named) > MOST_MAPS else []
    return note(name, "", note_table(rows, ("", "array", "values")))


def _head(model: PreTrainedModel) -> str:
    """Return what a classifier tells apart."""
    return f"{model.config.num_labels:,} classes" if model.task == "image_classification" else ""


def _stages(model: PreTrainedModel, edge: int) -> Iterator[tuple[str | int, ...]]:
    """Yield a row for each stage, for what is before and what is after: blocks, the map it gives, parameters."""
    shapes = model.parameter_shapes(model.config)
    parts: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        stage = _STAGE.match(name)
        part = f"stage {int(stage[1]) + 1}" if stage else "after" if "stage 1" in parts else "before"
        parts.setdefault(part, {})[name] = shape
    maps = _maps(model, shapes, edge)
    for part, named in parts.items():
        blocks = {found[0] for name in named if (found := _BLOCK.search(name))}
        yield part, str(len(blocks) or ""), maps.get(part, ""), count_parameters(named)


def _maps(model: PreTrainedModel, params: Mapping[str, Shape], edge: int) -> dict[str, str]:
    """Return the shape of the map that each stage gives; none of a model that such a picture does not pass."""
    try:
        plan = make_plan(model.config, model.task)
        shapes = result_shapes(plan, (1, model.config.num_channels, edge, edge), params)
    except NpconvError:
        return {}
    named = {name: step.name for step in plan for name in (step.name, *step.aliases)}
    ends = {name: step for name, step in named.items() if (found := _STAGE.match(name)) and found.end() == len(name)}
    return {
        f"stage {int(name.rpartition('.')[2]) + 1}": " x ".join(map(str, shapes[step][1:]))
        for name, step in ends.items()
    }
