"""What a picture file says before its pixels are decoded: what its numbers mean, and so what reading it takes.

**Meaning** is which number is black, which is white, which is transparent. Pillow gives the numbers of some files
without it, or reads layouts of TIFF wrongly without a word (each was found by comparing files written byte by byte).
Here is what it leaves out; what cannot be made right is refused.

**The price** is the peak of a process in bytes, measured format by format (tests/images/test_price.py measures anew):
what Pillow and its libraries hold while they decode, and the RGB picture that is made of it.
"""

from __future__ import annotations

import math
from typing import Any, cast

from PIL import Image

from npconv.errors import ImageError, InputError
from npconv.messages import shown

#: The most that reading one picture may take, in bytes, where a call does not say: 64 million pixels of JPEG fit.
MAX_MEMORY = 600 * 2**20

#: Bytes a pixel of formats whose libraries hold more than the pixels.
HEAVY = {"WEBP": 17, "AVIF": 17, "HEIF": 17}

#: Bytes a pixel: JPEGs that come in passes (the coefficients of all of them), with three channels and with four.
PROGRESSIVE, PROGRESSIVE_CMYK = 11, 13

#: Bytes a pixel: PPM that is no copy of memory, which Pillow unpacks number by number.
UNPACKED = 14

#: Bytes a pixel of all others: Pillow's pixels, of 4 bytes, and the RGB picture, or that and the one turned upright.
PLAIN = 9

# Tags of TIFF.
SUBFILE_TYPE, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, PLANAR = 254, 258, 259, 262, 266, 277, 284
INK_SET, DOT_RANGE, EXTRA_SAMPLES, SAMPLE_FORMAT, LOWEST, HIGHEST = 332, 336, 338, 339, 340, 341
ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT = 278, 322, 323
COLOUR_MAP, COEFFICIENTS, SUBSAMPLING, REFERENCE = 320, 529, 530, 532

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
UNSIGNED, SIGNED = 1, 2
SEPARATE = 2  #: of PLANAR: each channel on its own

#: How many channels a photometric interpretation has; any other one has one.
CHANNELS = {RGB: 3, CMYK: 4, YCBCR: 3, 8: 3}

#: Luma of YCbCr as in JPEG, and the tags that say so.
REC_601 = (0.299, 0.587, 0.114)
FULL_RANGE = (0, 255, 128, 255, 128, 255)

#: What Pillow calls the samples of greys of a PNG with fewer than 8 bits, and their step once they are spread over 8.
PNG_STEPS = {"1": 255, "L;2": 85, "L;4": 17}


def check_price(image: Image.Image, name: str, max_memory: int | None) -> None:
    """Raise `ImageError` if reading a picture, of which the header is known, would take more than `max_memory`.

    A `max_memory` that is no number of bytes is an `InputError`.
    """
    if max_memory is not None and (isinstance(max_memory, bool) or not isinstance(max_memory, int) or max_memory < 1):
        raise InputError(f"expected max_memory as a number of bytes from 1, got {shown(max_memory)}")
    if not getattr(image, "tile", None):  # its pixels are in memory already
        return
    budget = MAX_MEMORY if max_memory is None else max_memory
    price = price_of(image)
    if price > budget:
        raise ImageError(
            f"{name}: {image.height} x {image.width} pixels of {image.format or image.mode} take about "
            f"{price / 2**20:.0f} MB to read, more than the {budget / 2**20:.0f} MB of max_memory (--max-memory); "
            "use a smaller picture, or raise it"
        )


def price_of(image: Image.Image) -> int:
    """Return about how many bytes reading a picture takes, at the most."""
    pixels = image.width * image.height
    if image.format == "TIFF":
        return max(PLAIN * pixels, _tile_bytes(image) + 8 * pixels)
    return pixels * _bytes_per_pixel(image)


def _bytes_per_pixel(image: Image.Image) -> int:
    """Return about how many bytes a pixel of a picture takes, at the most."""
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        return PROGRESSIVE_CMYK if image.mode == "CMYK" else PROGRESSIVE
    tiles = getattr(image, "tile", None)
    if image.format == "PPM" and tiles and tiles[0][0] != "raw":
        return UNPACKED
    return HEAVY.get(image.format or "", PLAIN)


def _tile_bytes(image: Image.Image) -> int:
    """Return what a tile or strip of a TIFF takes, which libtiff decodes as a whole and which may be larger than it."""
    width = first_of(image, TILE_WIDTH, image.width)
    height = first_of(image, TILE_HEIGHT, min(first_of(image, ROWS_PER_STRIP, image.height), max(image.size)))
    return width * height * first_of(image, SAMPLES, 1) * max(8, first_of(image, BITS, 1)) // 8


def check_meaning(image: Image.Image, name: str) -> None:
    """Raise `ImageError` if the file of a picture means something that Pillow does not make of it.

    To be called before the pixels are loaded: Pillow forgets how they are stored then.
    """
    check = {"TIFF": _tiff_flaw, "JPEG": _jpeg_flaw, "MPO": _jpeg_flaw, "PNG": _png_flaw, "PPM": _pfm_flaw}
    if image.format in check and (flaw := check[image.format](image)):
        raise ImageError(f"{name}: {flaw}; save it as PNG with 8 bits")


def value_range(image: Image.Image) -> tuple[float, float] | None:
    """Return which values are black and white, or None if the file does not say; for pictures of one channel."""
    if image.format == "TIFF":
        return _tiff_range(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return 0, 65535
    return None


def is_inverted(image: Image.Image) -> bool:
    """Tell whether Pillow gives the numbers of a grey file in which 0 is white as they are."""
    return image.format == "TIFF" and first_of(image, PHOTOMETRIC, 0) == WHITE_IS_ZERO and image.mode not in ("1", "L")


def transparent_value(image: Image.Image) -> Any:
    """Return which value of a picture is transparent, or how much each entry of its palette is; None if none is.

    To be called before the pixels are loaded.
    """
    value = image.info.get("transparency")
    if image.format == "PNG" and isinstance(value, int) and image.mode in ("1", "L"):
        return value * PNG_STEPS.get(_raw_mode(image), 1)
    return value


def _raw_mode(image: Image.Image) -> str:
    """Return what Pillow calls the layout of a file's samples; nothing once they are loaded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return arguments if isinstance(arguments, str) else str(arguments[0])


def _tiff_flaw(image: Image.Image) -> str | None:
    """Return what is wrong with a TIFF, if anything is."""
    subfile = first_of(image, SUBFILE_TYPE, 0)
    if subfile & 5:
        return "its first page is a " + ("preview of another picture" if subfile & 1 else "mask")
    if not _all(image, PHOTOMETRIC) and first_of(image, COMPRESSION, 1) not in (2, 3, 4):  # faxes are black on white
        return "a TIFF that does not say whether 0 is black or white (no PhotometricInterpretation)"
    is_signed = first_of(image, SAMPLE_FORMAT, UNSIGNED) == SIGNED and _bits(image) < 32  # Pillow's own have 32 bits
    if is_signed and (_bits(image) == 8 or not _stated_range(image)):
        return f"a TIFF of signed {_bits(image)}-bit samples, of which programs differ on what is black"
    if (
        image.mode in ("RGB", "RGBA")
        and 8 < _bits(image) <= 16
        and _stated_range(image) not in (None, (0, 2 ** _bits(image) - 1))
    ):
        return "a TIFF of colours whose tags say a range of their own (SMinSampleValue, SMaxSampleValue)"
    if first_of(image, PLANAR, 1) == SEPARATE and not _separate_is_right(image):
        return "a TIFF with each channel on its own (PlanarConfiguration 2), of a kind that Pillow reads wrongly"
    if first_of(image, PHOTOMETRIC, 0) == PALETTE and 0 < max(_all(image, COLOUR_MAP), default=0) < 256:
        return "a TIFF with a palette of 8-bit entries, where 16 bits are due"
    return _ink_flaw(image) or _ycbcr_flaw(image)


def _separate_is_right(image: Image.Image) -> bool:
    """Tell whether Pillow reads a TIFF rightly that has each channel on its own."""
    photometric, extra = first_of(image, PHOTOMETRIC, 0), _all(image, EXTRA_SAMPLES)
    channels = first_of(image, SAMPLES, 1) - len(extra)
    if any(extra) or channels != CHANNELS.get(photometric, 1):
        return False
    if image.info.get("compression") == "raw":
        plain = _bits(image) == 8 and first_of(image, FILL_ORDER, 1) == 1
        return plain and photometric in (BLACK_IS_ZERO, RGB, PALETTE, CMYK)
    return photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK)


def _ink_flaw(image: Image.Image) -> str | None:
    """Return what is wrong with the inks of a TIFF, if anything is."""
    if first_of(image, PHOTOMETRIC, 0) != CMYK:
        return None
    if first_of(image, INK_SET, 1) != 1:
        return "a TIFF of other inks than cyan, magenta, yellow and black (InkSet)"
    dots = _all(image, DOT_RANGE)
    if any(dot != (2 ** _bits(image) - 1 if place % 2 else 0) for place, dot in enumerate(dots)):
        return "a TIFF in which no ink is not 0 and full ink not the highest value (DotRange)"
    return None


def _ycbcr_flaw(image: Image.Image) -> str | None:
    """Return what is wrong with brightness and colour of a TIFF in YCbCr, if anything is."""
    if first_of(image, PHOTOMETRIC, 0) != YCBCR or image.mode == "L":
        return None
    is_raw = image.info.get("compression") == "raw"
    if is_raw and (image.mode != "YCbCr" or (_all(image, SUBSAMPLING) or (2, 2)) != (1, 1)):
        return "a TIFF of uncompressed YCbCr, which this Pillow reads wrongly"
    coefficients, reference = _all(image, COEFFICIENTS), _all(image, REFERENCE)
    if any(abs(float(a) - b) > 0.001 for a, b in zip(coefficients, REC_601, strict=False)):
        return "a TIFF of YCbCr with coefficients of its own (YCbCrCoefficients)"
    if any(abs(float(a) - b) > 0.5 for a, b in zip(reference, FULL_RANGE, strict=False)):
        return "a TIFF of YCbCr with a range of its own (ReferenceBlackWhite)"
    return None


def _jpeg_flaw(image: Image.Image) -> str | None:
    """Return what is wrong with a JPEG, if anything is."""
    if image.mode == "CMYK" and "adobe" not in image.info:
        return "a JPEG in CMYK without Adobe's mark, of which programs differ on whether it is inverted"
    return None


def _png_flaw(image: Image.Image) -> str | None:
    """Return what is wrong with a PNG, if anything is."""
    colour = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(colour, tuple) and ("16" in _raw_mode(image) or max(colour) > 255):
        return "a PNG with a transparent colour of 16 bits, of which Pillow keeps the upper half only"
    return None


def _pfm_flaw(image: Image.Image) -> str | None:
    """Return what is wrong with a PFM, if anything is."""
    if image.mode == "F" and image.info.get("scale", 1.0) != 1:
        return f"a PFM with a scale of {image.info['scale']:g}, of which programs differ on what is white"
    return None


def _tiff_range(image: Image.Image) -> tuple[float, float] | None:
    """Return which values of a TIFF are the lowest and the highest, or None if its tags do not say."""
    stated = _stated_range(image)
    if stated is None and first_of(image, SAMPLE_FORMAT, UNSIGNED) == UNSIGNED and _bits(image) <= 16:
        return 0, 2 ** _bits(image) - 1
    return stated


def _stated_range(image: Image.Image) -> tuple[float, float] | None:
    """Return SMinSampleValue and SMaxSampleValue of a TIFF, where they are a range."""
    lows, highs = _all(image, LOWEST), _all(image, HIGHEST)
    if not lows or not highs:
        return None
    low, high = float(min(lows)), float(max(highs))
    return (low, high) if low < high and math.isfinite(high - low) else None


def _bits(image: Image.Image) -> int:
    """Return how many bits a sample of a TIFF has."""
    return first_of(image, BITS, 1)


def first_of(image: Image.Image, tag: int, default: int) -> int:
    """Return the value of a tag of a TIFF, the first one if there are several."""
    values = _all(image, tag)
    return int(values[0]) if values else default


def _all(image: Image.Image, tag: int) -> tuple[Any, ...]:
    """Return the values of a tag of a TIFF."""
    value = cast(Any, image).tag_v2.get(tag, ())
    return value if isinstance(value, tuple) else (value,)
