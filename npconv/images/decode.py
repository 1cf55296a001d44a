"""From a picture in any common form to 8-bit RGB.

Programs differ in the rules below, so here is each one:

* **Formats** are those of :data:`FORMATS`, HEIC where pillow-heif is installed, and those of plugins that are not
  Pillow's own and that somebody registered. No other plugin of Pillow runs: some of them start external programs.
* **Transparency** is laid over white, as ``convert_to_rgb`` of transformers does (its pipelines drop it instead).
* **More than 8 bits**: range and polarity are what the file says (``npconv/images/header.py``); of a range of 9 to 16
  bits, the upper 8 are kept, as Pillow's 16-bit RGB does. (Pillow's own conversion of 16-bit greys clips everything
  above 255 to white.) Where nothing says, 32-bit whole numbers up to 255 stay as they are, up to 65535 they count as
  16-bit; floats up to 1 are multiplied by 255, up to 255 they are rounded. Other ranges have no rule.
* **CMYK** is converted without colour profile, after the inversion that Adobe's JPEGs need. No profile is applied.
* **Animations and pages**: the first.
* **Orientation**: turned upright as the EXIF block says, if asked. (Pillow itself always turns TIFF upright.)
* **Damage** is an error: a truncated file is not filled up with grey, whatever the settings of Pillow in this process.
* **Memory**: what a picture takes is known from its header (``npconv/images/header.py``); what is too much is refused.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from npconv.errors import ImageError, ImageNotFoundError, InputError
from npconv.images.header import check_meaning, check_price, is_inverted, transparent_value, value_range
from npconv.images.pillow import bomb_sentence, is_heic, one_line, strict_pillow, unidentified

#: Pillow's names of the formats that are read. MPO is what many phones write under the name of JPEG.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM")

#: The largest picture that is read or made, in pixels: the size at which Pillow begins to warn.
MAX_PIXELS = 89_478_485

#: The largest file that is read, in bytes: that picture with four uncompressed 16-bit channels.
MAX_BYTES = 8 * MAX_PIXELS

#: Pixels that are converted at a time, so that what is needed on the way takes no room to speak of.
STRIP = 2**19

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

PictureSource = str | os.PathLike[str] | bytes | BinaryIO | Image.Image


def open_image(
    source: PictureSource, *, apply_exif_orientation: bool = True, max_memory: int | None = None
) -> Image.Image:
    """Read a picture and return it as 8-bit RGB.

    Parameters
    ----------
    source : str, os.PathLike, bytes, binary file object or PIL.Image.Image
        A path, the content of a file, an open file, or a picture that Pillow has opened already. Text that is no path
        of a file may be a data URI (``data:image/png;base64,...``) or the content in base64, as in transformers.
    apply_exif_orientation : bool
        Turn the picture upright as its EXIF block says. A broken block is passed over.
    max_memory : int, optional
        What reading it may take, in bytes, as its header foretells; 600 MB when unset.

    Returns
    -------
    PIL.Image.Image
        A new picture of mode ``RGB``.

    Raises
    ------
    ImageError
        If it cannot be read: missing, empty, truncated, of another format, larger than :data:`MAX_PIXELS` or
        `max_memory`, a URL.
    InputError
        If `source` is none of the above types.
    """
    name = picture_name(source)
    if isinstance(source, Image.Image):
        with strict_pillow(name):
            return _decode(source, name, apply_exif_orientation, max_memory)
    with _open_stream(source, name) as stream, strict_pillow(name), _identify(stream, name) as image:
        return _decode(image, name, apply_exif_orientation, max_memory, is_ours=True)


def convert_to_rgb(image: Image.Image, name: str = "the picture") -> Image.Image:
    """Return a picture of any mode as a new one of mode ``RGB``, by the rules at the top of this module.

    Messages call the picture by its `name`. One of which the numbers have no certain meaning is an `ImageError`.
    """
    if not isinstance(image, Image.Image):
        raise InputError(f"expected a PIL image, got {type(image).__name__}; open_image reads files")
    with strict_pillow(name):
        check_readable(image, name)
        transparent = transparent_value(image)
        image.load()
        if _is_deep(image):
            return _in_strips(image, _to_8_bits(image, name, transparent))
        if {"A", "a"} & set(image.getbands()) or transparent is not None:
            return _in_strips(image, lambda strip: _over_white(strip, transparent))
        return image.convert("RGB")


def looks_like_picture(start: bytes) -> bool:
    """Tell whether one of the formats that are read begins like the first 16 bytes of a file."""
    if len(start) < 16:  # no picture is so short
        return False
    accepts = [Image.OPEN[format_][1] for format_ in _formats()]
    return any(accept(start) for accept in accepts if accept) or is_heic(io.BytesIO(start))


def check_readable(image: Image.Image, name: str) -> None:
    """Raise `ImageError` if the pixels of an opened picture cannot be had, or have no certain meaning."""
    if 0 in image.size:
        raise ImageError(f"{name}: the picture has no pixels ({image.width} x {image.height}); expected at least 1 x 1")
    if getattr(image, "tile", None) and getattr(image, "fp", None) is None:
        raise ImageError(f"{name}: is closed; open it anew, or call its load() before it is closed")
    check_meaning(image, name)


def picture_name(source: PictureSource) -> str:
    """Return what error messages call a picture, on one line, if it is of a type that :func:`open_image` takes."""
    if isinstance(source, str) and source.startswith("data:"):
        return f"a data URI of {len(source)} characters"
    if isinstance(source, str | os.PathLike):
        return one_line(without_password(os.fsdecode(source)))
    if isinstance(source, bytes):
        return f"a picture of {len(source)} bytes"
    if not isinstance(source, Image.Image) and not hasattr(source, "read"):
        raise InputError(
            f"expected a path, bytes, a binary file or a PIL image, got {type(source).__name__}; "
            "arrays go to ConvNextImageProcessor"
        )
    name = getattr(source, "filename", "") or getattr(source, "name", "")
    return one_line(os.fsdecode(name)) if name and isinstance(name, str | bytes | os.PathLike) else "the picture"


def without_password(url: str) -> str:
    """Return a URL without the user and password in it; another text as it is."""
    return re.sub(r"(?<=://)[^/?#]*@", "", url) if is_url(url) else url


def is_url(source: object) -> bool:
    """Tell whether a picture is named by a URL of http or https."""
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


def check_pixel_count(height: int, width: int, what: str) -> None:
    """Raise `ImageError` if a picture of this size would exceed :data:`MAX_PIXELS`."""
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{what}: {height} x {width} pixels, more than the limit of {MAX_PIXELS}; use a smaller picture or size"
        )


def read_picture_file(path: str) -> bytes:
    """Return the bytes of a regular file that is no larger than a picture can be; `ImageError` if it is none such."""
    with _open_file(path, picture_name(path)) as stream:
        return stream.read()


def strips(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the parts of a picture that are worked on at a time: left, upper, right and lower edge."""
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _decode(
    image: Image.Image, name: str, apply_exif_orientation: bool, max_memory: int | None, *, is_ours: bool = False
) -> Image.Image:
    """Load the pixels of the current frame as RGB, upright if asked; a picture that `is_ours` is closed."""
    check_price(image, name, max_memory)
    rgb = convert_to_rgb(image, name)
    transposition = UPRIGHT.get(_exif_orientation(image)) if apply_exif_orientation else None
    if is_ours:
        image.close()  # what follows needs its memory
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


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Return the RGB picture of what a function makes of strips of a loaded picture."""
    rgb = Image.new("RGB", image.size)
    rgb.info = dict(image.info)
    for box in strips(*image.size):
        rgb.paste(convert(image.crop(box)), box)
    return rgb


def _over_white(strip: Image.Image, transparent: object) -> Image.Image:
    """Return a picture laid over white; `transparent` is what :func:`transparent_value` gave for it."""
    if transparent is not None:
        strip.info["transparency"] = transparent
    if strip.mode == "La":  # Pillow takes the premultiplied alpha out only within grey
        strip = strip.convert("LA")
    strip = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", strip.size, (255, 255, 255, 255)), strip).convert("RGB")


def _is_deep(image: Image.Image) -> bool:
    """Tell whether the pixels are numbers of more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _to_8_bits(image: Image.Image, name: str, transparent: object) -> Callable[[Image.Image], Image.Image]:
    """Return what makes 8-bit greys of a strip of a picture of deeper ones; white where it is `transparent`."""
    extremes = [(values.min(), values.max()) for values in map(np.asarray, map(image.crop, strips(*image.size)))]
    lowest, highest = np.min([low for low, _ in extremes]), np.max([high for _, high in extremes])
    stated = value_range(image)
    low, high = stated or (0, 255 if image.mode == "F" else 65535)
    if not (lowest >= low and highest <= high):  # NaN fails this too
        raise ImageError(
            f"{name}: expected values from {low:g} to {high:g} in a picture of mode {image.mode}, got {lowest} to "
            f"{highest}; scale it to 0..255 and save it with 8 bits"
        )
    if stated is None and highest <= (1 if image.mode == "F" else 255):
        high = 1 if image.mode == "F" else 255
    inverted = is_inverted(image)

    def convert(strip: Image.Image) -> Image.Image:
        values = np.asarray(strip)
        levels = _levels(values, low, high)
        if inverted:
            levels = 255 - levels
        if isinstance(transparent, int):
            levels = np.where(values == transparent, np.uint8(255), levels)
        return Image.fromarray(levels)

    return convert


def _levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values from `low` to `high` as uint8; of whole numbers of 8 to 16 bits, the upper 8 bits."""
    bits = int(high).bit_length()
    if values.dtype.kind != "f" and low == 0 and 8 <= bits <= 16 and high == 2**bits - 1:
        return (values >> (bits - 8)).astype(np.uint8)
    if (low, high) == (0, 1):  # a product in float32, as before a step of preprocessing
        return np.rint(values * 255).astype(np.uint8)
    if (low, high) == (0, 255):
        return np.rint(values).astype(np.uint8)
    return np.rint((values - np.float64(low)) * (255 / (high - low))).astype(np.uint8)


def _identify(stream: BinaryIO, name: str) -> Image.Image:
    """Let Pillow recognise the format and read the header; no pixel is decoded yet."""
    try:
        image = _open_with_pillow(stream)
    except UnidentifiedImageError as error:
        raise unidentified(stream, name, _formats()) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: {bomb_sentence()}") from error
    check_pixel_count(image.height, image.width, name)
    return image


def _open_with_pillow(stream: BinaryIO) -> Image.Image:
    """Open a file with Pillow, HEIC with pillow-heif if that is installed."""
    try:
        return Image.open(stream, formats=_formats())
    except UnidentifiedImageError:
        if "HEIF" in Image.OPEN or not is_heic(stream):
            raise
        with suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
        return Image.open(stream, formats=_formats())


def _formats() -> tuple[str, ...]:
    """Return the formats of this project that this Pillow has, and those that somebody registered from elsewhere."""
    own = [format_ for format_ in FORMATS if format_ in Image.OPEN]
    foreign = [name for name, (factory, _) in Image.OPEN.items() if factory.__module__.split(".")[0] != "PIL"]
    return tuple(dict.fromkeys([*own, *foreign]))


def _open_stream(source: str | os.PathLike[str] | bytes | BinaryIO, name: str) -> BinaryIO:
    """Return an open binary file with the content of the picture."""
    if is_url(source):
        raise ImageError(
            f"{name}: URLs are not fetched; download the picture first and give its path, or a pipeline the URL"
        )
    if isinstance(source, str) and (content := _from_base64(source, name)) is not None:
        return io.BytesIO(content)
    if isinstance(source, str | os.PathLike):
        return _open_file(source, name)
    content = source if isinstance(source, bytes) else _read_all(source, name)
    if not content:
        raise ImageError(f"{name}: expected the content of a picture file, got no bytes")
    _check_byte_count(len(content), name)
    return io.BytesIO(content)


def _from_base64(text: str, name: str) -> bytes | None:
    """Return the content of a data URI, or of base64 that begins as a picture does; None if the text is a path.

    Notes
    -----
    Source: ``load_image`` of transformers, which tries the path first too, and takes what stands between the first
    comma and the next one.
    """
    is_uri = text.startswith("data:")
    with suppress(OSError, ValueError):
        if os.path.lexists(text):
            return None
    if is_uri and not text.startswith("data:image/"):
        raise ImageError(f"{name}: expected data:image/...;base64,... with a picture, got {one_line(text[:40])!r}")
    encoded = text.partition(",")[2].partition(",")[0] if is_uri else text
    if not is_uri and (len(text) < 24 or not looks_like_picture(_decode_base64(text[:64]))):
        return None
    _check_byte_count(len(encoded) // 4 * 3, name)
    content = _decode_base64(encoded)
    if not content:
        raise ImageError(f"{name}: expected base64 after the first comma, with the content of a picture file")
    return content


def _decode_base64(text: str) -> bytes:
    """Return the content of base64, in which other characters are passed over; nothing if it is none."""
    import base64

    try:
        return base64.decodebytes(text.encode())
    except ValueError:  # of the padding, of what UTF-8 cannot hold
        return b""


def _open_file(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a regular file that is not empty; a pipe could block and a device never end."""
    try:
        status = os.stat(path)
        is_regular = stat.S_ISREG(status.st_mode)
        is_fit = is_regular and 0 < status.st_size <= MAX_BYTES
        stream = open(path, "rb") if is_fit else None  # noqa: SIM115 - the caller closes it
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        kind = ImageNotFoundError if isinstance(error, FileNotFoundError) else ImageError
        raise kind(f"{name}: cannot be opened ({one_line(reason)}); check the path") from error
    if stream is None:
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{name}: is a directory; give the pictures in it: npconv.images.pictures_in lists them")
        _check_byte_count(status.st_size if is_regular else 0, name)
        raise ImageError(f"{name}: is {'an empty file' if is_regular else 'no regular file'}; expected a picture file")
    return stream


def _read_all(stream: BinaryIO, name: str) -> bytes:
    """Read an open file from its start, which Pillow does too, but never without end."""
    try:
        with suppress(AttributeError, OSError):  # a pipe cannot seek
            stream.seek(0)
        content = stream.read(MAX_BYTES + 1)
    except Exception as error:  # the object is the caller's: it raises what it likes
        raise ImageError(f"{name}: cannot be read ({one_line(str(error))}); check the file object") from error
    if not isinstance(content, bytes):
        raise InputError(f"{name}: expected a file opened in binary mode, got one that reads {type(content).__name__}")
    return content


def _check_byte_count(byte_count: int, name: str) -> None:
    """Raise `ImageError` if a file is larger than any picture that is read."""
    if byte_count > MAX_BYTES:
        raise ImageError(f"{name}: larger than the limit of {MAX_BYTES} bytes; use a smaller picture")
