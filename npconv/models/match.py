"""The strict match: every tensor of a file is used once, every parameter of a model is filled once.

A wrong name or shape never passes silently. What differs between files that are equally right is settled here: whether
the names carry the model's prefix (a file saved from the bare model does not), and names that have changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from npconv.errors import WeightsError
from npconv.messages import SHOWN_ITEMS, listed, nearest, quoted

#: Endings of names in older files of transformers, and what they have become.
OLD_NAMES = {"grn.gamma": "grn.weight", "grn.beta": "grn.bias"}


@dataclass(frozen=True)
class LoadReport:
    """What did not fit: parameters that the file lacks, and tensors of the file that the model has no place for."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def match(
    tensors: Mapping[str, Any],
    expected: Mapping[str, Sequence[int]],
    *,
    prefix: str = "",
    renames: Mapping[str, str] = OLD_NAMES,
    ignore: Sequence[str] = (),
    strict: bool = True,
) -> tuple[dict[str, Any], LoadReport]:
    """Match the tensors of a file with the parameters of a model.

    Parameters
    ----------
    tensors : mapping of str to array
        By their names in the file; only their `shape` is looked at, so a `DeferredArray` will do.
    expected : mapping of str to shape
        The model's parameters.
    prefix : str
        ``"convnextv2."``, for example: added to a name or taken from it where that makes it the name of a parameter.
    renames : mapping of str to str
        Old endings of names and what they have become.
    ignore : sequence of str
        Patterns (``"classifier.*"``, ``"*.num_batches_tracked"``) of names in the file that the model can do without.
    strict : bool
        Whether a missing or unexpected name is an error. A wrong shape always is, and so are two tensors for one
        parameter.

    Returns
    -------
    matched : dict of str to array
        The tensors by the model's names, in the model's order.
    report : LoadReport
        Empty if `strict`.

    Raises
    ------
    WeightsError
        If the file does not fit the model; names what does not, with shapes and the most similar name.
    """
    source: dict[str, str] = {}
    unexpected: list[str] = []
    for name in tensors:
        parameter = next((known for known in _spellings(name, prefix, renames) if known in expected), None)
        if parameter is None:
            if not any(fnmatchcase(name, pattern) for pattern in ignore):
                unexpected.append(name)
        elif parameter in source:
            raise WeightsError(
                f"tensors {quoted(source[parameter])} and {quoted(name)} are both for parameter {quoted(parameter)}; "
                "remove one of them from the file"
            )
        else:
            source[parameter] = name
    missing = [parameter for parameter in expected if parameter not in source]
    _check_shapes(tensors, expected, source)
    if strict and (missing or unexpected):
        found = misfits({name: tensor.shape for name, tensor in tensors.items()}, expected, missing, unexpected)
        raise WeightsError(f"the weights do not fit the model: {found}; pass strict=False to load what fits")
    matched = {parameter: tensors[source[parameter]] for parameter in expected if parameter in source}
    return matched, LoadReport(tuple(missing), tuple(unexpected))


def _spellings(name: str, prefix: str, renames: Mapping[str, str]) -> Iterator[str]:
    """Yield the parameters that a tensor called `name` may be meant for, the likeliest first."""
    current = [name]
    current += [name.removesuffix(old) + new for old, new in renames.items() if name.endswith(old)]
    for spelling in current:
        yield spelling
        yield prefix + spelling
        yield spelling.removeprefix(prefix)


def _check_shapes(tensors: Mapping[str, Any], expected: Mapping[str, Sequence[int]], source: Mapping[str, str]) -> None:
    """Refuse tensors whose shape is not the parameter's."""
    wrong = [
        f"{quoted(name)} has shape {tuple(tensors[name].shape)}, expected {tuple(expected[parameter])}"
        for parameter, name in source.items()
        if tuple(tensors[name].shape) != tuple(expected[parameter])
    ]
    if wrong:
        raise WeightsError(f"the weights do not fit the model: {listed(wrong)}; does the configuration belong to them?")


def misfits(
    shapes: Mapping[str, Sequence[int]],
    expected: Mapping[str, Sequence[int]],
    missing: Sequence[str],
    unexpected: Sequence[str],
) -> str:
    """Return which of the `expected` parameters a file of tensors of some `shapes` lacks, and which it has too many."""
    lacking = {name: expected[name] for name in missing}
    left_over = {name: shapes[name] for name in unexpected}
    parts = [f"the file lacks {_described(lacking, left_over)}"] if missing else []
    if unexpected:
        parts.append(f"the model has no place for {_described(left_over, lacking or expected)}")
    return "; ".join(parts)


def _described(shapes: Mapping[str, Sequence[int]], counterparts: Mapping[str, Sequence[int]]) -> str:
    """Return the first few names with their shapes, and the most similar of `counterparts` to each."""
    phrases = list(shapes)
    for i, name in enumerate(phrases[:SHOWN_ITEMS]):
        phrases[i] = f"{quoted(name)} of shape {tuple(shapes[name])}"
        if near := nearest(name, counterparts):
            phrases[i] += f" (nearest: {quoted(near)} of shape {tuple(counterparts[near])})"
    return listed(phrases)
