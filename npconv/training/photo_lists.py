"""A list of labelled photos as a folder, an archive or a table gives it, before labels become numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from npconv.training.problems import Problem

#: What a folder with this name holds, in lower case -> the part.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

#: The part of photos that are not divided.
ALL = "all"


class Entry(NamedTuple):
    """One photo: its file, its part, and its labels: names of classes, or the numbers of a regression."""

    file: str
    part: str
    labels: tuple[str, ...] | tuple[float, ...]


@dataclass
class PhotoList:
    """Photos in the order in which they were found, and what is wrong.

    `classes` are named where a list knows them without its photos. `fingerprint` returns what two files of the same
    content share, sooner than all of their bytes are read; `read` returns these.
    """

    fingerprint: Callable[[str], tuple[int, ...]]
    read: Callable[[str], bytes]
    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    problem_type: str = "single_label_classification"
