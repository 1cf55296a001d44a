"""What reading a picture takes, in bytes, known before its pixels are decoded.

The figures are peaks of a process, measured format by format (tests/images/test_price.py measures them anew): what
Pillow and its libraries hold while they decode, and the RGB picture that is made of it.
"""

from __future__ import annotations

from PIL import Image

from npconv.errors import ImageError

#: The most that reading one picture may take, in bytes, where a call does not say.
MAX_MEMORY = 512 * 2**20

#: Bytes a pixel of formats whose libraries hold more than the pixels.
HEAVY = {"WEBP": 17, "AVIF": 17, "HEIF": 17}

#: Bytes a pixel: JPEGs that come in passes (the coefficients of all of them), with three channels and with four.
PROGRESSIVE, PROGRESSIVE_CMYK = 11, 13

#: Bytes a pixel: PPM that is no copy of memory, which Pillow unpacks number by number.
UNPACKED = 14

#: Bytes a pixel of all others: Pillow's pixels, of 4 bytes, and the RGB picture, or that and the one turned upright.
PLAIN = 9


def check_price(image: Image.Image, name: str, max_memory: int | None) -> None:
    """Raise `ImageError` if reading a picture, of which the header is known, would take more than `max_memory`."""
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
    from npconv.images.tags import BITS, SAMPLES, first_of

    width, height = first_of(image, 322, image.width), first_of(image, 323, first_of(image, 278, image.height))
    if 322 not in image.tag_v2:  # libtiff makes no strip higher than the picture
        height = min(height, max(image.size))
    return width * height * first_of(image, SAMPLES, 1) * max(8, first_of(image, BITS, 1)) // 8
