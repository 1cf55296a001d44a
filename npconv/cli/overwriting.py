"""What a command may write over: nothing, and the file of an earlier run of it."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from npconv.errors import InputError, NpconvError
from npconv.messages import escape

#: How a path ends that can only be that of a folder.
_OF_A_FOLDER = r"(^|[/\\])\.{0,2}$" if os.name == "nt" else r"(^|/)\.{0,2}$"


def check_output(
    path: str,
    is_own: Callable[[Path], bool],
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    force: bool = False,
    option: str = "--output",
    streams: bool = False,
) -> None:
    """Refuse, before anything is computed, an output that would cost something.

    A folder is refused, and one of the `inputs`, by whatever name, or a file in one that is a folder; without `force`,
    so is a file that is not of an earlier run, by what `is_own` says of what is in it, unless it is empty. A device or
    a pipe is good for an output that `streams`.
    """
    name = escape(path)
    if not path:
        raise InputError(f"expected the name of a file for {option}, got an empty text")
    if os.path.isdir(path) or re.search(_OF_A_FOLDER, path):
        raise InputError(f"{name}: cannot be written: it is a folder; give the name of a file to {option}")
    if not os.path.exists(path):
        path = os.path.realpath(path)  # "x/../photo.jpg" is found here, and only here if there is no folder x
    if not os.path.exists(path):
        return
    if not os.path.isfile(path):
        if streams:
            return
        raise InputError(f"{name}: cannot be written: it is a device or a pipe; give the name of a file to {option}")
    if any(_is_same(path, given) for given in inputs):
        raise InputError(f"{name}: is read by the same call, so it is not written over; give another {option}")
    try:
        is_read = any(_is_in(path, given) for given in inputs)
        if os.path.getsize(path) == 0 or (force and not is_read) or is_own(Path(path)):
            return
    except (NpconvError, ValueError):  # nothing that this command writes; first, as some of them are an OSError too
        pass
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); give another {option}") from error
    if is_read:
        found = "is in a folder that the same call reads"
        raise InputError(f"{name}: {found}, so it is not written over; give another {option}")
    found = "is a picture" if _is_picture(path) else "was not written by this command"
    raise InputError(f"{name}: {found}, so it is not written over; give another {option}, or --force replaces it")


def _is_same(path: str, other: str | os.PathLike[str]) -> bool:
    """Tell whether two names are of one file."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):  # an input that is not there is told by whoever reads it
        return False


def _is_in(path: str, folder: str | os.PathLike[str]) -> bool:
    """Tell whether a file is in a folder."""
    return os.path.isdir(folder) and _is_same(os.path.dirname(os.path.realpath(path)), folder)


def _is_picture(path: str) -> bool:
    """Tell whether a file begins as a picture does."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path):
                return True
        except Exception:
            return False
