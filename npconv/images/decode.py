"""From a picture in any common form to 8-bit RGB.

Programs differ in the rules below, so here is each one:

* **Formats** are those of :data:`FORMATS`. No other plugin of Pillow runs: some of them start external programs.
* **Transparency** is laid over white, as ``convert_to_rgb`` of transformers does (its pipelines drop it instead). The
  transparent colour of a 16-bit picture is not looked at.
* **More than 8 bits**: 16-bit greys keep their upper byte, as Pillow's 16-bit RGB does. (Pillow's own conversion of
  16-bit greys clips everything above 255 to white.) 32-bit whole numbers up to 255 stay as they are, up to 65535 they
  count as 16-bit; floats up to 1 are multiplied by 255, up to 255 they are rounded. Other ranges have no rule.
* **CMYK** is converted without colour profile, after the inversion that Adobe's JPEGs need. No profile is applied.
* **Animations and pages**: the first.
* **Orientation**: turned upright as the EXIF block says, if asked. (Pillow itself always turns TIFF upright.)
* **Damage** is an error: a truncated file is not filled up with grey, whatever the settings of Pillow in this process.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from npconv.errors import ImageError, InputError, NpconvError
from npconv.messages import escape

#: Pillow's names of the formats that are read. MPO is what many phones write under the name of JPEG.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM")

#: The largest picture that is read or made, in pixels: the size at which Pillow begins to warn. Decoding takes 4 bytes
#: a pixel at best, and about 25 for a picture with transparency in the worst of the formats.
MAX_PIXELS = 89_478_485

#: The largest file that is read, in bytes: that picture with four uncompressed 16-bit channels.
MAX_BYTES = 8 * MAX_PIXELS

#: What undoes each EXIF orientation; 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# warnings.catch_warnings and LOAD_TRUNCATED_IMAGES belong to the whole process: two threads must not interleave there.
_PILLOW_SETTINGS = threading.RLock()

PictureSource = str | os.PathLike[str] | bytes | BinaryIO | Image.Image


def open_image(source: PictureSource, *, apply_exif_orientation: bool = True) -> Image.Image:
    """Read a picture and return it as 8-bit RGB.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or PIL.Image.Image
        A path, the content of a file, an open file, or a picture that Pillow has opened already.
    apply_exif_orientation : bool
        Turn the picture upright as its EXIF block says. A broken block is passed over.

    Returns
    -------
    PIL.Image.Image
        A new picture of mode ``RGB``.

    Raises
    ------
    ImageError
        If it cannot be read: missing, empty, truncated, of another format, larger than :data:`MAX_PIXELS`, a URL.
    InputError
        If `source` is none of the above types.
    """
    name = picture_name(source)
    if isinstance(source, Image.Image):
        with strict_pillow(name):
            return _decode(source, name, apply_exif_orientation)
    with _open_stream(source, name) as stream, strict_pillow(name), _identify(stream, name) as image:
        return _decode(image, name, apply_exif_orientation)


def convert_to_rgb(image: Image.Image, name: str = "the picture") -> Image.Image:
    """Return a picture of any mode as a new one of mode ``RGB``, by the rules at the top of this module.

    Messages call the picture by its `name`. One with 32-bit values for which there is no rule is an `ImageError`.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scale_to_8_bits(image, name).convert("RGB")
    if image.mode == "La":  # Pillow takes the premultiplied alpha out only within grey
        image = image.convert("LA")
    if {"A", "a"} & set(image.getbands()) or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


@contextmanager
def strict_pillow(name: str = "the picture") -> Iterator[None]:
    """Run Pillow without its warnings and without its tolerance of truncated files.

    Anything that it raises is an `ImageError` about the picture that is called `name`; errors of npconv pass.
    """
    with _PILLOW_SETTINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tolerant, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            yield
        except NpconvError:
            raise
        except Exception as error:  # Pillow's plugins raise any type on broken bytes
            reason = _one_line(str(error)) or type(error).__name__
            raise ImageError(f"{name}: damaged, cannot be decoded ({reason}); use an intact copy") from error
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = tolerant


def picture_name(source: PictureSource) -> str:
    """Return what error messages call a picture, on one line, if it is of a type that :func:`open_image` takes."""
    if isinstance(source, str | os.PathLike):
        return _one_line(os.fsdecode(source))
    if isinstance(source, bytes):
        return f"a picture of {len(source)} bytes"
    if not isinstance(source, Image.Image) and not hasattr(source, "read"):
        raise InputError(
            f"expected a path, bytes, a binary file or a PIL image, got {type(source).__name__}; "
            "arrays go to ConvNextImageProcessor"
        )
    name = getattr(source, "filename", "") or getattr(source, "name", "")
    return _one_line(os.fsdecode(name)) if name and isinstance(name, str | bytes | os.PathLike) else "the picture"


def check_pixel_count(height: int, width: int, what: str) -> None:
    """Raise `ImageError` if a picture of this size would exceed :data:`MAX_PIXELS`."""
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{what}: {height} x {width} pixels, more than the limit of {MAX_PIXELS}; use a smaller picture or size"
        )


def _decode(image: Image.Image, name: str, apply_exif_orientation: bool) -> Image.Image:
    """Load the pixels of the current frame as RGB, upright if asked."""
    if 0 in image.size:
        raise ImageError(f"{name}: the picture has no pixels ({image.width} x {image.height}); expected at least 1 x 1")
    image.load()
    transposition = UPRIGHT.get(_exif_orientation(image)) if apply_exif_orientation else None
    rgb = convert_to_rgb(image, name)
    if transposition is None:
        return rgb
    upright = rgb.transpose(transposition)
    upright.info.clear()  # it still holds the EXIF block, by which the next reader would turn the picture once more
    return upright


def _exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 if there is none or the block is broken."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken block costs the orientation, not the picture
        return 1
    return orientation if isinstance(orientation, int) else 1


def _scale_to_8_bits(image: Image.Image, name: str) -> Image.Image:
    """Return a grey picture of 16 or 32 bits a pixel as one of 8 bits."""
    values = np.asarray(image)
    lowest, highest = values.min(), values.max()
    limit = 255 if image.mode == "F" else 65535
    if not (lowest >= 0 and highest <= limit):  # NaN fails this too
        raise ImageError(
            f"{name}: expected values from 0 to {limit} in a picture of mode {image.mode}, got {lowest} to {highest}; "
            "scale it to 0..255 and save it with 8 bits"
        )
    if image.mode == "F":
        values = np.rint(values * 255 if highest <= 1 else values)
    elif image.mode != "I" or highest > 255:
        values = values >> 8
    return Image.fromarray(values.astype(np.uint8))


def _identify(stream: BinaryIO, name: str) -> Image.Image:
    """Let Pillow recognise the format and read the header; no pixel is decoded yet."""
    Image.init()
    try:
        image = Image.open(stream, formats=[format_ for format_ in FORMATS if format_ in Image.OPEN])
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not a picture, or its header is damaged; expected JPEG, PNG, GIF, WebP, AVIF, BMP, TIFF or PPM"
        ) from error
    except Image.DecompressionBombError as error:  # from twice MAX_PIXELS on, Pillow does not say the size
        raise ImageError(f"{name}: more pixels than the limit of {MAX_PIXELS}; use a smaller picture") from error
    check_pixel_count(image.height, image.width, name)
    return image


def _open_stream(source: str | os.PathLike[str] | bytes | BinaryIO, name: str) -> BinaryIO:
    """Return an open binary file with the content of the picture."""
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        raise ImageError(f"{name}: URLs are not fetched; download the picture first and give its path")
    if isinstance(source, str | os.PathLike):
        return _open_file(source, name)
    content = source if isinstance(source, bytes) else _read_all(source, name)
    if not content:
        raise ImageError(f"{name}: expected the content of a picture file, got no bytes")
    _check_byte_count(len(content), name)
    return io.BytesIO(content)


def _open_file(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a regular file that is not empty; a pipe could block and a device never end."""
    try:
        status = os.stat(path)
        is_regular = stat.S_ISREG(status.st_mode)
        stream = open(path, "rb") if is_regular and status.st_size else None  # noqa: SIM115 - the caller closes it
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{name}: cannot be opened ({_one_line(reason)}); check the path") from error
    if stream is None:
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "an empty file" if is_regular else "no regular file"
        raise ImageError(f"{name}: is {kind}; expected a picture file")
    _check_byte_count(status.st_size, name)
    return stream


def _read_all(stream: BinaryIO, name: str) -> bytes:
    """Read an open file from its start, which Pillow does too, but never without end."""
    try:
        with suppress(AttributeError, OSError):  # a pipe cannot seek
            stream.seek(0)
        content = stream.read(MAX_BYTES + 1)
    except Exception as error:  # the object is the caller's: it raises what it likes
        raise ImageError(f"{name}: cannot be read ({_one_line(str(error))}); check the file object") from error
    if not isinstance(content, bytes):
        raise InputError(f"{name}: expected a file opened in binary mode, got one that reads {type(content).__name__}")
    return content


def _check_byte_count(byte_count: int, name: str) -> None:
    """Raise `ImageError` if a file is larger than any picture that is read."""
    if byte_count > MAX_BYTES:
        raise ImageError(f"{name}: larger than the limit of {MAX_BYTES} bytes; use a smaller picture")


def _one_line(text: str) -> str:
    """Return `text` with unprintable characters escaped and the middle of a very long one left out."""
    printable = text if text.isprintable() else escape(text)
    return printable if len(printable) <= 300 else f"{printable[:200]}...{printable[-80:]}"
