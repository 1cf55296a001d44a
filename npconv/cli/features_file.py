"""Features on their way into a safetensors file, of which the size is known only when all photos are done.

Until then they are in a folder beside it, ``out.safetensors.part``: a file for each feature, to which the array of each
photo is appended, and then a line about the photo in ``photos.jsonl``. Whatever ends the run, the lines that are whole
say what is there, and the next run goes on from them. At the end the arrays are copied into the safetensors file, which
appears whole; memory stays flat, because they are mapped and not read.

Who writes holds the lock of ``photos.jsonl``. A folder of that name without such a file is not ours, and in ours no
other file is touched.
"""

from __future__ import annotations

import json
import math
import operator
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from npconv.cli.formats import Earlier
from npconv.cli.photos import Result
from npconv.errors import InputError, NpconvError, WeightsError
from npconv.files.locks import busy, open_locked, release, sweep, unlink_locked, why_not_written
from npconv.files.safetensors import load_file, read_metadata, save_file
from npconv.messages import escape

LOG = "photos.jsonl"

#: How a log begins, and the most that its first line can have.
_BEGINNING = b'{"model": '
_LONGEST = 100_000

#: The most axes of what belongs to a photo.
_AXES = 3

_RAW = re.compile(r"(stem|stage\d{1,9}|pooled)\.raw")

_GOES_ON = "what is done stays, and the same call with --resume goes on from there"


_NOT_OURS = "beside it was not made by npconv features; move it, or give another --output"


def is_features(path: Path) -> bool:
    """Tell whether `npconv features` wrote a file."""
    return {"model", "dtype", "features", "files", "failed"} <= read_metadata(path).keys()


class FeaturesFile:
    """The features of photos, as they come and as they were left by an earlier run.

    To go on with it (`resume`), what is said `about` it must be the same: model, dtype and features. Otherwise it is
    thrown away. Files of another run, or that cannot be read or written, or that another process writes, are an
    `InputError`.
    """

    def __init__(self, path: str, about: Mapping[str, str], *, resume: bool) -> None:
        self.path = Path(path)
        self.folder = Path(f"{path}.part")
        self.about = dict(about)
        self.shapes: dict[str, list[int]] = {}
        self.dtype = np.dtype(about["dtype"])
        self.done: list[str] = []
        self.failed: list[dict[str, str]] = []
        self._files: dict[str, FileIO] = {}  # by the name of the feature
        self._log: FileIO | None = None
        self._is_worth_keeping = False
        try:
            self._begin(resume)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # of broken lines
            self.close()
            raise self._error(error) from error

    def _begin(self, resume: bool) -> None:
        """Find out what is there, and open the files."""
        earlier: list[Result] = []
        self._log = self._lock_folder()
        sweep(self.path.parent)
        self._is_worth_keeping = os.fstat(self._log.fileno()).st_size > 0
        size = self._read_log(self._log) if resume else 0
        if size == 0:
            earlier = self._unpacked() if resume and self.path.exists() else []
            self._is_worth_keeping = False
            self._clear(self._log)
        self._log.truncate(size)
        self._log.seek(size)
        for name in self.shapes:
            self._open(name)
        if size == 0:
            self._write_line(self.about)
            for result in earlier:
                self.add(result)
            self._is_worth_keeping = False

    def _lock_folder(self) -> FileIO:
        """Make the folder if it is not there, and lock its log."""
        while True:
            if os.path.lexists(self.folder) and not self._is_own():
                raise InputError(f"{escape(str(self.path))}: {escape(self.folder.name)} {_NOT_OURS}")
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                return open_locked(self.folder / LOG)
            except InputError:
                raise busy(self.path) from None
            except FileNotFoundError:  # who wrote it has just finished
                if not self.folder.parent.is_dir():
                    raise

    def _is_own(self) -> bool:
        """Tell whether a run of this command made the folder: it is empty, or its log begins as it should."""
        if self.folder.is_symlink() or not self.folder.is_dir():
            return False
        try:
            with open(self.folder / LOG, "rb") as file:
                line = file.readline(_LONGEST)
        except FileNotFoundError:
            return not os.listdir(self.folder)
        if not line.endswith(b"\n"):
            return line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
        try:
            return json.loads(line).keys() >= self.about.keys()
        except (ValueError, AttributeError, RecursionError):
            return False

    def _clear(self, log: FileIO) -> None:
        """Remove the features; first what says that they are there."""
        log.truncate(0)
        for name in os.listdir(self.folder):
            if _RAW.fullmatch(name):
                (self.folder / name).unlink()

    def _read_log(self, log: FileIO) -> int:
        """Read the lines that are whole; return their size."""
        size = 0
        log.seek(0)
        with open(log.fileno(), "rb", closefd=False) as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                content = json.loads(line)
                if number == 0:
                    self._check_about(content)
                elif "error" in content:
                    self.failed.append({"file": _text(content["file"]), "error": _text(content["error"])})
                else:
                    self.done.append(_text(content["file"]))
                    self.shapes = self._checked(content["shapes"])
                size += len(line)
        return size

    def _checked(self, shapes: Mapping[str, list[int]]) -> dict[str, list[int]]:
        """Return the shapes in a line; ValueError if they are not of the wanted features."""
        checked = {name: [operator.index(length) for length in shape] for name, shape in shapes.items()}
        is_sound = all(shape and len(shape) <= _AXES and min(shape) > 0 for shape in checked.values())
        if not is_sound or ",".join(checked) != self.about["features"] or (self.shapes and checked != self.shapes):
            raise ValueError(f"{LOG} is damaged")
        return checked

    def _unpacked(self) -> list[Result]:
        """Return what a finished file holds."""
        metadata = read_metadata(self.path)
        self._check_about({name: metadata.get(name) for name in self.about})
        arrays = load_file(self.path)
        files, failed = json.loads(metadata["files"]), json.loads(metadata["failed"])
        if files and sorted(arrays) != sorted(self.about["features"].split(",")):
            raise ValueError("it holds other features than it says")
        if any(array.dtype != self.dtype or len(array) != len(files) for array in arrays.values()):
            raise ValueError("it holds other numbers than it says")
        found = [
            Result(_text(file), {name: arrays[name][place : place + 1] for name in self.about["features"].split(",")})
            for place, file in enumerate(files)
        ]
        return [*found, *(Result(_text(entry["file"]), error=_text(entry["error"])) for entry in failed)]

    def _check_about(self, found: Mapping[str, Any]) -> None:
        """Refuse to go on with the features of something else."""
        for name, value in self.about.items():
            if found.get(name) != value:
                raise InputError(
                    f"{escape(str(self.path))}: expected an earlier run with {name} {value!r}, got "
                    f"{found.get(name)!r}; give another --output, or leave out --resume to begin anew"
                )

    def _open(self, name: str) -> None:
        """Open the file of a feature behind the arrays that are known to be there."""
        path = self.folder / f"{name}.raw"
        if path.is_symlink():  # what it names may be anyone's
            raise InputError(f"{escape(str(path))} is a link, which features are not written through; remove it")
        file = self._files[name] = FileIO(path, "a")
        size = len(self.done) * math.prod(self.shapes[name]) * self.dtype.itemsize
        if os.fstat(file.fileno()).st_size < size:
            raise ValueError(f"{name}.raw is shorter than {LOG} says")
        file.truncate(size)

    def missing(self, files: Sequence[str]) -> list[str]:
        """Return the files that are not there yet."""
        there = Counter([*self.done, *(entry["file"] for entry in self.failed)])
        return Earlier(there).missing(files)

    def add(self, result: Result) -> Result:
        """Append what became of a photo; return it, or the reason why it cannot stand beside the others."""
        arrays = dict(result.value)
        shapes = {name: list(array.shape[1:]) for name, array in arrays.items()}
        if result.error is None and self.shapes and shapes != self.shapes:
            wrong = next(name for name in shapes if shapes[name] != self.shapes.get(name))
            result = Result(
                result.file,
                error=f"{wrong} is of shape {shapes[wrong]}, that of the first photo {self.shapes[wrong]}; "
                "one file holds photos of one size",
            )
        try:
            if result.error is None:
                self._append(result.file, arrays, shapes)
            else:
                self.failed.append({"file": result.file, "error": result.error})
                self._write_line(self.failed[-1])
        except OSError as error:
            raise self._error(error) from error
        return result

    def _append(self, photo: str, arrays: Mapping[str, np.ndarray], shapes: dict[str, list[int]]) -> None:
        """Write arrays, then the line that makes them count."""
        if not self.shapes:
            self.shapes = shapes
            for name in shapes:
                self._open(name)
        for name, array in arrays.items():
            _write_all(self._files[name], np.ascontiguousarray(array, self.dtype).tobytes())
        self.done.append(photo)
        self._write_line({"file": photo, "shapes": shapes})

    def _write_line(self, content: Mapping[str, Any]) -> None:
        """Write a line at once."""
        if self._log is not None:
            _write_all(self._log, json.dumps(content).encode() + b"\n")
            self._is_worth_keeping = content is not self.about

    def finish(self) -> None:
        """Write the safetensors file, and remove the folder."""
        tensors = {
            name: np.memmap(self.folder / f"{name}.raw", self.dtype, "r", shape=(len(self.done), *shape))
            for name, shape in self.shapes.items()
        }
        metadata = {**self.about, "files": json.dumps(self.done), "failed": json.dumps(self.failed)}
        try:
            save_file(tensors, self.path, metadata)
        except WeightsError as error:
            raise InputError(f"{error}; {_GOES_ON}") from error
        tensors.clear()
        self._is_worth_keeping = False

    def close(self) -> None:
        """Let go of the files. Photos that an unfinished run has added stay for the next one, all else goes."""
        for file in self._files.values():
            file.close()
        if self._log is None:
            return
        if not self._is_worth_keeping:
            with suppress(OSError):
                self._clear(self._log)
                unlink_locked(self._log, self.folder / LOG)
                self.folder.rmdir()  # unless something else is in it
        release(self._log)

    def __enter__(self) -> FeaturesFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _error(self, error: Exception) -> InputError:
        """Return the error for files that cannot be read or written."""
        if isinstance(error, NpconvError):
            raise error
        if isinstance(error, OSError):
            goes_on = f"; {_GOES_ON}" if self._is_worth_keeping else ""
            return InputError(f"{escape(str(self.path))}: cannot be written: {why_not_written(error)}{goes_on}")
        return InputError(f"{escape(str(self.path))}: cannot be gone on with ({error}); check --output")


def _text(value: Any) -> str:
    """Return a text out of a file."""
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    return value


def _write_all(file: FileIO, content: bytes) -> None:
    """Write bytes, however many the system takes at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
