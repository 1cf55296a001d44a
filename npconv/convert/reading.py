"""What the names and shapes of a model's parameters say about it, and whether they are complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npconv.convert.dialect import family_of_names
from npconv.errors import ConfigError, WeightsError
from npconv.messages import listed, quoted
from npconv.models import find_family
from npconv.models.dialects import LackingError, Reading, nearest
from npconv.models.parameters import Shapes


def read(tensors: Mapping[str, Any]) -> Reading:
    """Return what names and shapes, in the names of Hugging Face, determine.

    Raises
    ------
    WeightsError
        If they are those of no model: a stage or block is lacking, a tensor has another number of dimensions.
    """
    if not tensors:
        raise WeightsError("expected the parameters of a model, got no tensor")
    family = find_family(family_of_names(tensors))
    try:
        return family.part("names").read({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except ConfigError as error:
        raise WeightsError(f"the shapes describe no model: {error}") from error


def expected_shapes(found: Reading) -> Shapes:
    """Return the shape of every parameter that the model must have."""
    try:
        return found.shapes()
    except ConfigError as error:
        raise WeightsError(f"the shapes describe no model: {error}") from error


def check_complete(tensors: Mapping[str, Any], found: Reading) -> Shapes:
    """Return the expected shapes if every parameter is there once, in its shape, and nothing else.

    Raises
    ------
    WeightsError
        Otherwise; names the tensors and the most similar ones.
    """
    expected = expected_shapes(found)
    missing = [name for name in expected if name not in tensors]
    left_over = [name for name in tensors if name not in expected]
    wrong = [n for n in expected if n in tensors and tuple(tensors[n].shape) != expected[n]]
    problems = []
    if missing:
        problems.append("the file lacks " + listed([f"{n} {expected[n]}{nearest(n, left_over)}" for n in missing]))
    if left_over:
        shown = [f"{quoted(n)} {tuple(tensors[n].shape)}{nearest(n, missing or expected)}" for n in left_over[:4]]
        problems.append("the model has no place for " + listed(shown))
    if wrong:
        shown = [f"{n} has shape {tuple(tensors[n].shape)}, expected {expected[n]}" for n in wrong]
        problems.append(listed(shown))
    if problems:
        message = f"the tensors do not make a {found.family} model: {'; '.join(problems)}"
        raise LackingError(missing[0], message) if missing else WeightsError(message)
    return expected
