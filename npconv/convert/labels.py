"""The names of the classes, from a file or from the caller."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from npconv.errors import InputError, WeightsError
from npconv.files.disk import map_file, parse_json
from npconv.messages import quoted

#: A thousand times the names of ImageNet-22k would be less.
MAX_BYTES = 50_000_000

Labels = str | os.PathLike[str] | Sequence[str] | Mapping[Any, str]


def class_names(labels: Labels, count: int) -> list[str]:
    """Return the names of the classes, in their order.

    Parameters
    ----------
    labels : path, sequence of str or mapping
        Names in the order of the classes, class number -> name, or name -> class number; or a file with one of these
        as JSON, or with one name a line.
    count : int
        Of the model's classes.

    Raises
    ------
    InputError
        If these are not names, or not as many as there are classes.
    """
    named = isinstance(labels, str | os.PathLike)
    where = quoted(labels) if named else "the labels"
    names = _as_list(_read(Path(labels)) if named else labels, where)  # type: ignore[arg-type]
    if not count:
        raise InputError(f"{where}: the model has no classifier, so that it has no use for names; leave --labels out")
    if len(names) != count:
        raise InputError(f"expected {count} names of classes, as many as the classifier has; {where} has {len(names)}")
    return names


def _as_list(content: Any, where: str) -> list[str]:
    """Return names in order, whichever way they are numbered."""
    if isinstance(content, Mapping):
        pairs = list(content.items())
        if all(type(value) is int for value in content.values()):  # turned round, as label2id of transformers is
            pairs = [(number, name) for name, number in pairs]
        try:
            numbered = {int(number): name for number, name in pairs}
        except (TypeError, ValueError):
            numbered = {}
        if len(numbered) != len(pairs) or sorted(numbered) != list(range(len(numbered))):
            raise InputError(f'expected {where} to number the classes from 0 without a gap, as in {{"0": "cat"}}')
        content = [numbered[number] for number in range(len(numbered))]
    names = list(content) if isinstance(content, list | tuple) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"expected {where} to be a list of names, or a dict of numbers and names")
    return names


def _read(path: Path) -> Any:
    """Return what a file holds: JSON, or a list of its lines."""
    try:
        data = map_file(path)
        if len(data) > MAX_BYTES:
            raise InputError(
                f"expected at most {MAX_BYTES:,} bytes of names of classes, {quoted(path)} has {len(data):,}"
            )
        text = str(data, "utf-8-sig")
    except WeightsError as error:
        raise InputError(f"--labels: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"expected {quoted(path)} to be text in UTF-8: {error}") from error
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return parse_json(text, "the text", most=MAX_BYTES, finite=False)
        except WeightsError as error:
            raise InputError(f"{quoted(path)} begins as JSON, but cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        del lines[-1]
    if "" in lines:
        raise InputError(f"expected one name a line in {quoted(path)}, but line {lines.index('') + 1} is empty")
    return lines
