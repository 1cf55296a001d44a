"""From what a user calls a model to the folder or file on disk that holds it."""

from __future__ import annotations

import importlib
import os
import re
from importlib.resources import files
from pathlib import Path

from npconv.errors import ModelNotFoundError
from npconv.weights.checkpoint import SUFFIX
from npconv.weights.messages import quoted

#: What a download brings: never another framework's weights, which may be large or a pickle.
DOWNLOADED = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
)

# As the hub has them. No part can be "." or "..", so none leads out of the cache.
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_HUB_ID = re.compile(f"{_NAME}/{_NAME}")
_REVISION = re.compile(f"{_NAME}(?:/{_NAME}){{0,3}}")
_COMMIT = re.compile(r"[0-9A-Za-z]{1,64}")


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
        ``HF_HUB_OFFLINE`` unset, downloaded.
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
        raise ModelNotFoundError(f"{quoted(name)} is a file, expected a {SUFFIX} file or the folder of a model")
    if isinstance(model, str) and _HUB_ID.fullmatch(name) and ".." not in name and "--" not in name:
        return _hub_model(name, revision)
    raise ModelNotFoundError(
        f"no model {quoted(name)}: no embedded model ({_embedded_list()}), no folder, no {SUFFIX} file and no hub id "
        "of the form 'organisation/name'; check the spelling and the folder you are in"
    )


def _zoo() -> Path:
    """Return the folder of the embedded models."""
    return Path(str(files("npconv"))) / "zoo"


def _embedded_list() -> str:
    """Return the embedded models' names for an error message."""
    return ", ".join(embedded_models()) or "none is installed"


def _hub_model(hub_id: str, revision: str) -> Path:
    """Return the folder of a hub model, from the cache or downloaded into it."""
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ModelNotFoundError(f"expected a branch, tag or commit as revision, got {quoted(revision)}")
    cache = hub_cache()
    snapshot = _cached_snapshot(cache, hub_id, revision)
    if snapshot and any(snapshot.glob(f"*{SUFFIX}")):
        return snapshot
    tried = (
        f"no embedded model ({_embedded_list()}), no folder, and revision {quoted(revision)} with {SUFFIX} files is "
        f"not in the Hugging Face cache {quoted(cache)}"
    )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise ModelNotFoundError(f"no model {quoted(hub_id)}: {tried}; HF_HUB_OFFLINE forbids to download it")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ModelNotFoundError(
            f"no model {quoted(hub_id)}: {tried}; to download it: pip install huggingface_hub"
        ) from error
    try:
        return Path(
            hub.snapshot_download(hub_id, revision=revision, cache_dir=str(cache), allow_patterns=list(DOWNLOADED))
        )
    except Exception as error:  # its errors, those of its HTTP library and the system's have no common class
        reason = quoted(" ".join(str(error).split()) or type(error).__name__)
        raise ModelNotFoundError(f"no model {quoted(hub_id)}: {tried}; the download failed: {reason}") from error


def hub_cache() -> Path:
    """Return the folder in which Hugging Face libraries keep what they have downloaded."""
    environment = os.environ
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(variable):
            return Path(os.path.expanduser(environment[variable]))
    home = environment.get("HF_HOME")
    if not home:
        home = os.path.join(environment.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface")
    return Path(os.path.expanduser(home)) / "hub"


def _cached_snapshot(cache: Path, hub_id: str, revision: str) -> Path | None:
    """Return the folder of one revision in the cache: ``models--org--name/snapshots/<commit>``."""
    folder = cache / f"models--{hub_id.replace('/', '--')}"
    try:
        with (folder / "refs" / revision).open(encoding="ascii") as file:
            commit = file.read(100).strip()
    except (OSError, ValueError):
        commit = revision
    snapshot = folder / "snapshots" / commit
    return snapshot if _COMMIT.fullmatch(commit) and snapshot.is_dir() else None
