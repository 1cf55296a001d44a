"""Features on their way into a safetensors file, of which the size is known only when all photos are done.

Until then they are in a folder beside it, ``out.safetensors.part``: a file for each feature, to which the array of each
photo is appended, and then a line about the photo in ``photos.jsonl``. Whatever ends the run, the lines that are whole
say what is there, and the next run goes on from them. At the end the arrays are copied into the safetensors file, which
appears whole; memory stays flat, because they are mapped and not read.
"""

from __future__ import annotations

import json
import math
import operator
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from npconv.cli.formats import Earlier
from npconv.cli.photos import Result
from npconv.errors import InputError, NpconvError
from npconv.files.safetensors import load_file, read_metadata, save_file
from npconv.messages import escape

LOG = "photos.jsonl"


class FeaturesFile:
    """The features of photos, as they come and as they were left by an earlier run.

    To go on with it (`resume`), what is said `about` it must be the same: model, dtype and features. Otherwise it is
    thrown away. Files of another run, or that cannot be read or written, are an `InputError`.
    """

    def __init__(self, path: str, about: Mapping[str, str], *, resume: bool) -> None:
        self.path = Path(path)
        self.folder = Path(f"{path}.part")
        self.about = dict(about)
        self.shapes: dict[str, list[int]] = {}
        self.dtype = np.dtype(about["dtype"])
        self.done: list[str] = []
        self.failed: list[dict[str, str]] = []
        self._files: dict[str, BinaryIO] = {}  # by the name of the feature
        self._log: BinaryIO | None = None
        try:
            self._begin(resume)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # of broken lines
            self.close()
            raise self._error(error) from error

    def _begin(self, resume: bool) -> None:
        """Find out what is there, and open the files."""
        earlier: list[Result] = []
        size = self._read_log() if resume and (self.folder / LOG).is_file() else 0
        if size == 0:
            earlier = self._unpacked() if resume and self.path.exists() else []
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        log = self._log = open(self.folder / LOG, "ab")  # noqa: SIM115 - closed by `close`
        log.truncate(size)
        for name in self.shapes:
            self._open(name)
        if size == 0:
            self._write_line(self.about)
            for result in earlier:
                self.add(result)

    def _read_log(self) -> int:
        """Read the lines that are whole; return their size."""
        size = 0
        with open(self.folder / LOG, "rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                content = json.loads(line)
                if number == 0:
                    self._check_about(content)
                elif "error" in content:
                    self.failed.append({"file": content["file"], "error": content["error"]})
                else:
                    self.done.append(content["file"])
                    self.shapes = self._checked(content["shapes"])
                size += len(line)
        return size

    def _checked(self, shapes: Mapping[str, list[int]]) -> dict[str, list[int]]:
        """Return the shapes in a line; ValueError if they are not of the wanted features."""
        checked = {name: [operator.index(length) for length in shape] for name, shape in shapes.items()}
        if ",".join(checked) != self.about["features"] or (self.shapes and checked != self.shapes):
            raise ValueError(f"{LOG} is damaged")
        return checked

    def _unpacked(self) -> list[Result]:
        """Return what a finished file holds."""
        metadata = read_metadata(self.path)
        self._check_about({name: metadata.get(name) for name in self.about})
        arrays = load_file(self.path)
        files, failed = json.loads(metadata["files"]), json.loads(metadata["failed"])
        found = [
            Result(file, {name: array[place : place + 1] for name, array in arrays.items()})
            for place, file in enumerate(files)
        ]
        return [*found, *(Result(entry["file"], error=entry["error"]) for entry in failed)]

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
        file = self._files[name] = open(self.folder / f"{name}.raw", "ab")  # noqa: SIM115 - closed by `close`
        size = len(self.done) * math.prod(self.shapes[name]) * self.dtype.itemsize
        if file.tell() < size:
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
            self._files[name].write(np.ascontiguousarray(array, self.dtype).tobytes())
            self._files[name].flush()
        self.done.append(photo)
        self._write_line({"file": photo, "shapes": shapes})

    def _write_line(self, content: Mapping[str, Any]) -> None:
        """Write a line at once."""
        if self._log is not None:
            self._log.write(json.dumps(content).encode() + b"\n")
            self._log.flush()

    def finish(self) -> None:
        """Write the safetensors file, and remove the folder."""
        self.close()
        tensors = {
            name: np.memmap(self.folder / f"{name}.raw", self.dtype, "r", shape=(len(self.done), *shape))
            for name, shape in self.shapes.items()
        }
        metadata = {**self.about, "files": json.dumps(self.done), "failed": json.dumps(self.failed)}
        save_file(tensors, self.path, metadata)
        tensors.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Close the files; what they hold stays for the next run."""
        for file in self._files.values():
            file.close()
        if self._log is not None:
            self._log.close()

    def _error(self, error: Exception) -> InputError:
        """Return the error for files that cannot be read or written."""
        if isinstance(error, NpconvError):
            raise error
        reason = getattr(error, "strerror", None) or str(error)
        return InputError(f"{escape(str(self.path))}: cannot be written or gone on with ({reason}); check --output")
