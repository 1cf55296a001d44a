"""The arguments of ``save_pretrained`` that say how something is saved: a model, a configuration or a processor."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

from npconv.errors import InputError, NpconvWarning, UnavailableError
from npconv.messages import meant, quoted, shown

#: What transformers takes and what changes nothing in a folder on this machine.
WITHOUT_EFFECT = (
    "commit_message",
    "create_pr",
    "max_shard_size",
    "organization",
    "private",
    "repo_id",
    "repo_url",
    "revision",
    "save_function",
    "save_original_format",
    "save_peft_format",
    "tags",
    "token",
    "use_auth_token",
)

#: What is looked at.
MEANT = ("is_main_process", "push_to_hub", "safe_serialization", "save_directory")


def refuse_upload(*_: Any, **__: Any) -> None:
    """Raise an `UnavailableError`: what ``push_to_hub`` of models, configurations, processors and pipelines does."""
    raise UnavailableError("npconv uploads nothing; save_pretrained(FOLDER), then: hf upload REPOSITORY FOLDER")


def directory_to_write(maker: str, directory: Any, arguments: Mapping[str, Any]) -> Any:
    """Return the folder that is to be written to; None if another process does.

    `maker` is called with the arguments, of which ``save_directory`` is the folder where `directory` is None.

    Raises
    ------
    InputError
        If there is no folder, an argument is unknown, or it asks for the hub.

    Warns
    -----
    NpconvWarning
        If a pickle is asked for: safetensors are written.
    """
    for name in arguments:
        if name not in (*WITHOUT_EFFECT, *MEANT):
            known = sorted((*WITHOUT_EFFECT, *MEANT))
            raise InputError(f"{maker}: unknown argument {quoted(name)}{meant(name, known)}")
    if arguments.get("push_to_hub"):
        raise InputError(f"{maker}: nothing is sent from here; leave out push_to_hub, then: hf upload NAME FOLDER")
    if arguments.get("safe_serialization", True) is False:
        warnings.warn(
            f"{maker}: safetensors are written, not a pickle, for all their readers", NpconvWarning, stacklevel=3
        )
    directory = arguments.get("save_directory") if directory is None else directory
    if not isinstance(directory, str | os.PathLike):
        raise InputError(f"{maker}: expected a directory to write to, got {shown(directory)}")
    return directory if arguments.get("is_main_process", True) else None
