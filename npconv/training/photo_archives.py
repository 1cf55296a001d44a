"""Folders of classes in a zip file, which is read without unpacking it to a folder.

A photo in it is named by a path that goes on behind the zip file: ``photos.zip/cat/1.jpg``.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from npconv.errors import ImageError, ImageNotFoundError, InputError, WeightsError
from npconv.files.archive import MAGIC, Member, contents, read_members
from npconv.files.disk import map_file
from npconv.images.decode import MAX_BYTES
from npconv.images.folder import SUFFIXES, natural_key
from npconv.messages import escape
from npconv.training.photo_folders import add_layout
from npconv.training.photo_lists import PhotoList
from npconv.training.problems import Problem, counted

#: Photos hardly shrink; drawings do, by so much at most. A bomb grows to a thousand times its size.
MAX_RATIO = 100


def is_archive(path: str) -> bool:
    """Tell whether a file begins as a zip file does."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:  # told by who reads it as a table
        return False


def list_archive(path: str) -> PhotoList:
    """Return the photos of a zip file of folders of classes.

    Raises
    ------
    InputError
        If it is damaged, would unpack to `MAX_RATIO` times its size, has a name that leads out of it, or no photos.
    """
    try:
        members, _ = _opened(*_state(path))
    except WeightsError as error:
        raise InputError(str(error)) from error
    visible = [name for name in members if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))]
    pictures = [name for name in visible if os.path.splitext(name)[1].lower() in SUFFIXES]
    inside = len(os.path.join(path, ""))

    def fingerprint(file: str) -> tuple[int, ...]:
        member = members[file[inside:].replace(os.sep, "/")]
        return member.size, member.checksum

    photos = PhotoList(read=read_member, fingerprint=fingerprint, ending=lambda file: b"")  # the checksum does
    add_layout(photos, path, sorted(pictures, key=_in_order), _folders(visible))
    others = sum(not name.endswith("/") for name in visible) - len(pictures)
    if others:
        photos.problems.append(Problem("not_pictures", path, counted(others, "file", "files")))
    return photos


def archive_of(file: str) -> str | None:
    """Return the zip file that a photo lies in, None for one that is a file itself, or nowhere."""
    above = os.path.dirname(file)
    while above and above != os.path.dirname(above) and not os.path.lexists(above):
        above = os.path.dirname(above)
    return above if not os.path.lexists(file) and os.path.isfile(above) else None


def read_member(file: str) -> bytes:
    """Return the bytes of a photo in a zip file; `ImageError` if they cannot be had, or are more than any photo has."""
    buffer, source, member = _find(file)
    if member.size > MAX_BYTES:
        raise ImageError(f"{escape(file)}: unpacks to more than {MAX_BYTES} bytes; leave it out of the zip file")
    try:
        return bytes(contents(buffer, member, source))
    except WeightsError as error:
        raise ImageError(f"{escape(file)}: {error}") from error


def _find(file: str) -> tuple[memoryview, str, Member]:
    """Return the bytes of a zip file, what errors call it, and a member by the path that leads through both."""
    path = archive_of(file)
    if path is None:
        raise ImageNotFoundError(f"{escape(file)}: there is no such file, nor in a zip file; check the path")
    try:
        members, buffer = _opened(*_state(path))
    except WeightsError as error:
        raise ImageError(str(error)) from error
    name = file[len(os.path.join(path, "")) :].replace(os.sep, "/")
    if name not in members:
        raise ImageNotFoundError(f"{escape(file)}: the zip file has no {escape(name)}; was it written anew?")
    return buffer, escape(path), members[name]


def _state(path: str) -> tuple[str, int, int]:
    """Return a path with what changes when its file does."""
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=2)
def _opened(path: str, *_: int) -> tuple[dict[str, Member], memoryview]:
    """Return the members of a zip file and its bytes, mapped."""
    buffer = map_file(path)
    return read_members(buffer, escape(path), ratio=MAX_RATIO), buffer


def _folders(names: list[str]) -> list[str]:
    """Return the folders that members are in, or that are members, each once."""
    found = {name.rpartition("/")[0] for name in names}
    for folder in list(found):
        while folder := folder.rpartition("/")[0]:
            found.add(folder)
    return sorted(found - {""})


def _in_order(name: str) -> tuple[Any, ...]:
    """Return by what members are sorted: as people count, the folder first."""
    folder, _, file = name.rpartition("/")
    return _folder_in_order(folder), natural_key(file)


@lru_cache
def _folder_in_order(folder: str) -> list[Any]:
    return [natural_key(part) for part in folder.split("/")]
