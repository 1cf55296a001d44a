"""A list of labelled photos as a folder, an archive or a table gives it, before labels become numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from npconv.images.decode import read_picture_file
from npconv.training.problems import Problem

#: What a folder with this name holds, in lower case -> the part.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

#: The part of photos that are not divided.
ALL = "all"

#: How many bytes at the end of a file are looked at: the last of its pixels, in every format.
ENDING = 64

#: A pipe is not waited for.
_FLAGS = sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK"))


class Entry(NamedTuple):
    """One photo: its file, its part, and its labels: names of classes, or the numbers of a regression."""

    file: str
    part: str
    labels: tuple[str, ...] | tuple[float, ...]


def size_of(file: str) -> tuple[int, ...]:
    """Return the size of a file, as a fingerprint; that of one that cannot be looked at is empty."""
    try:
        return (os.path.getsize(file),)
    except OSError:
        return ()


def ending_of(file: str) -> bytes:
    """Return the last bytes of a file, which tell most photos of one size apart; none of one that cannot be read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | _FLAGS)
        try:
            os.lseek(descriptor, -min(ENDING, os.fstat(descriptor).st_size), os.SEEK_END)
            return os.read(descriptor, ENDING)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return b""


@dataclass
class PhotoList:
    """Photos in the order in which they were found, and what is wrong.

    `classes` are named where a list knows them without its photos. `read` returns the bytes of a photo, `fingerprint`
    what those of the same bytes share, without reading them, and `ending` more of that, by a look into the file.
    """

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    problem_type: str = "single_label_classification"
    read: Callable[[str], bytes] = read_picture_file
    fingerprint: Callable[[str], tuple[int, ...]] = size_of
    ending: Callable[[str], bytes] = ending_of
