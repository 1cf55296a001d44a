"""Which fields of a configuration say something: those that differ from the family's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from npconv.html import Markup, folded, note, note_table
from npconv.messages import shown

if TYPE_CHECKING:
    from npconv.models.configuration import PretrainedConfig

#: Fields that say what kind of file it is, or are shown by themselves.
SHOWN_ELSEWHERE = ("model_type", "architectures", "id2label", "label2id")

#: Labels that a note of a configuration lists.
MOST_LABELS = 50


def config_fields(config: PretrainedConfig) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the fields of a configuration, apart: other than the family's default, as the default, unknown to it."""
    defaults, hidden = default_fields(config), {*SHOWN_ELSEWHERE, *config.implied_fields}
    fields = {name: value for name, value in config.to_dict().items() if name not in hidden}
    other = {name: value for name, value in fields.items() if name in defaults and value != defaults[name]}
    usual = {name: value for name, value in fields.items() if name in defaults and value == defaults[name]}
    unknown = {name: value for name, value in fields.items() if name not in defaults}
    return other, usual, unknown


def default_fields(config: PretrainedConfig) -> dict[str, Any]:
    """Return the defaults of a configuration's family; a file has those that transformers lacks where they differ."""
    return {**config.added_fields, **type(config)().to_dict()}


def config_note(config: PretrainedConfig) -> str:
    """Return what a notebook shows of a configuration: first the fields that differ from the family's defaults."""
    other, usual, unknown = config_fields(config)
    defaults = default_fields(config)
    rows = [(name, shown(value), shown(defaults[name])) for name, value in other.items()]
    parts = [note_table(rows, ("other than the default", "", "the default"))] if other else []
    for title, fields in (("as the defaults", usual), ("kept, without effect here", unknown)):
        parts += [folded(f"{len(fields)} {title}", _pairs(fields))] if fields else []
    if labels := dict(list(config.id2label.items())[:MOST_LABELS]):
        more = f", the first {MOST_LABELS}" if len(config.id2label) > MOST_LABELS else ""
        parts.append(folded(f"{config.num_labels:,} classes{more}", _pairs(labels)))
    about = ", ".join(part for part in (config.model_type, config.name_or_path) if part)
    return note(type(config).__name__, about, *parts)


def _pairs(fields: Mapping[Any, Any]) -> Markup:
    """Return a table of names and values."""
    return note_table((str(name), value if isinstance(value, str) else shown(value)) for name, value in fields.items())
