"""What the header of a picture says, tag by tag: what is refused, how much reading takes, which values are white."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from npconv.errors import ImageError, InputError
from npconv.images.header import check_meaning, check_price, is_inverted, price_of, transparent_value, value_range

# Tags of TIFF by their numbers in its specification.
SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, FILL, SAMPLES, ROWS, PLANAR = 254, 258, 259, 262, 266, 277, 278, 284
COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, INK_SET, DOT_RANGE, EXTRA, FORMAT = 320, 322, 323, 332, 336, 338, 339
LOWEST, HIGHEST, COEFFICIENTS, SUBSAMPLING, REFERENCE = 340, 341, 529, 530, 532


def image(format_: str, mode: str = "RGB", size: tuple[int, int] = (20, 10), tile: Any = (), **info: Any) -> Any:
    """Return a picture of which the header is known."""
    width, height = size
    facts = {"format": format_, "mode": mode, "size": size, "width": width, "height": height}
    return SimpleNamespace(**facts, info=info, tile=list(tile), tag_v2={})


def tiff(tags: dict[int, Any], mode: str = "RGB", compression: str = "raw", size: tuple[int, int] = (20, 10)) -> Any:
    made = image("TIFF", mode, size, compression=compression)
    made.tag_v2.update(tags)
    return made


RGB8 = {PHOTOMETRIC: 2, BITS: (8, 8, 8), SAMPLES: 3}
YCC = {PHOTOMETRIC: 6, BITS: (8, 8, 8), SAMPLES: 3, SUBSAMPLING: (1, 1)}
INKS = {PHOTOMETRIC: 5, BITS: (8,) * 4, SAMPLES: 4}
APART = {PLANAR: 2}


@pytest.mark.parametrize(
    ("made", "flaw"),
    [
        (tiff(RGB8), ""),
        (tiff({**RGB8, SUBFILE: 2}), ""),
        (tiff({**RGB8, SUBFILE: 1}), "its first page is a preview of another picture"),
        (tiff({**RGB8, SUBFILE: 5}), "its first page is a preview of another picture"),
        (tiff({**RGB8, SUBFILE: 4}), "its first page is a mask"),
        (tiff({BITS: 1}, "1"), "whether 0 is black or white"),
        *((tiff({BITS: 1, COMPRESSION: fax}, "1"), "") for fax in (2, 3, 4)),
        *((tiff({BITS: 1, COMPRESSION: other}, "1"), "whether 0 is black or white") for other in (1, 5)),
        (tiff({PHOTOMETRIC: 1, BITS: 8, FORMAT: 2}, "L"), "a TIFF of signed 8-bit samples"),
        (tiff({PHOTOMETRIC: 1, BITS: 8, FORMAT: 2, LOWEST: 0, HIGHEST: 9}, "L"), "a TIFF of signed 8-bit samples"),
        (tiff({PHOTOMETRIC: 1, BITS: 16, FORMAT: 2}, "I;16"), "a TIFF of signed 16-bit samples"),
        (tiff({PHOTOMETRIC: 1, BITS: 16, FORMAT: 2, LOWEST: 0, HIGHEST: 9}, "I;16"), ""),
        (tiff({PHOTOMETRIC: 1, BITS: 32, FORMAT: 2}, "I"), ""),
        (tiff({PHOTOMETRIC: 1, BITS: 16, FORMAT: 1}, "I;16"), ""),
        (tiff({**RGB8, BITS: 16, LOWEST: 0, HIGHEST: 65535}), ""),
        (tiff({**RGB8, BITS: 16}), ""),
        (tiff({**RGB8, BITS: 16, LOWEST: 0, HIGHEST: 4095}), "tags say a range of their own"),
        (tiff({**RGB8, BITS: 16, LOWEST: 1, HIGHEST: 65535}, "RGBA"), "tags say a range of their own"),
        (tiff({**RGB8, BITS: 9, LOWEST: 0, HIGHEST: 255}), "tags say a range of their own"),
        (tiff({**RGB8, LOWEST: 0, HIGHEST: 99}), ""),
        (tiff({**RGB8, BITS: 32, LOWEST: 0, HIGHEST: 99}), ""),
        (tiff({**RGB8, **APART}), ""),
        (tiff({**RGB8, PLANAR: 1, EXTRA: (2,)}), ""),
        (tiff({**RGB8, **APART, EXTRA: (2,), SAMPLES: 4}), "PlanarConfiguration 2"),
        (tiff({**RGB8, **APART, EXTRA: (0,), SAMPLES: 4}), ""),
        (tiff({**RGB8, **APART, SAMPLES: 4}), "PlanarConfiguration 2"),
        (tiff({**RGB8, **APART, BITS: 16}), "PlanarConfiguration 2"),
        (tiff({**RGB8, **APART, FILL: 2}), "PlanarConfiguration 2"),
        (tiff({**RGB8, **APART, BITS: 16, FILL: 2}, compression="lzw"), ""),
        *((tiff({PHOTOMETRIC: grey, BITS: 8, **APART}, "L"), says) for grey, says in ((1, ""), (0, "Planar"))),
        *((tiff({PHOTOMETRIC: grey, BITS: 8, **APART}, "L", "lzw"), "") for grey in (0, 1)),
        (tiff({PHOTOMETRIC: 3, BITS: 8, **APART}, "P"), ""),
        (tiff({**INKS, **APART}, "CMYK"), ""),
        (tiff({**INKS, **APART}, "CMYK", "lzw"), ""),
        (tiff({**YCC, **APART}, "YCbCr", "jpeg"), "PlanarConfiguration 2"),
        (tiff({PHOTOMETRIC: 8, BITS: 8, SAMPLES: 3, **APART}, "LAB", "lzw"), "PlanarConfiguration 2"),
        (tiff({PHOTOMETRIC: 3, COLOUR_MAP: (0, 255, 7)}, "P"), "a palette of 8-bit entries"),
        (tiff({PHOTOMETRIC: 3, COLOUR_MAP: (0, 1)}, "P"), "a palette of 8-bit entries"),
        (tiff({PHOTOMETRIC: 3, COLOUR_MAP: (0, 256)}, "P"), ""),
        (tiff({PHOTOMETRIC: 3, COLOUR_MAP: (0, 0)}, "P"), ""),
        (tiff({PHOTOMETRIC: 3}, "P"), ""),
        (tiff({**RGB8, COLOUR_MAP: (0, 255)}), ""),
        (tiff(INKS, "CMYK"), ""),
        (tiff({**INKS, INK_SET: 1, DOT_RANGE: (0, 255)}, "CMYK"), ""),
        (tiff({**INKS, INK_SET: 2}, "CMYK"), "of other inks than cyan, magenta, yellow and black"),
        (tiff({**INKS, DOT_RANGE: (0, 254)}, "CMYK"), "no ink is not 0"),
        (tiff({**INKS, DOT_RANGE: (1, 255)}, "CMYK"), "no ink is not 0"),
        (tiff({**INKS, DOT_RANGE: (0, 255, 0, 255, 255, 0)}, "CMYK"), "no ink is not 0"),
        (tiff({**INKS, BITS: 16, DOT_RANGE: (0, 65535)}, "CMYK"), ""),
        (tiff({**RGB8, INK_SET: 2}), ""),
        (tiff(YCC, "YCbCr"), ""),
        (tiff(YCC, "RGB"), "uncompressed YCbCr"),
        (tiff({**YCC, SUBSAMPLING: (2, 1)}, "YCbCr"), "uncompressed YCbCr"),
        (tiff({PHOTOMETRIC: 6, BITS: 8, SAMPLES: 3}, "YCbCr"), "uncompressed YCbCr"),
        (tiff({**YCC, SUBSAMPLING: (2, 2)}, "YCbCr", "jpeg"), ""),
        (tiff({**YCC, SUBSAMPLING: (2, 2)}, "RGB", "jpeg"), ""),
        (tiff({**YCC, SUBSAMPLING: (2, 2)}, "L"), ""),
        (tiff({**YCC, COEFFICIENTS: (0.2995, 0.587, 0.1145)}, "YCbCr"), ""),
        (tiff({**YCC, REFERENCE: (0.4, 255, 128, 255, 128, 254.6)}, "YCbCr"), ""),
        (tiff({**YCC, COEFFICIENTS: (0.299, 0.587, 0.116)}, "YCbCr"), "YCbCrCoefficients"),
        (tiff({**YCC, COEFFICIENTS: (0.2126, 0.587, 0.114)}, "YCbCr"), "YCbCrCoefficients"),
        (tiff({**YCC, REFERENCE: (16, 255, 128, 255, 128, 255)}, "YCbCr"), "ReferenceBlackWhite"),
        (tiff({**YCC, REFERENCE: (0, 255, 128, 255, 128, 254.4)}, "YCbCr"), "ReferenceBlackWhite"),
        *((image(format_, "CMYK"), "a JPEG in CMYK without Adobe's mark") for format_ in ("JPEG", "MPO")),
        (image("JPEG", "CMYK", adobe=100), ""),
        (image("JPEG"), ""),
        (image("PNG", transparency=(255, 0, 0)), ""),
        (image("PNG", transparency=(256, 0, 0)), "a transparent colour of 16 bits"),
        (image("PNG", tile=[("zip", (), 0, "RGB;16B")], transparency=(1, 1, 1)), "a transparent colour of 16 bits"),
        (image("PNG", tile=[("zip", (), 0, "RGB;16B")]), ""),
        (image("PNG", "P", transparency=b"\0"), ""),
        (image("PPM", "F", scale=1.0), ""),
        (image("PPM", "F"), ""),
        (image("PPM", "F", scale=2.5), "a PFM with a scale of 2.5,"),
        (image("PPM", "RGB", scale=2.5), ""),
        (image("BMP", "CMYK"), ""),
    ],
)  # fmt: skip
def test_what_a_file_means(made, flaw):
    if not flaw:
        check_meaning(made, "a.x")
        return
    with pytest.raises(ImageError) as caught:
        check_meaning(made, "a.x")
    assert str(caught.value).startswith("a.x: ")
    assert flaw in str(caught.value)
    assert str(caught.value).endswith("; save it as PNG with 8 bits")


@pytest.mark.parametrize(
    ("made", "bytes_"),
    [
        (image("PNG"), 9 * 200),
        (image("JPEG"), 9 * 200),
        (image("JPEG", progressive=1), 11 * 200),
        (image("MPO", progressive=1), 11 * 200),
        (image("JPEG", "CMYK", progressive=1), 13 * 200),
        (image("JPEG", "CMYK"), 9 * 200),
        (image("WEBP", progressive=1), 17 * 200),
        (image("AVIF"), 17 * 200),
        (image("PPM", tile=[("raw", (), 0, "RGB")]), 9 * 200),
        (image("PPM", tile=[("ppm_plain", (), 0, "RGB")]), 14 * 200),
        (tiff({**RGB8, ROWS: 1}), 9 * 200),
        (tiff({**RGB8}), 20 * 10 * 3 + 8 * 200),
        (tiff({**RGB8, ROWS: 5}), 20 * 5 * 3 + 8 * 200),
        (tiff({**RGB8, ROWS: 4_000_000_000}), 20 * 20 * 3 + 8 * 200),
        (tiff({**RGB8, TILE_WIDTH: 64, TILE_HEIGHT: 32}), 64 * 32 * 3 + 8 * 200),
        (tiff({**RGB8, BITS: 16, TILE_WIDTH: 64, TILE_HEIGHT: 32}), 64 * 32 * 3 * 2 + 8 * 200),
        (tiff({PHOTOMETRIC: 1, BITS: 1, TILE_WIDTH: 64, TILE_HEIGHT: 32}, "1"), 64 * 32 + 8 * 200),
    ],
)
def test_a_price(made, bytes_):
    assert price_of(made) == bytes_


def test_a_price_is_held_against_what_may_be_spent():
    made = image("PNG", size=(2000, 1000), tile=[()])
    check_price(made, "a.png", None)
    check_price(made, "a.png", 18_000_000)
    with pytest.raises(
        ImageError, match=r"a\.png: 1000 x 2000 pixels of PNG take about 17 MB to read, more than the 17"
    ):
        check_price(made, "a.png", 17_999_999)
    check_price(image("PNG", size=(2000, 1000)), "in memory", 1)
    edge = image("PNG", size=(10_000, 6990), tile=[()])
    check_price(edge, "a.png", None)
    with pytest.raises(ImageError, match=r"10000 x 7000 pixels of RGB take about 601 MB to read, more than the 600 MB"):
        check_price(image("", size=(7000, 10_000), tile=[()]), "a.png", None)
    for wrong in (0, -1, True, 1.5, "1"):
        with pytest.raises(InputError, match="expected max_memory as a number of bytes from 1"):
            check_price(made, "a.png", wrong)
    check_price(image("PNG", size=(1, 1)), "a.png", 1)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (tiff({PHOTOMETRIC: 1, BITS: 12}, "I;16"), (0, 4095)),
        (tiff({PHOTOMETRIC: 1, BITS: 16}, "I;16"), (0, 65535)),
        (tiff({PHOTOMETRIC: 1, BITS: 32}, "I"), None),
        (tiff({PHOTOMETRIC: 1, BITS: 16, FORMAT: 2}, "I;16"), None),
        (tiff({PHOTOMETRIC: 1, BITS: 32, LOWEST: (5, 3), HIGHEST: (9, 7)}, "I"), (3, 9)),
        (tiff({PHOTOMETRIC: 1, BITS: 32, LOWEST: 3, HIGHEST: 3}, "I"), None),
        (tiff({PHOTOMETRIC: 1, BITS: 32, LOWEST: 3}, "I"), None),
        (tiff({PHOTOMETRIC: 1, BITS: 32, HIGHEST: 3}, "I"), None),
        (tiff({PHOTOMETRIC: 1, BITS: 32, LOWEST: -1.7e308, HIGHEST: 1.7e308}, "F"), None),
        (image("PNG", "I"), (0, 65535)),
        (image("PPM", "I"), (0, 65535)),
        (image("BMP", "I"), None),
        (image("BMP", "I;16B"), (0, 65535)),
        (image("PNG", "F"), None),
    ],
)
def test_black_and_white(made, found):
    assert value_range(made) == found


def test_greys_in_which_0_is_white():
    assert is_inverted(tiff({PHOTOMETRIC: 0, BITS: 16}, "I;16"))
    assert not is_inverted(tiff({PHOTOMETRIC: 1, BITS: 16}, "I;16"))
    assert not any(is_inverted(tiff({PHOTOMETRIC: 0, BITS: 8}, mode)) for mode in ("1", "L"))
    assert not is_inverted(image("PNG", "I;16"))


@pytest.mark.parametrize(("raw", "step"), [("1", 255), ("L;2", 85), ("L;4", 17), ("L", 1)])
def test_a_transparent_grey_is_spread_as_the_pixels_are(raw, step):
    for arguments in (raw, (raw, 0, 1)):
        assert transparent_value(image("PNG", "L", tile=[("zip", (), 0, arguments)], transparency=3)) == 3 * step
    assert transparent_value(image("GIF", "L", tile=[("gif", (), 0, raw)], transparency=3)) == 3
    assert transparent_value(image("PNG", "P", tile=[("zip", (), 0, raw)], transparency=3)) == 3
    assert transparent_value(image("PNG", "L", transparency=3)) == 3
    assert transparent_value(image("PNG", "L")) is None
