"""The state dict inside what a training script saves: ``{"model": {...}, "optimizer": {...}, "epoch": 299}``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from npconv.errors import WeightsError
from npconv.files.dtypes import DeferredArray
from npconv.files.pickle_names import Skipped
from npconv.messages import listed, quoted

#: Keys that hold a model's tensors, the one to take first.
WRAPPINGS = (
    *("model", "state_dict", "model_state_dict", "model_state", "module", "params", "net", "network"),
    *("model_ema", "state_dict_ema", "ema_state_dict", "ema", "params_ema", "student", "teacher"),
)
#: Keys of what training carries along; never a model.
EXTRAS = {
    *("optimizer", "optimizers", "optimizer_state_dict", "optimizer_states"),
    *("lr_scheduler", "lr_schedulers", "scheduler", "scaler", "loss_scaler", "amp", "amp_scaler", "grad_scaler"),
    *(
        "rng_state",
        "rng_states",
        "torch_rng_state",
        "cuda_rng_state",
        "random_state",
        "callbacks",
        "loops",
        "hyper_parameters",
        "config",
        "args",
        "cfg",
        "meta",
    ),
}

_NOT_PLAIN = (dict, list, tuple, np.ndarray, DeferredArray, Skipped)


class Found(NamedTuple):
    """The tensors of a model, and what else was there.

    Attributes
    ----------
    tensors : dict of str to ndarray or DeferredArray
        By name, the keys of nested dicts with dots between.
    taken : str
        Where they were: the keys that lead there with dots between, empty for the outermost dict.
    others : dict of str to int
        Other places with tensors, and how many.
    metadata : dict of str to object
        Numbers and texts, by their place.
    """

    tensors: dict[str, Any]
    taken: str
    others: dict[str, int]
    metadata: dict[str, Any]


def find_tensors(contents: Any, wrapping: str | None = None) -> Found:
    """Return the tensors of the model that a checkpoint holds.

    Without `wrapping`, a dict that has tensors itself is taken whole; one that has none is searched for the keys that
    training scripts use, in the order of `WRAPPINGS`; failing these it is taken without the optimizer and its like.

    Parameters
    ----------
    contents : object
        Dicts, lists and tuples with arrays, as `Checkpoint.contents`.
    wrapping : str, optional
        The place to take, such as ``"model_ema"``.

    Raises
    ------
    WeightsError
        If there are no tensors, or none at `wrapping`, or two have one name.
    """
    if _is_tensor(contents):
        raise WeightsError("the file holds a single tensor without a name, expected a dict of tensors")
    place, node = ((), contents) if wrapping is not None else _unwrap(contents, ())
    if wrapping is not None:
        place, node = _at(contents, wrapping)
    leaves = list(_leaves(contents, ()))
    excluded = set() if wrapping is not None or not isinstance(node, dict) else _extras(node)
    depth = len(place)
    tensors: dict[str, Any] = {}
    others: dict[str, int] = {}
    metadata: dict[str, Any] = {}
    for path, value in leaves:
        if not _is_tensor(value):
            metadata[_dotted(path)] = value
        elif path[:depth] == place and (len(path) > depth and path[depth] not in excluded):
            name = _dotted(path[depth:])
            if name in tensors:
                raise WeightsError(f"two tensors have the name {quoted(name)}, expected every name once")
            tensors[name] = value
        else:
            beginning = _dotted(path[: 1 + (path[:depth] == place) * depth])
            others[beginning] = others.get(beginning, 0) + 1
    if not tensors:
        where = f"at {quoted(wrapping)}" if wrapping is not None else "that a model could have"
        held = f"; there are tensors at {listed([quoted(name) for name in others])}" if others else ""
        raise WeightsError(f"found no tensors {where}{held}")
    return Found(tensors, _dotted(place), others, metadata)


def _unwrap(node: Any, place: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """Go into the wrappings around a state dict."""
    while isinstance(node, dict) and not _is_state_dict(node):
        key = next((key for key in WRAPPINGS if next(_leaves(node.get(key), (), True), None)), None)
        if key is None:
            break
        place, node = (*place, key), node[key]
    return place, node


def _at(node: Any, wrapping: str) -> tuple[tuple[Any, ...], Any]:
    """Return the place that a dotted name means; a key may itself have dots."""
    place: tuple[Any, ...] = ()
    rest = wrapping
    while rest:
        keys = [key for key in node if isinstance(key, str) and key] if isinstance(node, dict) else []
        key = next((key for key in sorted(keys, key=len, reverse=True) if f"{rest}.".startswith(f"{key}.")), None)
        if key is None:
            raise WeightsError(f"found nothing at {quoted(wrapping)}; there is {listed([quoted(key) for key in keys])}")
        place, node, rest = (*place, key), node[key], rest[len(key) + 1 :]
    return place, node


def _is_state_dict(node: dict[Any, Any]) -> bool:
    """Say whether a dict has tensors itself, other than the state of a random generator and the like."""
    return any(_is_tensor(value) and key not in EXTRAS for key, value in node.items())


def _extras(node: dict[Any, Any]) -> set[Any]:
    """Return the keys of a dict that hold no model, unless it is a state dict itself."""
    if _is_state_dict(node):
        return set()
    return {key for key in node if key in EXTRAS}


def _leaves(node: Any, path: tuple[Any, ...], only_tensors: bool = False) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the tensors, numbers, texts and lists of such below a value, with the keys that lead to each."""
    is_group = isinstance(node, dict) or (
        isinstance(node, list | tuple) and any(isinstance(child, _NOT_PLAIN) for child in node)
    )
    if is_group:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(child, (*path, key), only_tensors)
    elif _is_tensor(node) or not (only_tensors or isinstance(node, Skipped)):
        yield path, node


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray | DeferredArray)


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))
