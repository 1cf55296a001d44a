"""Between flat names and the nested tree of parameters that the models take.

``{"encoder.stages.0.layers.1.dwconv.weight": array}`` in a file is
``{"encoder": {"stages": [{"layers": [{}, {"dwconv": {"weight": array}}]}]}}`` as a tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from npconv.errors import WeightsError
from npconv.messages import quoted

#: Bounds that no model comes near, so that a name in a file cannot make the tree large: components of one name, and
#: places in lists that no name fills.
MAX_DEPTH = 64
MAX_HOLES = 1000

_LIST_INDEX = re.compile(r"0|[1-9][0-9]*")


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


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of a tree by their dotted names, in the tree's order: the inverse of `nest`."""
    return dict(_leaves(tree, ""))


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree of the same form, with `function` of each leaf in the leaf's place."""
    if isinstance(tree, Mapping):
        return {key: map_tree(function, child) for key, child in tree.items()}
    if isinstance(tree, list):
        return [map_tree(function, child) for child in tree]
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
