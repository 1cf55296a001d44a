"""Models of the Hugging Face hub: from the local cache, downloaded once, converted once where no safetensors are.

Nothing that a server or a cache says leads to another place: only files with the fixed names of a model are fetched,
and no code of a repository is ever run. What has been downloaded must have the hash that the hub announced.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import warnings
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from npconv.errors import ModelNotFoundError, NpconvError, NpconvWarning, WeightsError, WeightsNotFoundError
from npconv.files import locks
from npconv.files.checkpoint import INDEX_FILE, SINGLE_FILE, read_weight_map
from npconv.files.disk import SUFFIX, embedded_list, hash_file, read_json
from npconv.files.loading_arguments import NAME, Origin
from npconv.hub.catalogue import suggestion
from npconv.hub.proxies import through_proxies
from npconv.messages import listed, quoted
from npconv.models import FAMILIES
from npconv.models.configuration import LARGEST_CONFIG_FILE
from npconv.models.naming import GUESS, WARNING

CONFIG = "config.json"

#: Fetched before the weights, so that a folder with weights has them.
SMALL_FILES = ("preprocessor_config.json", "processor_config.json", "open_clip_config.json")

#: What weights are called, the form to take first: of the others nothing is fetched. Only the first two have variants.
WEIGHTS = (
    (SINGLE_FILE,),
    (INDEX_FILE, r"model-\d{5}-of-\d{5}\.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", r"pytorch_model-\d{5}-of-\d{5}\.bin"),
    ("tf_model.h5",),
)

_REVISION = re.compile(f"{NAME}(?:/{NAME}){{0,3}}")
_COMMIT = re.compile(r"[0-9A-Za-z]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

#: What huggingface_hub's errors mean, the most particular class first.
_REASONS = {
    "GatedRepoError": "its owner gives it only to accounts that asked; log in with 'hf auth login', or give a token",
    "RepositoryNotFoundError": "the hub has no such repository, or it is private",
    "RevisionNotFoundError": "the repository has no such revision",
    "RemoteEntryNotFoundError": "the repository has no file config.json",
}


def hub_cache() -> Path:
    """Return the folder in which Hugging Face libraries keep what they have downloaded."""
    environment = os.environ
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(variable):
            return Path(os.path.expanduser(environment[variable]))
    home = environment.get("HF_HOME") or os.path.join(_caches(), "huggingface")
    return Path(os.path.expanduser(home)) / "hub"


def own_cache() -> Path:
    """Return the folder in which npconv keeps the models that it has converted, and features of photos."""
    return Path(os.path.expanduser(os.environ.get("NPCONV_CACHE") or os.path.join(_caches(), "npconv")))


def _caches() -> str:
    """Return the folder for all programs' caches."""
    return os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")


def hub_model(hub_id: str, origin: Origin) -> Path:
    """Return the folder of a hub model, or the file of a variant; its id is ``organisation/name``, says the caller.

    Raises
    ------
    ModelNotFoundError
        If it is not in the cache and cannot be downloaded.
    WeightsError
        If what came is damaged, or cannot be converted.
    """
    revision = origin.revision
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ModelNotFoundError(f"expected a branch, tag or commit as revision, got {quoted(revision)}")
    cache = hub_cache() if origin.cache_dir is None else Path(origin.cache_dir)
    snapshot = None if origin.force_download else cached_snapshot(cache, hub_id, revision)
    found = snapshot and _ready(snapshot, hub_id, origin)
    if found:
        return found
    tried = (
        f"no embedded model ({embedded_list()}), no folder, and revision {quoted(revision)} with {_wanted(origin)} is "
        f"not in the Hugging Face cache {quoted(cache)}"
    )
    if forbidden := _what_forbids(origin):
        raise ModelNotFoundError(
            f"no model {quoted(hub_id)}: {tried}; {forbidden} forbids to download it{suggestion(hub_id)}"
        )
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ModelNotFoundError(
            f"no model {quoted(hub_id)}: {tried}; to download it: pip install huggingface_hub{suggestion(hub_id)}"
        ) from error
    try:
        snapshot = _download(hub, hub_id, origin, cache)
    except NpconvError:
        raise
    except Exception as error:  # its errors, those of its HTTP library and the system's have no common class
        raise ModelNotFoundError(
            f"no model {quoted(hub_id)}: {tried}; the download failed: {_reason(error)}{suggestion(hub_id)}"
        ) from error
    found = _ready(snapshot, hub_id, origin)
    if not found:
        raise WeightsError(f"{hub_id}: the download lacks shards that its index names; try again")
    return found


def _what_forbids(origin: Origin) -> str:
    """Return what forbids to ask the network; nothing if it is allowed."""
    if origin.local_files_only:
        return "local_files_only"
    is_offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return "HF_HUB_OFFLINE" if is_offline else ""


def _wanted(origin: Origin) -> str:
    """Return which files of a repository are looked for."""
    files = f"{SUFFIX} files" if origin.variant is None else forms(origin.variant)[0][0]
    return f"{files} in {quoted(origin.subfolder)}" if origin.subfolder else files


def forms(variant: str | None) -> tuple[tuple[str, ...], ...]:
    """Return what weights are called, the form to take first; ``"fp16"`` for ``model.fp16.safetensors``."""
    if variant is None:
        return WEIGHTS
    index = INDEX_FILE.replace(".json", f".{variant}.json")
    shards = rf"model\.{re.escape(variant)}-\d{{5}}-of-\d{{5}}\.safetensors"
    return ((f"model.{variant}{SUFFIX}",), (index, shards))


def _reason(error: Exception) -> str:
    """Return why a download failed, on one line."""
    for kind in type(error).__mro__:
        if kind.__name__ in _REASONS:
            return _REASONS[kind.__name__]
        if kind.__name__ == "LocalEntryNotFoundError" and isinstance(error.__cause__, Exception):
            return f"the hub cannot be reached: {_reason(error.__cause__)}"
    return quoted(" ".join(str(error).split()) or type(error).__name__)


def cached_snapshot(cache: Path, hub_id: str, revision: str) -> Path | None:
    """Return the folder of one revision in the cache: ``models--org--name/snapshots/<commit>``."""
    folder = cache / f"models--{hub_id.replace('/', '--')}"
    try:
        with (folder / "refs" / revision).open(encoding="ascii") as file:
            commit = file.read(100).strip()
    except (OSError, ValueError):
        commit = revision
    snapshot = folder / "snapshots" / commit
    # os.path, as Path.is_dir raises an error for a name that is too long.
    return snapshot if _COMMIT.fullmatch(commit) and os.path.isdir(snapshot) else None


def _ready(snapshot: Path, hub_id: str, origin: Origin) -> Path | None:
    """Return what to load: a folder of the snapshot, or what was made or can be made of its weights; None without any.

    A snapshot that another program has left incomplete counts as having none.
    """
    folder = snapshot / origin.subfolder
    if not (folder / CONFIG).is_file():
        return None
    form = next((form for form in forms(origin.variant) if _is_complete(folder, form)), None)
    if form is None:
        return None
    if origin.variant is not None:
        return folder / form[0]
    if form in WEIGHTS[:2] and not _is_of_timm(folder):
        return folder
    made = "--".join([snapshot.name, *filter(None, origin.subfolder.split("/"))])
    return _converted(folder, hub_id, own_cache() / "converted" / hub_id.replace("/", "--") / made, hub_id)


def _is_of_timm(snapshot: Path) -> bool:
    """Say whether ``config.json`` is timm's, so that the names of the tensors are, too."""
    try:
        fields = read_json(snapshot / CONFIG, most=LARGEST_CONFIG_FILE, exact=True)
    except WeightsError:
        return False  # what is wrong with it is said when it is loaded
    if not isinstance(fields, dict) or fields.get("model_type") in list(FAMILIES):  # which may be of any type
        return False
    from npconv.convert.stated import is_of_timm  # only here: most models need none of it

    return is_of_timm(fields)


def local_model(folder: Path, variant: str | None = None) -> Path:
    """Return what to load of a model that lies in a folder: itself, what its weights were converted into, a variant.

    They are converted anew when one of the files has changed.

    Raises
    ------
    WeightsError
        If they cannot be converted, or there is no such variant.
    """
    form = next((form for form in forms(variant) if _is_complete(folder, form)), None)
    if variant is not None:
        if form is None:
            raise WeightsNotFoundError(_lacking(quoted(folder), "folder", variant, os.listdir(folder)))
        return folder / form[0]
    if form is None or not (folder / CONFIG).is_file() or (form in WEIGHTS[:2] and not _is_of_timm(folder)):
        return folder
    state = [os.path.realpath(folder)]
    for name in sorted(os.listdir(folder)):
        if name in (CONFIG, *SMALL_FILES, form[0]) or (len(form) > 1 and re.fullmatch(form[1], name)):
            facts = os.stat(folder / name)
            state.append(f"{name} {facts.st_size} {facts.st_mtime_ns}")
    key = hashlib.sha256("\n".join(state).encode("utf-8", "surrogateescape")).hexdigest()
    return _converted(folder, quoted(folder), own_cache() / "converted" / "local" / key[:32], "")


def _is_complete(folder: Path, form: tuple[str, ...]) -> bool:
    """Say whether all files of some weights are there."""
    if not (folder / form[0]).is_file():
        return False
    if len(form) == 1:
        return True
    try:
        return all((folder / name).is_file() for name in read_weight_map(folder / form[0]).values())
    except WeightsError:
        return True  # what is wrong with the index is said when it is loaded


def _download(hub: Any, hub_id: str, origin: Origin, cache: Path) -> Path:
    """Fetch a model's files into the cache and return the folder of their commit there."""
    access = {} if origin.token is None else {"token": origin.token}
    options = {"cache_dir": str(cache), **access, **({"force_download": True} if origin.force_download else {})}
    inside = f"{origin.subfolder}/" if origin.subfolder else ""

    def fetch(name: str, commit: str) -> Path:
        return Path(hub.hf_hub_download(hub_id, f"{inside}{name}", revision=commit, **options))

    with through_proxies(hub, origin.proxies):
        # By its name once, which notes what commit that is; then all of the same commit.
        snapshot = fetch(CONFIG, origin.revision).parents[inside.count("/")]
        commit = snapshot.name
        there = [str(name) for name in hub.HfApi(**access).list_repo_files(hub_id, revision=commit)]
        offered = [name.removeprefix(inside) for name in there if name.startswith(inside)]
        wanted = _weight_files(hub_id, offered, origin.variant)
        for name in [name for name in SMALL_FILES if name in offered] + wanted:
            path = fetch(name, commit)
            if name in wanted:
                _check_hash(path, hub_id)
    return snapshot


def _weight_files(hub_id: str, offered: list[str], variant: str | None) -> list[str]:
    """Return the files to fetch out of those that a repository has."""
    for form in forms(variant):
        if form[0] in offered:
            shards = [name for name in offered if len(form) > 1 and re.fullmatch(form[1], name)]
            return [form[0], *sorted(shards)]
    raise ModelNotFoundError(_lacking(hub_id, "repository", variant, offered))


def _lacking(where: str, holder: str, variant: str | None, there: Collection[str]) -> str:
    """Return what is wrong with a folder or repository that has none of the weights that are looked for."""
    names = ", ".join(form[0] for form in forms(variant))
    found = listed([quoted(name) for name in sorted(there)]) or "nothing"
    advice = "" if variant is None else "; leave out variant for its usual weights"
    return f"{where}: expected weights named {names}; the {holder} has {found}{advice}"


def _check_hash(path: Path, hub_id: str) -> None:
    """Refuse and remove a file that is not what the hub announced; its client compares no more than the size.

    In the cache a large file is a link to one that has its SHA-256 as name. Where the system has no links, or the file
    is a small one that has another name, there is nothing to compare with.
    """
    blob = path.resolve()
    if not _SHA256.fullmatch(blob.name):
        return
    digest = hash_file(blob)
    if digest != blob.name:
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise WeightsError(
            f"{hub_id}: {path.name} arrived damaged: SHA-256 {digest[:12]}..., expected "
            f"{blob.name[:12]}...; it was removed, try again"
        )


def _converted(snapshot: Path, hub_id: str, directory: Path, name: str) -> Path:
    """Return the folder with what a snapshot's weights are as safetensors; made at the first call."""
    if _is_converted(directory):
        return directory
    with ExitStack() as held:
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            # Not by the folder's own name: a claim of a folder lies in it, and this one may be thrown away.
            claim = directory.with_name(f"{directory.name}.converting")
            staging = held.enter_context(locks.staged(claim, wait=True))
        except (OSError, WeightsError) as error:
            raise WeightsError(
                f"{hub_id} has no {SUFFIX} file and must be converted, but npconv cannot write its cache "
                f"{quoted(directory.parent)}: {getattr(error, 'strerror', None) or error}; set NPCONV_CACHE to another "
                "folder"
            ) from error
        try:
            if not _is_converted(directory):  # by another process, meanwhile
                _convert(snapshot, hub_id, name, staging / "model", directory)
        except NpconvError as error:  # first, as a missing file is an OSError too
            raise WeightsError(f"{hub_id}: its weights cannot be converted: {error}") from error
        except OSError as error:
            raise WeightsError(f"cannot write {quoted(directory)}: {locks.why_not_written(error)}") from error
    return directory


def _convert(snapshot: Path, hub_id: str, name: str, made: Path, directory: Path) -> None:
    """Convert what a snapshot holds, and give it its place in one step."""
    from npconv.convert import convert  # only here: most models need none of it

    why = "is in the form of timm" if _is_of_timm(snapshot) else f"has no {SUFFIX} file"
    message = f"{hub_id} {why}: converting it, once, into {quoted(directory)}"
    warnings.warn(message, NpconvWarning, stacklevel=3)
    done = convert(snapshot, made, name=name)
    for decision in done.decisions:
        if decision.level in (WARNING, GUESS):
            warnings.warn(f"{hub_id}: {decision}", NpconvWarning, stacklevel=3)
    if _is_converted(directory):  # by another process after all, on a disk without locks
        return
    if os.path.lexists(directory):  # someone removed a part of it
        shutil.rmtree(directory)
    os.rename(made, directory)


def _is_converted(directory: Path) -> bool:
    """Say whether a converted model is there; the folder appears whole, but someone may have removed a part."""
    return (directory / CONFIG).is_file() and any(_is_complete(directory, form) for form in WEIGHTS[:2])
