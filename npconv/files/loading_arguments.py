"""The arguments of ``from_pretrained`` and ``pipeline`` that say where a model comes from and how it is loaded.

Models, configurations, image processors and pipelines take them through one door, :func:`sort_out`: those that have a
meaning here become an :class:`Origin`, those that have none are dropped without a word, and what remains is the
caller's: fields and settings. What that does not know either, :func:`refuse_unknown` calls an unknown argument.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from npconv.errors import InputError, NpconvWarning
from npconv.messages import meant, quoted, shown


class Origin(NamedTuple):
    """Where a model comes from; what concerns the hub has no effect on a folder."""

    #: Branch, tag or commit of a hub model.
    revision: str = "main"
    #: The folder of the hub's cache; where ``HF_HUB_CACHE`` and the like say when unset.
    cache_dir: str | None = None
    #: For repositories that not everybody may read; False for none, else that of ``hf auth login``.
    token: str | bool | None = None
    #: Take what is there, and ask nothing of the network.
    local_files_only: bool = False
    #: Download again what is there.
    force_download: bool = False
    #: ``{"https": "http://host:port"}``
    proxies: dict[str, str] | None = None
    #: The folder inside a model's folder or repository that holds its files.
    subfolder: str = ""
    #: ``"fp16"``: the weights are in ``model.fp16.safetensors``.
    variant: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that say the same."""
        usual = self._field_defaults
        return {name: value for name, value in self._asdict().items() if value != usual[name]}

    def downloaded(self) -> Origin:
        """Return the origin for the next read of the same model: what was to be downloaded again has been."""
        return self._replace(force_download=False)


#: The newest revision, from the usual cache or the hub.
USUAL_ORIGIN = Origin()

#: Older names of arguments, and what they have become.
OLDER_NAMES = {"torch_dtype": "dtype", "use_auth_token": "token"}

#: What transformers takes to say how to load or compute, and what cannot change a number here.
WITHOUT_EFFECT = (
    "_commit_hash",
    "_fast_init",
    "_from_auto",
    "_from_pipeline",
    "adapter_kwargs",
    "adapter_name",
    "allow_all_kernels",
    "attn_implementation",
    "backend",
    "code_revision",
    "device_mesh",
    "disable_mmap",
    "distributed_config",
    "experts_implementation",
    "framework",
    "from_flax",
    "from_pt",
    "from_tf",
    "fusion_config",
    "generation_config",
    "kernel_config",
    "low_cpu_mem_usage",
    "max_memory",
    "mirror",
    "offload_buffers",
    "offload_folder",
    "offload_state_dict",
    "resume_download",
    "torchscript",
    "tp_plan",
    "tp_size",
    "tqdm_class",
    "trust_remote_code",
    "use_fast",
    "use_flash_attention_2",
    "use_kernels",
    "use_safetensors",
    "weights_only",
)

#: What asks for weights of fewer bits, which only a warning can answer.
QUANTISING = ("load_in_4bit", "load_in_8bit", "quantization_config")

#: Device maps that leave it to the library where a model lies.
LEFT_OPEN = ("auto", "balanced", "balanced_low_0", "sequential")

#: A part of a path, of a file's name or of a hub id. None can be "." or "..", so none leads anywhere else.
NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"


def sort_out(arguments: Mapping[str, Any]) -> tuple[Origin, dict[str, Any]]:
    """Return where a model comes from, and the arguments that say something else.

    None stands for an argument that is not given. Of the rest, older names have become new ones, and a ``device_map``
    that names a device is a ``device``.

    Raises
    ------
    InputError
        If a value cannot be used.

    Warns
    -----
    NpconvWarning
        If quantised weights are asked for.
    """
    given = {name: value for name, value in arguments.items() if name not in WITHOUT_EFFECT}
    for old, new in OLDER_NAMES.items():
        if (value := given.pop(old, None)) is not None:
            given[new] = value
    if (device := device_of(given.pop("device_map", None))) is not None:
        given["device"] = device
    for name in QUANTISING:
        if given.pop(name, None):
            warnings.warn(
                f"{name}: npconv does not quantise, the weights stay as they are", NpconvWarning, stacklevel=3
            )
    named = {name: given.pop(name) for name in Origin._fields if name in given}
    return checked(Origin(**{name: value for name, value in named.items() if value is not None})), given


def checked(origin: Origin) -> Origin:
    """Return where a model comes from in one form, or say which value cannot be used."""
    revision, subfolder, variant = origin.revision, origin.subfolder, origin.variant
    parts = subfolder.rstrip("/").split("/") if isinstance(subfolder, str) else ["?"]
    if parts != [""] and not all(re.fullmatch(NAME, part) for part in parts):
        raise InputError(
            f"expected subfolder to be a folder inside the model's, such as 'vision', got {shown(subfolder)}"
        )
    if variant is not None and not (isinstance(variant, str) and re.fullmatch(NAME, variant)):
        raise InputError(f"expected variant to be a part of a file's name, such as 'fp16', got {shown(variant)}")
    if not isinstance(revision, str):
        raise InputError(f"expected revision to be a branch, tag or commit, got {shown(revision)}")
    if origin.cache_dir is not None and not isinstance(origin.cache_dir, str | os.PathLike):
        raise InputError(f"expected cache_dir to be a folder, got {shown(origin.cache_dir)}")
    if origin.proxies is not None and not _is_of_texts(origin.proxies):
        raise InputError(
            f"expected proxies to be a dict such as {{'https': 'http://host:8080'}}, got {shown(origin.proxies)}"
        )
    force_download = _flag("force_download", origin.force_download)
    local_files_only = _flag("local_files_only", origin.local_files_only)
    if force_download and local_files_only:
        raise InputError("expected force_download or local_files_only, got both; leave out one of them")
    return origin._replace(
        force_download=force_download,
        local_files_only=local_files_only,
        token=_token(origin.token),
        cache_dir=None if origin.cache_dir is None else os.path.expanduser(os.fsdecode(origin.cache_dir)),
        subfolder="/".join(parts),
        proxies=dict(origin.proxies) if origin.proxies else None,
    )


def _flag(name: str, value: Any) -> bool:
    """Return what stands for yes or no; a text such as "False" would be taken for yes."""
    is_flag = isinstance(value, int) or type(value).__name__ in ("bool", "bool_")  # NumPy's are not loaded to ask
    if is_flag and value in (0, 1):
        return bool(value)
    raise InputError(f"expected {name} to be True or False, got {shown(value)}")


def _token(token: Any) -> str | bool | None:
    """Return a token without what a file has around it. No message shows one."""
    if token is None or isinstance(token, bool):
        return token
    if isinstance(token, str) and token.strip().isprintable():
        return token.strip()
    kind = "one with line breaks or the like in it" if isinstance(token, str) else type(token).__name__
    raise InputError(f"expected token to be a text such as 'hf_...', True or False, got {kind}")


def _is_of_texts(proxies: Any) -> bool:
    """Tell whether proxies are texts by texts, as the environment can hold them."""
    if not isinstance(proxies, Mapping):
        return False
    return all(isinstance(text, str) and text.isprintable() for text in (*proxies, *proxies.values()))


def device_of(device_map: Any) -> Any:
    """Return the device that a device map names for the whole model; None if it leaves it open.

    A map that spreads a model over several is an `InputError`.
    """
    if not isinstance(device_map, Mapping):
        return None if isinstance(device_map, str) and device_map in LEFT_OPEN else device_map
    devices: list[Any] = []
    for device in device_map.values():
        if device not in devices:
            devices.append(device)
    if len(devices) > 1:
        raise InputError(
            f"expected device_map to name one device, got {shown(devices)}; a model lies on one here: device_map='auto'"
        )
    return devices[0] if devices else None


def refuse_unknown(names: Collection[str], known: Collection[str], maker: str, what: str) -> None:
    """Raise an `InputError` for the first of some names that is no loading argument and not among the `known` ones.

    `maker` is called with it, and `what` says which the known ones are.
    """
    for name in names:
        if name not in known:
            near = meant(name, sorted({*known, *Origin._fields, *OLDER_NAMES, *WITHOUT_EFFECT, "device_map"}))
            raise InputError(
                f"{maker}: unknown argument {quoted(name)}; expected one of loading, such as revision, or {what}{near}"
            )
