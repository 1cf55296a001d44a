"""What a trace says of itself: one JSON value, read as what a stranger wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.files.disk import MAX_JSON_SIZE
from npconv.messages import quoted
from npconv.plan.step import Plan

#: Version of the form of traces.
FORMAT = 1

#: The name of a model's input.
PIXELS = "pixel_values"

_STEP_FIELDS = {
    "name": str,
    "operation": str,
    "inputs": list,
    "params": dict,
    "attributes": dict,
    "layout": str,
    "aliases": list,
}
_LONGEST_NUMBER = 40


def to_text(about: Mapping[str, Any]) -> str:
    """Return JSON with sorted names, in ASCII letters: the same value gives the same text.

    Raises
    ------
    GoldenError
        If there are other values than JSON has; NaN and infinity are none.
    """
    try:
        text = json.dumps(dict(about), sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise GoldenError(f"expected JSON values in the about of a trace: {error}") from error
    if len(text) > MAX_JSON_SIZE:
        raise GoldenError(f"the about of a trace takes {len(text)} bytes, expected at most {MAX_JSON_SIZE}")
    return text


def parse_json(text: str | memoryview, source: str) -> Any:
    """Return what at most 10 MB of JSON hold: finite numbers, every name once, whole numbers as such.

    Raises
    ------
    GoldenError
        If the text is longer or something else.
    """
    if len(text) > MAX_JSON_SIZE:
        raise GoldenError(f"{source} has {len(text)} bytes, expected at most {MAX_JSON_SIZE} of JSON")
    try:
        return json.loads(
            text if isinstance(text, str) else str(text, "utf-8"),
            parse_int=_whole_number,
            parse_float=_number,
            parse_constant=_number,
            object_pairs_hook=_unique_names,
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise GoldenError(f"{source} is not the JSON it should be: {reason}; make it again") from error


def check_about(about: Any, source: str) -> dict[str, Any]:
    """Return what a trace says of itself if what npconv will use of it has the right types.

    Nothing has to be there. `source` is what to call it in errors.

    Raises
    ------
    GoldenError
        If an entry has another type than it should.
    """
    if not isinstance(about, dict):
        raise GoldenError(f"{source} holds a {_kind(about)}, expected a JSON object")
    if about.get("format", FORMAT) != FORMAT:
        raise GoldenError(f"{source} is of format {quoted(about['format'])}, expected {FORMAT}; update npconv")
    for name, right, expected in (
        ("order", _are_names, "a list of different names"),
        ("layouts", _is_text_by_name, "texts by name"),
        ("aliases", _is_text_by_name, "texts by name"),
        ("noise", _is_noise, "positive numbers by name and kind of run"),
        ("steps", _is_plan, "the steps of a plan"),
        *((name, _is_object, "a JSON object") for name in ("config", "preprocessing", "versions")),
        *((name, _is_text, "text") for name in ("task", "family", "dtype", "checkpoint", "input", "photo", "model")),
    ):
        value = about.get(name)
        if value is not None and not right(value):
            raise GoldenError(f"{source}: expected {expected} as {name!r}, got another {_kind(value)}")
    return about


def _kind(value: Any) -> str:
    """Return what JSON calls a value."""
    kinds = {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}
    return kinds.get(type(value), "number")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_names(value: Any) -> bool:
    return _is_texts(value) and len(set(value)) == len(value)


def _is_text_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_noise(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(runs, dict) and all(type(size) in (int, float) and size >= 0 for size in runs.values())
        for runs in value.values()
    )


def _is_plan(value: Any) -> bool:
    """Tell whether `Plan.from_json` takes a value, and what is in it has the right types."""
    if not isinstance(value, dict) or set(value) != set(Plan(()).to_json()):
        return False
    steps = value["steps"]
    return (
        _is_texts(value["outputs"])
        and _is_texts(value["hidden_states"])
        and isinstance(steps, list)
        and all(map(_is_step, steps))
    )


def _is_step(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(_STEP_FIELDS)
        and all(isinstance(value[name], kind) for name, kind in _STEP_FIELDS.items())
        and all(map(_is_text, [*value["inputs"], *value["aliases"], *value["params"].values()]))
    )


def _whole_number(text: str) -> int:
    # int() takes for ever over a million digits.
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:_LONGEST_NUMBER]}, expected finite ones")
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of a JSON object; ``json`` itself would silently keep the last of two with one name."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has the same name twice")
    return members


def about(trace: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
    """Return what a trace says of itself; of a plain mapping, nothing."""
    return getattr(trace, "about", None) or {}


def layout_of(trace: Mapping[str, np.ndarray], name: str, axes: int) -> str:
    """Return a letter for each axis of a tensor, or nothing if they are not known."""
    letters = str(part(trace, "layouts").get(name, ""))
    return letters if len(letters) == axes else ""


def part(trace: Mapping[str, np.ndarray], name: str) -> Mapping[str, Any]:
    """Return an object in what a trace says of itself; empty if it is not there."""
    value = about(trace).get(name)
    return value if isinstance(value, Mapping) else {}
