"""The photos of a call: where their bytes come from, what becomes of them, and what is said of one that fails."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from npconv.cli.output import write
from npconv.errors import ImageError, InputError
from npconv.messages import escape, why_failed
from npconv.workers.batches import Work

#: What errors call a picture from standard input.
STANDARD_INPUT_NAMES = ("<stdin>", "the picture")


class Photo(NamedTuple):
    """A photo, such that any process can read it."""

    name: str  #: as it was typed
    path: str  #: where the file is
    content: bytes | None = None  #: of standard input, in place of a file


class Result(NamedTuple):
    """What became of one photo: a `value`, or an `error` if there is none."""

    file: str
    value: Any = ()
    error: str | None = None


class PhotoWork(Work[Photo, Result]):
    """Photos to the results of a pipeline; one that fails becomes a result with the reason.

    `options` are those of the pipeline's ``run``. With `debug` the tracebacks of failures go to stderr, and
    `max_memory` is what reading a photo may take, in bytes.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        options: Mapping[str, Any],
        debug: bool = False,
        max_memory: int | None = None,
    ) -> None:
        super().__init__(load)
        self.options, self.debug, self.max_memory = options, debug, max_memory

    def prepare(self, tool: Any, item: Photo) -> Any:
        """Return the pixel values of a photo."""
        given = {} if self.max_memory is None else {"max_memory": self.max_memory}
        return tool.prepare(source_of(item), **given)

    def run(self, tool: Any, items: Sequence[Photo], arrays: Sequence[Any]) -> list[Result]:
        """Return the results of photos, given their pixel values."""
        import numpy as np

        with np.errstate(over="ignore", invalid="ignore"):  # what comes out as no numbers is reported below
            values = tool.run(arrays, **self.options)
        checked = ((photo, value, tool.flaw(value, "--dtype ")) for photo, value in zip(items, values, strict=True))
        return [Result(photo.name, () if flaw else value, flaw or None) for photo, value, flaw in checked]

    def failed(self, item: Photo, error: Exception) -> Result:
        """Return the result of a photo that failed."""
        return Result(item.name, error=reason_of(error, item, self.debug))


def list_photos(command: str, names: Iterable[str], *, one: bool = False) -> list[str]:
    """Return the photos of a call, with the pictures in a folder in its place; say on stderr what is left out of it.

    Hidden files and folders are left out without a word. A folder without a picture stays what it is: a photo that
    cannot be read, which stops no other. Where `one` is wanted, several are an `InputError`.
    """
    from npconv.images.folder import pictures_in

    photos: list[str] = []
    for name in names:
        pictures, others = [name], 0
        if name != "-" and os.path.isdir(name):
            with suppress(ImageError):
                pictures, others = pictures_in(name)
        if one and len(pictures) > 1:
            raise InputError(
                f"{escape(name)}: expected one picture, found {len(pictures)} in this folder; give one of them"
            )
        if pictures and others:
            kept = f"{len(pictures)} pictures" if len(pictures) > 1 else "1 picture"
            line = f"npconv {command}: {escape(name)}: {kept}; {_files(others)} left out, not pictures\n"
            write(sys.stderr, line, flush=True)
        photos += pictures or [name]
    return photos


def _files(count: int) -> str:
    """Return a number of files in words."""
    return f"{count} file" if count == 1 else f"{count} files"


def read_photos(names: Iterable[str], *, absolute: bool = False) -> Iterator[Photo]:
    """Yield the photos of a call by their paths; standard input, ``"-"``, is read when it is reached.

    With `absolute`, paths start at the root, for processes that work in another folder.
    """
    for name in names:
        if name == "-":
            yield Photo(name, name, _standard_input())
        else:
            is_path = not name.startswith(("data:image/", "http://", "https://"))
            yield Photo(name, os.path.abspath(name) if absolute and is_path else name)


def _standard_input() -> bytes | None:
    """Return what standard input holds, up to a byte more than any picture may have; None if it is closed."""
    if sys.stdin is None:
        return None
    from npconv.images.decode import MAX_BYTES

    return sys.stdin.buffer.read(MAX_BYTES + 1)


def source_of(photo: Photo) -> Any:
    """Return what to read a photo from.

    No standard input is an `InputError`, a folder an `ImageError` that says why no pictures of it are read.
    """
    if photo.name == "-":
        if photo.content is None:
            raise InputError("standard input is closed; give the path of a picture")
        return io.BytesIO(photo.content)
    if os.path.isdir(photo.path):
        from npconv.images.folder import pictures_in

        pictures, others = pictures_in(photo.path)
        found = f"{len(pictures)} since the work began" if pictures else f"{_files(others)}, none of them one"
        raise ImageError(f"expected pictures in this folder, found {found}; give another folder, or files")
    return photo.path


def reason_of(error: Exception, photo: Photo, debug: bool) -> str:
    """Return why a photo failed, on one line and without its name; with `debug`, write the traceback to stderr."""
    if debug:
        write(sys.stderr, "".join(traceback.format_exception(error)), flush=True)
    names = STANDARD_INPUT_NAMES if photo.name == "-" else (escape(photo.path), escape(photo.name))
    return why_failed(error, *names, hint="" if debug else "; --debug shows where")
