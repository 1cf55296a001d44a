"""Tensors from one dialect into another: every tensor used once, every parameter filled once, or it is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from npconv.convert.dialect import BoundRule, Dialect
from npconv.convert.patterns import Values
from npconv.convert.reading import check_complete, expected_shapes, read
from npconv.errors import WeightsError
from npconv.files.dtypes import mapped
from npconv.messages import quoted
from npconv.models.dialects import LackingError, nearest


def to_hugging_face(tensors: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return tensors by the names of Hugging Face, laid out as there.

    Parameters
    ----------
    tensors : mapping of str to array
        In the names of `dialect`. Arrays come out as views.
    dialect : Dialect
        From :func:`detect`.

    Raises
    ------
    WeightsError
        If a tensor is left over, lacks, comes twice or has another layout than the dialect's.
    """
    ours: dict[str, Any] = {}
    source: dict[str, str] = {}
    for name, tensor in tensors.items():
        found = dialect.find(name)
        if found is None:
            if dialect.is_skipped(name):
                continue
            raise _left_over(name, tensor, (rule.theirs.fill(v) for rule, v in _near(dialect, name)), dialect.name)
        rule, values = found
        target = rule.ours.fill(values)
        if target in source:
            raise WeightsError(f"tensors {quoted(source[target])} and {quoted(name)} are both for {target}")
        if not rule.layout.fits(tuple(tensor.shape)):
            raise WeightsError(
                f"expected {quoted(name)} to be laid out {rule.layout.words}, got shape {tuple(tensor.shape)}; "
                f"is the file in the names of {dialect.name}?"
            )
        ours[target], source[target] = mapped(tensor, rule.layout.ours), name
    try:
        _add_implied(ours, expected_shapes(read(ours)), dialect)
        expected = check_complete(ours, read(ours))
    except LackingError as error:
        known = dialect.find_ours(error.name)
        theirs = known[0].theirs.fill(known[1]) if known is not None else error.name
        where = "" if theirs == error.name else f"; {dialect.name} calls {error.name} {quoted(theirs)}"
        raise WeightsError(f"{error}{where}") from None
    return {name: ours[name] for name in expected}


def from_hugging_face(tensors: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return tensors by the names of a dialect, laid out as there: the inverse of :func:`to_hugging_face`.

    Raises
    ------
    WeightsError
        If a tensor is left over or lacks, or the dialect has no place for it.
    """
    check_complete(tensors, read(tensors))
    theirs: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if _is_left_out(name, tensor, dialect):
            continue
        found = dialect.find_ours(name)
        if found is None:
            raise _left_over(name, tensor, (rule.ours.fill(v) for rule, v in _near(dialect, name)), dialect.name)
        rule, values = found
        target = rule.theirs.fill(values)
        if target in theirs:
            raise WeightsError(f"two tensors are for {quoted(target)} in the names of {dialect.name}; one is {name}")
        theirs[target] = mapped(tensor, rule.layout.theirs)
    return theirs


def skipped(tensors: Iterable[str], dialect: Dialect) -> list[str]:
    """Return the names that :func:`to_hugging_face` leaves behind because they belong to something else."""
    return [name for name in tensors if dialect.find(name) is None and dialect.is_skipped(name)]


def _add_implied(ours: dict[str, Any], expected: Mapping[str, tuple[int, ...]], dialect: Dialect) -> None:
    """Add the parameters that the dialect does not store."""
    dtype = next(iter(ours.values())).dtype
    for name, shape in expected.items():
        if name in ours:
            continue
        for pattern, implied in dialect.implied:
            if pattern.match(name) is not None:
                kind = np.int64 if name.endswith("num_batches_tracked") else dtype
                ours[name] = np.full(shape, implied.value, kind)


def _is_left_out(name: str, tensor: Any, dialect: Dialect) -> bool:
    """Tell whether a parameter is one that the dialect does not store, and not needed to have it back."""
    for pattern, implied in dialect.implied:
        if pattern.match(name) is None:
            continue
        is_implied = bool(np.all(np.asarray(tensor) == implied.value))
        if dialect.find_ours(name) is not None and not is_implied:
            continue
        if implied.droppable or is_implied:
            return True
        raise WeightsError(
            f"{dialect.name} has no place for {name}, and its values are not all {implied.value}: it would be lost; "
            "choose another dialect"
        )
    return False


def _near(dialect: Dialect, name: str) -> Iterable[tuple[BoundRule, Values]]:
    """Yield all rules, each with the numbers that a name holds."""
    numbers = [int(part) for part in name.replace("/", ".").split(".") if part.isdecimal() and len(part) < 6]
    values: Values = {"i": numbers[0] if numbers else 0, "j": numbers[1] if len(numbers) > 1 else 0}
    for rule in dialect.rules:
        yield rule, values


def _left_over(name: str, tensor: Any, candidates: Iterable[str], dialect: str) -> WeightsError:
    """Return the error for a tensor that no rule knows."""
    others = (candidate for candidate in candidates if candidate != name)  # a stage may lack what the others have
    return WeightsError(
        f"{dialect} has no place for tensor {quoted(name)} of shape {tuple(tensor.shape)}{nearest(name, others)}; "
        "is it another architecture?"
    )
