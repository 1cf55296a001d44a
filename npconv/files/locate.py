"""From what a user calls a model to the folder or file on disk that holds it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from npconv.errors import ModelNotFoundError
from npconv.messages import quoted

SUFFIX = ".safetensors"

# As the hub has them. No part can be "." or "..", so none leads out of a cache.
NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_HUB_ID = re.compile(f"{NAME}/{NAME}")


class Hub(NamedTuple):
    """What knows the models that are not on this disk.

    Attributes
    ----------
    find : function
        Hub id and revision -> the folder of the model.
    suggest : function
        An unknown name -> ``"; did you mean ...?"`` or nothing.
    """

    find: Callable[[str, str], Path]
    suggest: Callable[[str], str]


#: Set by ``npconv.hub``, which stands above this room.
_hub: Hub | None = None


def register_hub(hub: Hub) -> None:
    """Let `locate` find hub ids as well."""
    global _hub
    _hub = hub


def embedded_models() -> list[str]:
    """Return the names of the models that come with npconv."""
    zoo = _zoo()
    return sorted(folder.name for folder in zoo.iterdir() if (folder / "config.json").is_file()) if zoo.is_dir() else []


def locate(model: str | os.PathLike[str], *, revision: str = "main") -> Path:
    """Find a model.

    Parameters
    ----------
    model : str or path
        An embedded model's name, a folder in Hugging Face layout, a ``.safetensors`` file, or a hub id
        (``"facebook/convnextv2-tiny-1k-224"``); the first of these that exists. A path object is a folder or file only,
        and so is a text such as ``"./convnextv2-cifar10"``. A hub id is looked for in the local Hugging Face cache
        (where ``HF_HUB_CACHE``, ``HF_HOME`` and the like say) and then, if huggingface_hub is installed and
        ``HF_HUB_OFFLINE`` unset, downloaded. Where it has no safetensors, its other weights are converted once, into a
        cache of npconv (``NPCONV_CACHE``, or ``npconv`` in ``XDG_CACHE_HOME`` or ``~/.cache``).
    revision : str
        A branch, tag or commit of a hub model.

    Returns
    -------
    Path
        The folder, or the ``.safetensors`` file.

    Raises
    ------
    ModelNotFoundError
        If there is no such model; says what was looked for, and where.
    WeightsError
        If what was downloaded is damaged, or cannot be converted.
    """
    if not isinstance(model, str | os.PathLike):
        raise ModelNotFoundError(f"expected a model's name or path, got {type(model).__name__} {quoted(model)}")
    name = os.fspath(model)
    if isinstance(model, str) and model in embedded_models():
        return _zoo() / model
    # os.path rather than Path: these are False, not an error, for names that no file can have.
    if os.path.isdir(name) or (name.endswith(SUFFIX) and os.path.isfile(name)):
        return Path(name)
    if os.path.isfile(name):
        raise ModelNotFoundError(
            f"{quoted(name)} is a file, expected a {SUFFIX} file or the folder of a model; to make one of weights in "
            "another form: npconv convert FILE FOLDER"
        )
    if _hub and isinstance(model, str) and _HUB_ID.fullmatch(name) and ".." not in name and "--" not in name:
        return _hub.find(name, revision)
    raise ModelNotFoundError(
        f"no model {quoted(name)}: no embedded model ({embedded_list()}), no folder, no {SUFFIX} file and no hub id "
        "of the form 'organisation/name'; check the spelling and the folder you are in"
        f"{_hub.suggest(str(name)) if _hub else ''}"
    )


def _zoo() -> Path:
    """Return the folder of the embedded models."""
    return Path(__file__).parents[1] / "zoo"


def embedded_list() -> str:
    """Return the embedded models' names for an error message."""
    return ", ".join(embedded_models()) or "none is installed"
