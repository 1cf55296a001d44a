"""The parameters of a model by their names in a checkpoint: shapes, first values, the tree, the match with a file.

The models take a nested tree. ``{"encoder.stages.0.layers.1.dwconv.weight": array}`` in a file is
``{"encoder": {"stages": [{"layers": [{}, {"dwconv": {"weight": array}}]}]}}`` as a tree.

The match is strict: every tensor of a file is used once, every parameter filled once, and a wrong name or shape never
passes silently. What differs between files that are equally right is settled there: whether the names carry the model's
prefix (a file saved from the bare model does not), and names that have changed since.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from npconv.errors import InputError, MisfitError, WeightsError
from npconv.messages import SHOWN_ITEMS, listed, nearest, quoted, shown
from npconv.models.tree import Tree, TreeList

#: Name in a checkpoint -> shape.
Shapes = dict[str, tuple[int, ...]]

#: A name, the shape of its tensor in a file, the shape that the model expects.
Misshapen = tuple[str, tuple[int, ...], tuple[int, ...]]

#: Endings of names in older files of transformers, and what they have become.
OLD_NAMES = {"grn.gamma": "grn.weight", "grn.beta": "grn.bias"}

#: Last parts of the names of stored statistics: they are in the checkpoint but are not trained parameters.
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")

#: Bounds that no model comes near, so that a name in a file cannot make the tree large: components of one name, and
#: places in lists that no name fills.
MAX_DEPTH = 64
MAX_HOLES = 1000

_LIST_INDEX = re.compile(r"0|[1-9][0-9]*")


def affine_shapes(prefix: str, weight: tuple[int, ...], *, bias: bool = True) -> Shapes:
    """Return the shapes of a convolution or linear layer."""
    shapes = {f"{prefix}.weight": weight}
    return {**shapes, f"{prefix}.bias": weight[:1]} if bias else shapes


def norm_shapes(prefix: str, size: int) -> Shapes:
    """Return the shapes of a LayerNorm."""
    return {f"{prefix}.weight": (size,), f"{prefix}.bias": (size,)}


def batch_norm_shapes(prefix: str, size: int) -> Shapes:
    """Return the shapes of a BatchNorm with its stored statistics."""
    statistics: Shapes = {
        f"{prefix}.running_mean": (size,),
        f"{prefix}.running_var": (size,),
        f"{prefix}.num_batches_tracked": (),
    }
    return {**norm_shapes(prefix, size), **statistics}


def is_buffer(name: str) -> bool:
    """Tell whether a name is that of a stored statistic."""
    return name.endswith(BUFFERS)


def count_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of trained parameters, by shape alone."""
    return sum(math.prod(shape) for name, shape in shapes.items() if not is_buffer(name))


def random_parameters(shapes: Shapes, config: Any, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a first value for each parameter, as transformers initializes it: name and float32 array.

    Weights of convolutions and linear layers and class tokens are normal with standard deviation
    ``config.initializer_range``; biases 0, scales of normalizations 1, others what ``config.first_values`` says (layer
    scales, GRN). Each parameter has a stream of random numbers of its own, from the seed and its place in the list.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"expected seed to be a whole number of at least 0, got {seed!r}")
    for (name, shape), stream in zip(shapes.items(), np.random.SeedSequence(seed).spawn(len(shapes)), strict=True):
        kind = name.rpartition(".")[2]
        special = next((value for ending, value in config.first_values.items() if name.endswith(ending)), None)
        if kind == "num_batches_tracked":
            yield name, np.zeros(shape, np.int64)
        elif special is not None:
            yield name, np.full(shape, special, np.float32)
        elif kind in ("bias", "running_mean"):
            yield name, np.zeros(shape, np.float32)
        elif len(shape) == 1:
            yield name, np.ones(shape, np.float32)
        else:
            normal = np.random.default_rng(stream).standard_normal(shape, np.float32)
            yield name, normal * np.float32(config.initializer_range)


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree that dotted names describe.

    Below the root, components that are numbers make a list, if all at the same place are; a place in the list that no
    name fills holds ``{}``.

    Raises
    ------
    WeightsError
        If a name is both a parameter and the beginning of another name, has more than 64 components, or leaves more
        than 1000 places of lists unfilled.
    """
    root = _Branch()
    for name, value in flat.items():
        *stem, leaf = name.split(".", MAX_DEPTH)
        if len(stem) == MAX_DEPTH:
            raise WeightsError(f"expected names of at most {MAX_DEPTH} components, got {quoted(name)}")
        branch = root
        for component in stem:
            branch = branch.setdefault(component, _Branch())
            if not isinstance(branch, _Branch):
                break
        if not isinstance(branch, _Branch) or leaf in branch:
            raise WeightsError(f"{quoted(name)} and another name begin alike, and one ends where the other goes on")
        branch[leaf] = value
    holes = sum(map(_count_holes, root.values()))
    if holes > MAX_HOLES:
        raise WeightsError(f"the names number parts of the model with {holes} gaps, expected at most {MAX_HOLES}")
    return {key: _finished(child) for key, child in root.items()}


def flatten(tree: Mapping[str, Any] | list[Any]) -> dict[str, Any]:
    """Return the leaves of a tree by their dotted names, in the tree's order: the inverse of `nest`."""
    return dict(_leaves(tree, ""))


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a :class:`Tree` of the same form, with `function` of each leaf in the leaf's place."""
    if isinstance(tree, Mapping):
        return Tree({key: map_tree(function, child) for key, child in tree.items()})
    if isinstance(tree, list):
        return TreeList(map_tree(function, child) for child in tree)
    return function(tree)


class _Branch(dict[str, Any]):
    """An inner node while the tree is built: tells it from a leaf, whatever a leaf may be."""

    def list_length(self) -> int:
        """Return the length of the list that this node becomes, or 0 if it becomes a dict."""
        if not all(_LIST_INDEX.fullmatch(key) for key in self):
            return 0
        # Ten digits are enough to be too many, and are quickly converted.
        return max(int(key[:10]) for key in self) + 1


def _count_holes(node: Any) -> int:
    """Return how many places of lists, at a node and below, no name fills."""
    if not isinstance(node, _Branch):
        return 0
    return max(0, node.list_length() - len(node)) + sum(map(_count_holes, node.values()))


def _finished(node: Any) -> Any:
    """Return a node with dicts and lists in the place of branches."""
    if not isinstance(node, _Branch):
        return node
    if length := node.list_length():
        return [_finished(node.get(str(index), {})) for index in range(length)]
    return {key: _finished(child) for key, child in node.items()}


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the leaves below a dict or list, `prefix` before their names."""
    for key, child in node.items() if isinstance(node, Mapping) else enumerate(node):
        if isinstance(child, Mapping | list):
            yield from _leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child


class LoadReport(NamedTuple):
    """What did not fit: parameters that the file lacks, and tensors of the file that the model has no place for.

    And parameters that the file has in another shape: name, shape there, shape here.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[Misshapen, ...] = ()


class NamesMisfitError(MisfitError):
    """A file that lacks parameters or has too many; where only the head lacks, ``strict=False`` loads the rest."""

    def __init__(self, found: str, *, is_head_only: bool = False) -> None:
        self.found, self.is_head_only = found, is_head_only
        super().__init__(f"{found}; pass strict=False to load what fits" if is_head_only else found)


class ShapesMisfitError(MisfitError):
    """A file that has tensors of other shapes than the model's."""


def match(
    tensors: Mapping[str, Any],
    expected: Mapping[str, Sequence[int]],
    *,
    prefix: str = "",
    renames: Mapping[str, str] = OLD_NAMES,
    ignore: Sequence[str] = (),
    strict: bool = True,
    head: Sequence[str] = ("*",),
    ignore_mismatched_sizes: bool = False,
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
        Whether a missing or unexpected name is an error. Two tensors for one parameter always are.
    head : sequence of str
        Patterns of the parameters that may be missing where it is not strict: those of a head to be trained.
    ignore_mismatched_sizes : bool
        Leave out tensors of a wrong shape and report them; a head may then be missing as well.

    Returns
    -------
    matched : dict of str to array
        The tensors by the model's names, in the model's order.
    report : LoadReport
        Empty if `strict`.

    Raises
    ------
    MisfitError
        If the file does not fit the model; names what does not, with shapes and the most similar name.
    WeightsError
        If two tensors are for one parameter.
    """
    source: dict[str, str] = {}
    unexpected: list[str] = []
    for name in tensors:
        if not isinstance(name, str):
            raise MisfitError(f"expected names of parameters, got {shown(name)}; state_dict() has them")
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
    mismatched = _misshapen(tensors, expected, source)
    if mismatched and not ignore_mismatched_sizes:
        wrong = [f"{quoted(source[name])} has shape {stored}, expected {wanted}" for name, stored, wanted in mismatched]
        raise ShapesMisfitError(
            f"the weights do not fit the model: {listed(wrong)}; does the configuration belong to them?"
        )
    for parameter, *_ in mismatched:
        del source[parameter]
    body = [name for name in missing if not any(fnmatchcase(name, pattern) for pattern in head)]
    if body or (strict and (unexpected or (missing and not ignore_mismatched_sizes))):
        found = misfits({name: tensor.shape for name, tensor in tensors.items()}, expected, body or missing, unexpected)
        raise NamesMisfitError(f"the weights do not fit the model: {found}", is_head_only=not body)
    matched = {parameter: tensors[source[parameter]] for parameter in expected if parameter in source}
    return matched, LoadReport(tuple(missing), tuple(unexpected), tuple(mismatched))


def _spellings(name: str, prefix: str, renames: Mapping[str, str]) -> Iterator[str]:
    """Yield the parameters that a tensor called `name` may be meant for, the likeliest first."""
    current = [name]
    current += [name.removesuffix(old) + new for old, new in renames.items() if name.endswith(old)]
    for spelling in current:
        yield spelling
        yield prefix + spelling
        yield spelling.removeprefix(prefix)


def _misshapen(
    tensors: Mapping[str, Any], expected: Mapping[str, Sequence[int]], source: Mapping[str, str]
) -> list[Misshapen]:
    """Return the parameters whose tensors have another shape, in the model's order."""
    wrong = []
    for parameter, name in ((parameter, source[parameter]) for parameter in expected if parameter in source):
        stored, wanted = tuple(tensors[name].shape), tuple(expected[parameter])
        if stored != wanted:
            wrong.append((parameter, stored, wanted))
    return wrong


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
