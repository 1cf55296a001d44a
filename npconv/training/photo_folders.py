"""Folders of classes: which class and which part a photo is of, by the folders that it lies in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from npconv.errors import ImageError, InputError
from npconv.images.folder import pictures_in
from npconv.messages import escape, quoted
from npconv.training.photo_lists import ALL, PARTS, Entry, PhotoList
from npconv.training.problems import Problem, counted


def list_folder(folder: str) -> PhotoList:
    """Return the photos of a folder of classes; links to folders in it are followed, those in such a folder are not.

    Raises
    ------
    InputError
        If it cannot be read, or there are no folders of classes in it.
    """
    folders = _folders_in(folder)
    links = [path for path in (os.path.join(folder, name) for name in folders) if os.path.islink(path)]
    names: list[str] = []
    others = 0
    for place in (folder, *links):
        try:
            pictures, rest = pictures_in(place)
        except ImageError as error:
            raise InputError(str(error)) from error
        names += (_below(folder, picture) for picture in pictures)
        others += rest
    del pictures  # of many photos, what is as long as all of them is kept once
    photos = PhotoList()
    add_layout(photos, folder, names, folders)
    if others:
        photos.problems.append(Problem("not_pictures", folder, counted(others, "file", "files")))
    return photos


def add_layout(photos: PhotoList, root: str, names: list[str], folders: Iterable[str]) -> None:
    """Add photos by their names below a root, with forward slashes, and the folders that have none.

    ``class/photo.jpg``, also deeper, or the folders of the classes in folders that are named as `PARTS`. A folder that
    holds nothing but one other around these does not matter.
    """
    if not names:
        raise InputError(f"{escape(root)}: expected photos in a folder for each class, such as cat/1.jpg; found none")
    outer = _outer_folder(names)
    has_parts = _has_parts(root, (name.removeprefix(outer) for name in names))
    depth = 1 if has_parts else 0
    labels: dict[str, tuple[str]] = {}
    for name in names:
        above = name.removeprefix(outer).split("/")[:-1]
        file = os.path.join(root, name.replace("/", os.sep))
        if len(above) <= depth:
            photos.problems.append(Problem("no_class", file))
        else:
            label = labels.setdefault(above[depth], (above[depth],))
            photos.entries.append(Entry(file, PARTS[above[0].lower()] if has_parts else ALL, label))
    if not photos.entries:
        raise InputError(
            f"{escape(root)}: expected photos in a folder for each class, such as cat/1.jpg; found "
            f"{counted(len(names), 'photo', 'photos')} in no such folder"
        )
    _add_empty(photos, [name.removeprefix(outer) for name in folders if name.startswith(outer)], depth)


def _outer_folder(names: list[str]) -> str:
    """Return the folders, with a slash, that lie around those of parts and classes: most photos lie deeper."""
    outer = ""
    while True:
        inside = _first_folders(name.removeprefix(outer) for name in names)
        around = {first for first, _ in inside}
        deeper = sum(count for (_, is_last), count in inside.items() if not is_last)
        if len(around) != 1 or {name.lower() for name in around} & PARTS.keys() or deeper * 2 < inside.total():
            return outer
        outer += f"{around.pop()}/"


def _first_folders(names: Iterable[str]) -> Counter[tuple[str, bool]]:
    """Return how many photos lie in which first folder, and whether right in it."""
    inside = (name for name in names if "/" in name)
    return Counter((name.partition("/")[0], name.count("/") == 1) for name in inside)


def _has_parts(root: str, names: Iterable[str]) -> bool:
    """Tell whether the first folders are those of parts; an InputError if only some of them are."""
    inside = _first_folders(names)
    named = {first for first, _ in inside if first.lower() in PARTS}
    directly, deeper = (sum(inside[first, is_last] for first in named) for is_last in (True, False))
    if directly > deeper or not named:
        return False  # no such names, or a class that is called so: most photos lie right in it
    others = {first for first, _ in inside} - named
    if others:
        raise InputError(
            f"{escape(root)}: expected every class in the folders of parts, as in {quoted(min(named))}; got "
            f"{quoted(min(others))} beside it; move it, or give one of the folders"
        )
    return True


def _folders_in(folder: str) -> list[str]:
    """Return the folders in a folder that are not hidden, with forward slashes."""
    found = []
    for path, inside, _ in os.walk(folder):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        found += [_below(folder, os.path.join(path, name)) for name in inside]
    return found


def _below(folder: str, path: str) -> str:
    """Return a path in a folder as it goes on from there, with forward slashes."""
    return path[len(os.path.join(folder, "")) :].replace(os.sep, "/")


def _add_empty(photos: PhotoList, folders: Iterable[str], depth: int) -> None:
    """Say which folders of classes hold no photo."""
    there = {(entry.part, entry.labels[0]) for entry in photos.entries}
    for folder in folders:
        parts = folder.split("/")
        part = PARTS.get(parts[0].lower(), ALL) if depth else ALL
        if len(parts) == depth + 1 and (part, parts[-1]) not in there:
            photos.problems.append(Problem("empty_class", folder))
