"""The checks of single fields of a configuration: each returns the value, or says what was expected."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npconv.errors import ConfigError, InputError
from npconv.layers import activation
from npconv.messages import shown

#: Bounds of integer fields. No published model comes near them; they keep a broken file from asking for terabytes.
LARGEST_INTEGER = 1_000_000
MOST_LAYERS = 10_000


def check_text(name: str, value: Any) -> str:
    """Return a text, or say what was expected."""
    if not isinstance(value, str):
        raise ConfigError(f"expected {name} to be text, got {shown(value)}")
    return value


def check_names(fields: Any) -> None:
    """Refuse what are no fields by name."""
    if not isinstance(fields, Mapping) or not all(isinstance(name, str) for name in fields):
        raise ConfigError(f"expected fields of a configuration by name, got {shown(fields)}")


def label_names(num_labels: int | None, id2label: Mapping[Any, str] | None) -> dict[int, str]:
    """Return the class names by index, from names if there are any, else from their number."""
    if id2label is None:
        count = check_int("num_labels", 2 if num_labels is None else num_labels, minimum=0)
        return {index: f"LABEL_{index}" for index in range(count)}
    try:
        names = {
            operator.index(int(index) if isinstance(index, str) else index): str(name)
            for index, name in id2label.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"expected id2label to map class numbers to names, such as {{0: 'cat'}}, got {shown(id2label)}"
        ) from error
    if len(names) != len(id2label) or sorted(names) != list(range(len(names))):
        raise ConfigError(f"expected id2label to number the classes from 0 to {len(names) - 1} without a gap")
    if num_labels is not None and num_labels != len(names):
        raise ConfigError(f"num_labels is {num_labels} but id2label names {len(names)} classes; give one of the two")
    return dict(sorted(names.items()))


def label_numbers(label2id: Mapping[str, int] | None, id2label: dict[int, str]) -> dict[str, int]:
    """Return the class numbers by name."""
    if label2id is None or label2id == {}:
        return {name: index for index, name in id2label.items()}
    if not isinstance(label2id, Mapping):
        raise ConfigError(
            f"expected label2id to map names to class numbers, such as {{'cat': 0}}, got {shown(label2id)}"
        )
    return dict(label2id)


def check_activation(hidden_act: str | Callable[[Any], Any]) -> str | Callable[[Any], Any]:
    """Return an activation's name or function, or say what was expected: here and not at the first call."""
    try:
        activation(hidden_act)
    except InputError as error:
        raise ConfigError(str(error)) from None
    return hidden_act


def check_int(name: str, value: Any, *, minimum: int, maximum: int = LARGEST_INTEGER) -> int:
    """Return an integer field, or say what was expected."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not minimum <= value <= maximum:
        raise ConfigError(f"expected {name} to be an integer from {minimum} to {maximum}, got {shown(value)}")
    return int(value)


def check_float(name: str, value: Any, *, minimum: float, maximum: float = float("inf")) -> float:
    """Return a finite number field, or say what was expected."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or not minimum <= number <= maximum:
        raise ConfigError(f"expected {name} to be a number from {minimum:g} to {maximum:g}, got {shown(value)}")
    return value


def check_bool(name: str, value: Any) -> bool:
    """Return a true-or-false field (0 and 1 stand for them in old files), or say what was expected."""
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise ConfigError(f"expected {name} to be true or false, got {shown(value)}")
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return a field that has one of a few values, or say what was expected."""
    if isinstance(value, bool) or value not in choices:
        raise ConfigError(f"expected {name} to be one of {', '.join(map(str, choices))}; got {shown(value)}")
    return value


def check_size(name: str, value: Any) -> int | list[int]:
    """Return a size field, one number or (height, width), or say what was expected."""
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ConfigError(f"expected {name} to be an integer or a pair (height, width), got {shown(value)}")
        return [check_int(name, v, minimum=1) for v in value]
    return check_int(name, value, minimum=1)


def check_list(name: str, values: Any, check: Callable[[str, Any], Any]) -> list[Any]:
    """Return a list field with each entry checked, or say what was expected."""
    if not isinstance(values, list | tuple):
        raise ConfigError(f"expected {name} to be a list, got {shown(values)}")
    if len(values) > MOST_LAYERS:
        raise ConfigError(f"expected {name} to have at most {MOST_LAYERS} entries, got {len(values)}")
    return [check(f"{name}[{index}]", value) for index, value in enumerate(values)]


def check_depths(name: str, values: Any) -> list[int]:
    """Return the number of layers of each stage, or say what was expected."""
    depths = check_list(name, values, lambda entry, value: check_int(entry, value, minimum=0))
    if not depths or sum(depths) > MOST_LAYERS:
        raise ConfigError(
            f"expected {name} to name 1 to {MOST_LAYERS} layers in at least one stage, got {shown(values)}"
        )
    return depths


def value_like(name: str, text: str, now: Any) -> Any:
    """Return the value that a text means for a field that is a flag, number or text now, or say what was expected."""
    if isinstance(now, bool):
        if text.lower() not in ("true", "false", "1", "0"):
            raise ConfigError(f"expected {name} to be true or false, got {shown(text)}")
        return text.lower() in ("true", "1")
    if isinstance(now, int | float):
        try:
            return type(now)(text)
        except ValueError:
            raise ConfigError(f"expected {name} to be a number, got {shown(text)}") from None
    if not isinstance(now, str):
        raise ConfigError(
            f"expected a field with a number, a flag or a text, got {name}; use update({{{name!r}: ...}})"
        )
    return text
