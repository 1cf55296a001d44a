"""What is no divergence but differs, and which weights are wrong, in words; the same of several places stands once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from npconv.golden.compare import Comparison
from npconv.golden.inputs import tensors
from npconv.golden.islands import Island
from npconv.golden.kinds.numbers import in_words
from npconv.golden.kinds.parameters import order_in_words
from npconv.golden.weights import Weight
from npconv.messages import listed

#: What begins the line of an island.
ISLAND = "folded, or recorded elsewhere"


def told(comparison: Comparison) -> list[str]:
    """Return lines on exchanged names, islands, second arrays that differ, and weights."""
    return [
        *(f"exchanged: {pair.one} and {pair.other} are exchanged in MINE" for pair in comparison.exchanged),
        *_held(comparison),
        *(f"{ISLAND}: {text}" for text in _alike(_apart(comparison), island_in_words, _places)),
        *_aliases(comparison),
        *(f"wrong weight: {text}" for text in _alike(comparison.wrong_weights, weight_in_words, _name)),
        *_folded(comparison),
    ]


def _apart(comparison: Comparison) -> list[Island]:
    """Return the islands that no line on exchanged names tells."""
    return [island for island in comparison.islands if island.kind != "exchanged"]


def island_in_words(island: Island) -> str:
    """Say what an island is: ``LAYER.layernorm without its weight and bias, which are in LAYER.pwconv1``."""
    name, values = island.names[0], island.values
    return f"{name if len(island.names) == 1 else listed(island.names, 2)} {_WORDS[island.kind](values)}"


def weight_in_words(weight: Weight) -> str:
    """Say what was done to a weight: ``parameters.classifier.weight is rounded to bfloat16``."""
    difference, values = weight.difference, weight.values
    if weight.kind == "shape":
        sizes = ["x".join(map(str, shape)) for shape in (difference.shape_mine, difference.shape_reference)]
        return f"{difference.name} is of shape {sizes[0]}, expected {sizes[1]}"
    return f"{difference.name} {_DONE[weight.kind](values)}, off by up to {difference.max_abs:.1e}"


def _folded_words(values: Any) -> str:
    """Say which parameters are in those of another step."""
    ends = [name.rpartition(".")[2] for name in values["parameters"]]
    are = "are" if len(ends) > 1 else "is"
    if "holds" not in values:
        return f"without its {_joined(ends)}" + (f", which {are} in {values['into']}" if values["into"] else "")
    return f"holds {values['holds']}" + (f", whose {_joined(ends)} {are} folded into it" if ends else "")


def _factor_words(values: Any) -> str:
    """Say which factor an array has."""
    scale = f", the scale of {values['scale_of']}" if "scale_of" in values else ""
    return f"is {in_words(values['factor'])} times what it should be{scale}"


def _pair_words(values: Any) -> str:
    """Say that names are exchanged, which a line of its own tells."""
    return "are exchanged" if len(values["pairs"]) == 1 else "are exchanged in pairs"


_WORDS: dict[str, Callable[[Any], str]] = {
    "folded": _folded_words,
    "elsewhere": lambda values: f"holds {values['holds']}",
    "factor": _factor_words,
    "channels": lambda values: f"has each channel by a factor and an offset, which {values['into']} undoes",
    "order": lambda values: f"is the right one {order_in_words(np.asarray(values['order']), values['axis'])}",
    "layout": lambda values: f"has its axes in another order, {values['read_as']}",
    "exchanged": _pair_words,
    "": lambda values: "differs, and all that is computed of it is right",
}

_DONE: dict[str, Callable[[Any], str]] = {
    "another": lambda values: f"is {values['taken']}",
    "value": lambda values: f"is {values['value']:.6g} throughout",
    "turned": lambda values: f"is the right one {values['turned']}",
    "rounded": lambda values: f"is the right one rounded to {values['rounded']}",
    "order": lambda values: f"is the right one {order_in_words(np.asarray(values['order']), values['axis'])}",
    "factor": lambda values: f"is the right one times {in_words(values['factor'])}",
    "offset": lambda values: f"is the right one plus {in_words(values['offset'])}",
    "": lambda values: "differs",
}


def _held(comparison: Comparison) -> list[str]:
    """Say if the first divergent tensor is another one."""
    first, held = comparison.first, comparison.held
    pairs = {name for pair in comparison.exchanged for name in (pair.one, pair.other)}
    if first is None or held is None or first.name in pairs:
        return []
    return [f"names: {first.name} holds {held}"]


def _aliases(comparison: Comparison) -> list[str]:
    """Say which second arrays differ from the tensor for which their names stand."""
    found = comparison.aliases
    if not found:
        return []
    more = f", and {tensors(len(found) - 1)} more so" if len(found) > 1 else ""
    return [f"names: {found[0].mine} stands for {found[0].name}, which is right, and differs from it{more}"]


def _folded(comparison: Comparison) -> list[str]:
    """Say which weights differ that are folded."""
    names = [weight.difference.name for weight in comparison.weights if weight.difference.is_island]
    return [f"{ISLAND}: {len(names)} of the parameters ({listed(names)})"] if names else []


def _alike(found: Iterable[Any], words: Callable[[Any], str], places: Callable[[Any], Sequence[str]]) -> list[str]:
    """Return what is said of each, once for those of which the same is said in other places."""
    groups: dict[str, list[Any]] = {}
    for one in found:
        groups.setdefault(_without_numbers(words(one)), []).append(one)
    lines = []
    for group in groups.values():
        count = sum(len(places(one)) for one in group[1:])
        lines.append(words(group[0]) + (f"; so {'is' if count == 1 else 'are'} {count} more" if count else ""))
    return lines


def _places(island: Island) -> Sequence[str]:
    return island.names


def _name(weight: Weight) -> Sequence[str]:
    return (weight.difference.name,)


def _without_numbers(text: str) -> str:
    """Return a text without its numbers: of stages and blocks, and of how far off something is."""
    return re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "#", text)


def _joined(words: Sequence[str]) -> str:
    """Return words as people list them."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
