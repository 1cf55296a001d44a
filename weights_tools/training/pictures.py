"""Labelled pictures from a folder or a zip file, as arrays of one size.

The class of a picture is the name of the folder it lies in. If the folders of the classes lie in folders named
``train`` and ``test``, these are the two parts; else a seeded split makes them.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from npconv.errors import ImageError, InputError
from npconv.images.transforms import center_crop, resize, scale_shortest_edge

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
PART_NAMES = ("train", "test")
#: No picture file of a training set is larger; a zip entry that claims more is refused before it is unpacked.
LARGEST_FILE = 64 * 2**20


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size, (N, H, W, 3) uint8, and the number of each one's class, (N,) int64."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Pictures:
        """Return the pictures at `indices`."""
        return Pictures(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """A training set: class names in alphabetical order, the part to train on and the part to test on."""

    classes: list[str]
    train: Pictures
    test: Pictures


class Source(NamedTuple):
    """Where picture files come from: their names, with forward slashes, and what returns the bytes of one."""

    names: list[str]
    read: Callable[[str], bytes]


def read_dataset(path: str | Path, size: int, *, held_out: float = 0.15, seed: int = 0) -> Dataset:
    """Read the labelled pictures of a folder or zip file, scaled and centre-cropped to `size` x `size` pixels.

    It holds ``train/<class>/*`` and ``test/<class>/*``, or ``<class>/*`` only: then the share `held_out` of each class
    becomes the test part, chosen by `seed`. An outer folder around these does not matter.

    Raises
    ------
    InputError
        If the source is missing, holds no pictures in folders, only some of them lie in ``train`` or ``test``, a part
        is empty, or the classes of the parts differ.
    ImageError
        If a picture cannot be read.
    """
    with open_source(Path(path)) as source:
        parts = list_parts(source, held_out=held_out, seed=seed)
        classes = sorted({class_of(name) for name in parts["train"]})
        number = {name: index for index, name in enumerate(classes)}
        train, test = (_read_part(source, parts[part], number, size) for part in PART_NAMES)
    return Dataset(classes, train, test)


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder or a zip file, which is read without unpacking it; anything else is an :class:`InputError`."""
    if path.is_dir():
        files = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        yield Source(files, lambda name: (path / name).read_bytes())
    elif path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            yield Source(files, partial(_unpacked, archive))
    else:
        raise InputError(f"expected a folder or a zip file with a folder of pictures a class, got {path}")


def _unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the content of one file of a zip file, unless it is larger than a picture of a training set can be."""
    if archive.getinfo(name).file_size > LARGEST_FILE:
        raise ImageError(f"{name}: expected at most {LARGEST_FILE} bytes in the zip file; leave the file out")
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, zlib.error) as error:
        raise ImageError(f"{name}: the zip file is damaged there or encrypted ({error})") from error


def list_parts(source: Source, *, held_out: float = 0.15, seed: int = 0) -> dict[str, list[str]]:
    """Return the names of the pictures of the parts ``train`` and ``test``; see `read_dataset`."""
    names = sorted(name for name in source.names if _is_picture(name))
    if not names or any(len(PurePosixPath(name).parts) < 2 for name in names):
        raise InputError("expected pictures in one folder a class, such as cat/1.jpg; found none or some outside")
    part_of = {name: PurePosixPath("-", "-", name).parts[-3] for name in names}
    named = [name for name in names if part_of[name] in PART_NAMES]
    if not named:
        return _split_by_seed(names, held_out, seed)
    if len(named) < len(names):
        outside = next(name for name in names if part_of[name] not in PART_NAMES)
        raise InputError(f"expected every class below train/ or test/, as for {named[0]}; got {outside}")
    parts = {part: [name for name in names if part_of[name] == part] for part in PART_NAMES}
    train, test = ({class_of(name) for name in parts[part]} for part in PART_NAMES)
    if train != test:
        raise InputError(f"expected the same classes in train/ and test/; only in one of them: {sorted(train ^ test)}")
    return parts


def fit_to_square(picture: Image.Image, size: int) -> np.ndarray:
    """Scale the shorter edge of a picture to `size`, cut out the centre and return it, (size, size, 3) uint8.

    This is what ``ConvNextImageProcessor`` does below 384 pixels with ``crop_pct`` 1, so that a network is trained on
    what it will be given.
    """
    pixels = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    scaled = resize(pixels, scale_shortest_edge(pixels, size), Image.Resampling.BICUBIC)
    return center_crop(scaled, (size, size)).transpose(1, 2, 0)


def colour_statistics(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each colour over uint8 pictures, on the scale 0 to 1, to 4 decimals."""
    count = np.stack([np.bincount(pixels[..., colour].ravel(), minlength=256) for colour in range(3)])
    values = np.arange(256) / 255
    share = count / count.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return np.round(mean, 4).tolist(), np.round(std, 4).tolist()


def split_off(pictures: Pictures, share: float, seed: int) -> tuple[Pictures, Pictures]:
    """Split pictures into (kept, split off), the second with `share` of each class."""
    rng = np.random.default_rng(seed)
    split = np.zeros(len(pictures), dtype=bool)
    for label in np.unique(pictures.labels):
        members = np.flatnonzero(pictures.labels == label)
        split[rng.permutation(members)[: round(share * len(members))]] = True
    return pictures.take(np.flatnonzero(~split)), pictures.take(np.flatnonzero(split))


def _is_picture(name: str) -> bool:
    """Whether a file name is that of a picture, and none of the hidden files that systems leave behind."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden


def class_of(name: str) -> str:
    """Return the class of a picture: the folder it lies in."""
    return PurePosixPath(name).parts[-2]


def _split_by_seed(names: list[str], held_out: float, seed: int) -> dict[str, list[str]]:
    """Hold out a share of each class, at least one picture, as the part ``test``."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[str]] = {part: [] for part in PART_NAMES}
    for label in sorted({class_of(name) for name in names}):
        members = [name for name in names if class_of(name) == label]
        if len(members) < 2:
            raise InputError(f"expected at least 2 pictures of every class, one to test with; {label!r} has 1")
        count = min(max(1, round(held_out * len(members))), len(members) - 1)
        chosen = set(rng.permutation(len(members))[:count].tolist())
        for index, name in enumerate(members):
            parts["test" if index in chosen else "train"].append(name)
    return parts


def _read_part(source: Source, names: list[str], number: dict[str, int], size: int) -> Pictures:
    """Read the pictures `names` into one array."""
    pixels = np.empty((len(names), size, size, 3), dtype=np.uint8)
    for index, name in enumerate(names):
        try:
            with Image.open(io.BytesIO(source.read(name))) as picture:
                pixels[index] = fit_to_square(picture, size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ImageError(f"{name}: expected a picture that Pillow can read ({error}); leave it out") from error
    return Pictures(pixels, np.array([number[class_of(name)] for name in names], dtype=np.int64))
