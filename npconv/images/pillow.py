"""Pillow as it is used here: without its warnings and its tolerance, its failures as errors of this project.

A failure is damage, a limit, a variant that Pillow lacks, a picture that is closed, or another kind of file; each has
its own sentence, with what helps.

The settings of Pillow belong to the whole process, so threads that decode at the same time share the change: the first
one makes it, the last one takes it back. No lock is held while a picture is decoded, and a forked child begins anew.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

# Each of these registers its format. They are loaded here and not when the first picture is read: a fork in the middle
# of that, in another thread, would leave the child with modules that are never done.
from PIL import (  # noqa: F401 - for what they register
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from npconv.errors import ImageError, NpconvError
from npconv.files.strangers import what_begins
from npconv.forks import in_child
from npconv.messages import escape

with suppress(ImportError):  # it came with Pillow 11.3
    from PIL import AvifImagePlugin  # noqa: F401

EXPECTED = "expected JPEG, PNG, GIF, WebP, AVIF, BMP, TIFF or PPM"
SAVE = "save it as PNG with 8 bits"

#: What Pillow's messages say, in a word of the project's own; the first that fits counts.
LIMIT = r"MAX_TEXT_(CHUNK|MEMORY)"
CLOSED = r"closed (image|file)|'NoneType' object has no attribute '(seek|read|tell)'"
VARIANT = (
    r"unknown (pixel|raw) mode|unknown data organization|cannot handle|not (yet )?supported|[Uu]nsupported|"
    r"not available|samples per pixel|codec configuration|Not exactly one tile|string index out of range"
)
#: libtiff gives this for both.
DAMAGE_OR_VARIANT = r"decoder error -2"

#: Beginnings of files that people take for pictures that npconv reads: what they are.
OTHERS = (
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"8BPS", "PSD"),
    (rb"%PDF", "PDF"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg", "SVG"),
    (rb"\x00\x00\x01\x00.\x00|\x00\x00\x02\x00[^\x00]\x00", "ICO"),
    (rb"qoif", "QOI"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"#\?RADIANCE|#\?RGBE", "Radiance HDR"),
    (rb"DDS ", "DDS"),
    (rb"FUJIFILMCCD-RAW|IIRO|IIRS|IIU\0|FOVb", "a raw photo of a camera"),
    (rb"PF\s", "a colour PFM"),
    (rb"P7\s", "PAM"),
    (rb".{128}DICM", "DICOM"),
)
#: Of a box "ftyp": what holds HEIC, and what may hold it or AVIF.
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF = (b"avif", b"avis")


class _Here(threading.local):
    """How many sections this thread is in; as a filter of warnings, what matches every module while it is in one."""

    depth = 0

    def match(self, _module: str) -> bool:
        """Tell whether this thread decodes: the warnings of the other threads are theirs."""
        return self.depth > 0


class _Settings:
    """Pillow's settings in this process: taken over while any thread decodes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # held for a few instructions; a signal handler may decode too
        self.sections = 0
        self.tolerant: bool  # what was set when the first section began
        self.here = _Here()
        self.filter: Any = ("ignore", None, Warning, self.here, 0)

    def take(self) -> None:
        """Begin a section of this thread."""
        with self.lock:
            self.here.depth += 1
            self.sections += 1
            if self.sections == 1:
                self.tolerant = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            filters = cast("list[Any]", warnings.filters)
            if not filters or filters[0] is not self.filter:  # another filter came before it in the meantime
                filters.insert(0, self.filter)

    def give_back(self) -> None:
        """End a section of this thread; the last one of all leaves everything as it was."""
        with self.lock:
            self.here.depth -= 1
            self.sections -= 1
            if self.sections == 0:
                self.restore()

    def restore(self) -> None:
        """Set what was set before the first section."""
        ImageFile.LOAD_TRUNCATED_IMAGES = self.tolerant
        filters = cast("list[Any]", warnings.filters)
        with suppress(ValueError):
            while True:
                filters.remove(self.filter)

    def begin_anew(self) -> None:
        """Forget the sections of threads that a fork left behind, and the lock that one of them may have held."""
        self.lock = threading.RLock()
        if self.sections > self.here.depth:
            self.sections = self.here.depth
            if self.sections == 0:
                self.restore()


_SETTINGS = _Settings()
in_child(_SETTINGS.begin_anew)


@contextmanager
def strict_pillow(name: str = "the picture") -> Iterator[None]:
    """Run Pillow without its warnings and without its tolerance of truncated files.

    Anything that it raises is an `ImageError` about the picture that is called `name`; errors of npconv pass.
    """
    _SETTINGS.take()
    try:
        yield
    except NpconvError:
        raise
    except Exception as error:  # Pillow's plugins raise any type on broken bytes
        raise error_of(error, name) from error
    finally:
        _SETTINGS.give_back()


def error_of(error: Exception, name: str) -> ImageError:
    """Return what an error of Pillow says of the picture that is called `name`."""
    reason = one_line(str(error)) or type(error).__name__
    if isinstance(error, MemoryError):
        return ImageError(f"{name}: out of memory; use a smaller picture")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError(f"{name}: {bomb_sentence()}")
    if isinstance(error, OSError) and error.errno is not None:
        return ImageError(f"{name}: cannot be read ({one_line(error.strerror or reason)}); check the disk or the file")
    if re.search(LIMIT, reason):
        return ImageError(
            f"{name}: holds more text, or a larger colour profile, than Pillow takes ({reason}); save it without, or "
            "raise PIL.PngImagePlugin.MAX_TEXT_CHUNK and MAX_TEXT_MEMORY"
        )
    if re.search(CLOSED, reason) or isinstance(error, AssertionError):
        return ImageError(f"{name}: is closed; open it anew, or call its load() before it is closed")
    if re.search(DAMAGE_OR_VARIANT, reason):
        return ImageError(f"{name}: damaged, or of a variant that Pillow lacks ({reason}); {SAVE} from an intact copy")
    if re.search(VARIANT, reason):
        return ImageError(f"{name}: is of a variant that Pillow cannot read ({reason}); {SAVE}")
    return ImageError(f"{name}: damaged, cannot be decoded ({reason}); use an intact copy")


def bomb_sentence() -> str:
    """Return what is wrong with a picture that Pillow itself refuses for its size, of which it does not say more."""
    limit = Image.MAX_IMAGE_PIXELS
    return f"more pixels than the limit of {limit} (PIL.Image.MAX_IMAGE_PIXELS); use a smaller picture"


def unidentified(stream: BinaryIO, name: str, formats: tuple[str, ...]) -> ImageError:
    """Return why none of Pillow's `formats` takes a file for its own."""
    start = _start(stream)
    if start.startswith(b"MM\0\x2b"):
        return ImageError(f"{name}: is a TIFF with 64-bit places in big-endian order, which Pillow cannot read; {SAVE}")
    for format_ in formats:
        factory, accept = Image.OPEN[format_]
        accepted = not accept or accept(start[:16])
        if isinstance(accepted, str):
            return ImageError(f"{name}: is {format_}, for which this Pillow was built without support; {SAVE}")
        if accepted and (error := _failure(factory, stream)):
            return _of_header(error, name, format_, stream)
    if start[4:8] == b"ftyp" and start[8:12] in AVIF:
        return ImageError(f"{name}: is AVIF, which needs Pillow 11.3 or newer; install that, or {SAVE}")
    if is_heic(stream):
        return ImageError(f"{name}: is HEIC, which needs another package; pip install pillow-heif, or {SAVE}")
    for pattern, kind in OTHERS:
        if re.match(pattern, start, re.DOTALL):
            return ImageError(f"{name}: is {kind}, which is not read; {EXPECTED}; {SAVE}")
    if re.match(rb"version https://git-lfs|\s*<(!doctype )?html", start, re.IGNORECASE):
        return ImageError(f"{name}: is {what_begins(start)}")
    return ImageError(f"{name}: not a picture, or its header is damaged; {EXPECTED}")


def is_heic(stream: BinaryIO) -> bool:
    """Tell whether a file begins as HEIC does."""
    start = _start(stream)
    return start[4:8] == b"ftyp" and start[8:12] in HEIC


def one_line(text: str) -> str:
    """Return `text` with unprintable characters escaped and the middle of a very long one left out."""
    printable = text if text.isprintable() else escape(text)
    return printable if len(printable) <= 300 else f"{printable[:200]}...{printable[-80:]}"


def _start(stream: BinaryIO) -> bytes:
    """Return the first bytes of a file."""
    stream.seek(0)
    start = stream.read(512)
    stream.seek(0)
    return start


def _failure(factory: Any, stream: BinaryIO) -> Exception | None:
    """Return what a plugin of Pillow says of a file that it cannot open; `PIL.Image.open` keeps it for itself."""
    stream.seek(0)
    try:
        factory(stream, "")
    except Exception as error:  # Pillow's plugins raise any type on broken bytes
        return error
    return None


def _of_header(error: Exception, name: str, format_: str, stream: BinaryIO) -> ImageError:
    """Return what is wrong with a file that begins as one of a format."""
    reason = one_line(str(error)) or type(error).__name__
    if str(error.__cause__) == str(error) and isinstance(error.__cause__, KeyError):
        reason = f"not supported: number {reason}"  # of what Pillow looks up, such as a compression
    if re.search(VARIANT, reason):
        what = _samples_of(stream) if format_ == "TIFF" else ""
        return ImageError(f"{name}: is a variant of {format_} that Pillow cannot read ({what}{reason}); {SAVE}")
    return ImageError(f"{name}: not a picture, or its header is damaged ({format_}: {reason}); {EXPECTED}")


def _samples_of(stream: BinaryIO) -> str:
    """Return what the samples of a TIFF are, as its tags say; nothing if they cannot be read."""
    try:
        start = _start(stream)
        tags = TiffImagePlugin.ImageFileDirectory_v2(start[: 16 if start[2] == 43 else 8])
        stream.seek(tags.next)
        tags.load(stream)
        bits, kind = tags[258], tags.get(339, (1,))[0]
    except Exception:  # the tags of a hostile file
        return ""
    kinds = {1: "whole numbers", 2: "signed numbers", 3: "floating-point numbers"}
    return f"{len(bits)} x {bits[0]}-bit {kinds.get(kind, 'samples')} of photometric kind {tags.get(262)}: "
