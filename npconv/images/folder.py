"""The pictures in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from npconv.errors import ImageError, ImageNotFoundError, InputError
from npconv.images.pillow import one_line

#: How the names of pictures end; whatever is in such a file, it was meant as one.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".avifs", ".heic", ".heif")
) | {".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}


def pictures_in(folder: str | os.PathLike[str]) -> tuple[list[str], int]:
    """Return the paths of the pictures in a folder and in those below it, and how many other files there are.

    A picture is what is named like one, or begins like one of the formats that are read. They come in natural order
    (``2.jpg`` before ``10.jpg``), the files of a folder before those of the folders in it. What is hidden (``.name``)
    is neither taken nor counted, links to files are followed, links to folders are not. A folder that cannot be read
    is an `ImageError`.
    """
    if not isinstance(folder, str | os.PathLike):
        raise InputError(f"expected the path of a folder, got {type(folder).__name__}")
    pictures, others = [], 0
    for path in _files_in(os.fspath(folder)):
        if is_picture(path):
            pictures.append(path)
        else:
            others += 1
    return pictures, others


def natural_key(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Return by what names of files are sorted as people count: numbers in them by their value, the ending last."""
    parts = re.findall(r"[0-9]+|[^0-9]+", os.path.splitext(name.casefold())[0])
    # More digits are a number that Python refuses to read.
    return [(False, int(part[:300]), "") if part[0] in "0123456789" else (True, 0, part) for part in parts], name


def _files_in(folder: str) -> Iterator[str]:
    """Yield the files in a folder and those below it, but for the hidden ones."""
    try:
        with os.scandir(folder) as entries:
            visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: natural_key(e.name))
    except OSError as error:
        kind = ImageNotFoundError if isinstance(error, FileNotFoundError) else ImageError
        raise kind(f"{one_line(folder)}: cannot be opened ({error.strerror}); check the path") from error
    yield from (entry.path for entry in visible if not entry.is_dir())
    for entry in visible:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_in(entry.path)


def is_picture(path: str) -> bool:
    """Tell whether a file is named like a picture or begins like one; a pipe or device is none."""
    from npconv.images.decode import looks_like_picture

    if os.path.splitext(path)[1].lower() in SUFFIXES:
        return True
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return looks_like_picture(file.read(16))
    except OSError:
        return False
