"""Pictures whose numbers mean what the file says: each file is written byte by byte, and so is what it shows.

Tolerances are in levels of 255: half a level where the rule rounds, one where it keeps the upper byte.
"""

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image
from support.picture_files import (
    chunk,
    grey_tiff,
    greys,
    netpbm,
    over_white,
    packed,
    png,
    tiff,
    without_adobe,
)

from npconv.errors import ImageError
from npconv.images import ConvNextImageProcessor, convert_to_rgb, open_image

HEIGHT, WIDTH = 3, 5
CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
#: TIFF's ExtraSamples: none, unspecified, associated and unassociated alpha, and one too many without the tag.
EXTRAS = ((), (0,), (1,), (2,), None)


def shown(content):
    return np.asarray(open_image(content)).astype(float)


def ramp(top, bits=16):
    """Return values (1, 9) from 0 to `top`."""
    return np.linspace(0, top, 9).round().astype(f"u{max(1, bits // 8)}" if bits % 8 == 0 else "u2")[None]


class TestTiffLayouts:
    """Every layout of the table of Pillow's plugin, and those around it: right, or refused."""

    @staticmethod
    def values(rng, bits, sample_format, channels):
        shape = (HEIGHT, WIDTH, channels)
        if sample_format == 3:
            values = rng.random(shape).astype("f4").astype(float)
        else:
            values = rng.integers(0, 2 ** (bits - (sample_format == 2)), shape, dtype="u8").astype("i8")
        values[0, 0] = 0
        values[0, 1] = 1 if sample_format == 3 else 2 ** (bits - (sample_format == 2)) - 1
        return values

    @staticmethod
    def truth(values, photometric, bits, sample_format, extra, palette):
        levels = values / (1 if sample_format == 3 else 2**bits - 1) * 255
        colours = levels[..., : CHANNELS[photometric]]
        if photometric == 0:
            colours = 255 - colours
        if photometric == 3:
            colours = palette.T[values[..., 0]] / 65535 * 255
        if photometric == 5:
            colours = (255 - colours[..., :3]) * (255 - colours[..., 3:]) / 255
        if photometric == 6:
            y, cb, cr = np.moveaxis(colours, -1, 0) - np.array([0, 128, 128])[:, None, None]
            colours = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1).clip(0, 255)
        if extra in ((1,), (2,), None):
            alpha = levels[..., CHANNELS[photometric] :] / 255
            if extra == (1,):  # premultiplied: what lies in the file is added to the white that shows through
                return np.minimum(colours, 255 * alpha) + 255 * (1 - alpha)
            return over_white(colours, alpha)
        return colours

    @pytest.mark.long
    @pytest.mark.parametrize("photometric", CHANNELS)
    def test_right_or_refused(self, photometric):
        rng = np.random.default_rng(photometric)
        kinds = [(bits, 1) for bits in (1, 2, 4, 6, 8, 12, 16, 32)] + [(8, 2), (16, 2), (16, 3), (32, 3), (64, 3)]
        if CHANNELS[photometric] > 1:  # of the others Pillow knows none
            kinds = [(8, 1), (16, 1), (16, 2), (32, 3)]
        read = 0
        for order, (bits, sample_format), extra, planar, fill, deflate in itertools.product(
            "<>", kinds, EXTRAS, (1, 2), (1, 2), (False, True)
        ):
            if photometric == 3 and (bits > 8 or sample_format != 1):
                continue
            channels = CHANNELS[photometric] + (1 if extra is None else len(extra))
            values = self.values(rng, bits, sample_format, channels)
            palette = rng.integers(0, 65536, (3, 2**bits)) if photometric == 3 else None
            tags = {256: ("I", [WIDTH]), 257: ("I", [HEIGHT]), 278: ("I", [HEIGHT]), 262: ("H", [photometric])}
            tags |= {258: ("H", [bits] * channels), 339: ("H", [sample_format] * channels), 277: ("H", [channels])}
            tags |= {284: ("H", [planar]), 266: ("H", [fill]), 530: ("H", [1, 1])}
            tags |= {338: ("H", list(extra))} if extra else {}
            tags |= {320: ("H", palette.ravel().tolist())} if photometric == 3 else {}
            planes = [values] if planar == 1 else np.split(values, channels, axis=-1)
            strips = [packed(plane, bits, order, sample_format) for plane in planes]
            if fill == 2:
                strips = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip) for strip in strips]
            try:
                got = shown(tiff(tags, strips, order=order, deflate=deflate))
            except ImageError as error:
                assert "\n" not in str(error)  # noqa: PT017 - an error is right too
                continue
            read += 1
            expected = self.truth(values, photometric, bits, sample_format, extra, palette)
            # Greys of 9 and more bits keep their upper byte; premultiplied 8-bit colours round three times.
            np.testing.assert_allclose(
                got, np.broadcast_to(expected, got.shape), atol=3 if extra == (1,) else 2, rtol=0,
                err_msg=f"{order} {bits} bits, format {sample_format}, extra {extra}, planar {planar}, fill {fill}",
            )  # fmt: skip
        assert read >= 2

    @pytest.mark.parametrize("deflate", [False, True])
    def test_tiles_that_reach_beyond_the_picture(self, deflate):
        values = np.random.default_rng(3).integers(0, 65536, (20, 25))
        padded = np.pad(values, ((0, 12), (0, 7))).astype("<u2")
        tiles = [padded[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16)]
        tags = {256: ("I", [25]), 257: ("I", [20]), 258: ("H", [16]), 262: ("H", [0]), 277: ("H", [1])}
        content = tiff({**tags, 322: ("I", [16]), 323: ("I", [16])}, tiles, deflate=deflate, tiled=True)
        np.testing.assert_array_equal(shown(content), greys(255 - (values >> 8)))

    @pytest.mark.parametrize("step", [1, 2, 4])
    def test_colours_of_fewer_pixels_than_brightness(self, step):
        rng = np.random.default_rng(step)
        y, cb, cr = rng.integers(60, 200, (8, 8)), *rng.integers(100, 150, (2, 8 // step, 8 // step))
        blocks = itertools.product(range(0, 8, step), repeat=2)
        content = b"".join(
            y[top : top + step, left : left + step].astype("u1").tobytes()
            + bytes([cb[top // step, left // step], cr[top // step, left // step]])
            for top, left in blocks
        )
        tags = {256: ("I", [8]), 257: ("I", [8]), 258: ("H", [8] * 3), 262: ("H", [6]), 277: ("H", [3])}
        got = shown(tiff({**tags, 278: ("I", [8]), 530: ("H", [step, step])}, [content], deflate=True))
        blue, red = (np.kron(part, np.ones((step, step))) - 128 for part in (cb, cr))
        expected = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=-1)
        np.testing.assert_allclose(got, expected.clip(0, 255), atol=1)

    @pytest.mark.parametrize("deflate", [False, True])
    def test_lab(self, deflate):
        rng = np.random.default_rng(7)
        lab = np.stack([rng.integers(40, 220, (4, 6)), *rng.integers(-15, 15, (2, 4, 6))], axis=-1)
        tags = {256: ("I", [6]), 257: ("I", [4]), 258: ("H", [8] * 3), 262: ("H", [8]), 277: ("H", [3])}
        content = tiff({**tags, 278: ("I", [4])}, [(lab % 256).astype("u1").tobytes()], deflate=deflate)
        light = (lab[..., 0] / 255 * 100 + 16) / 116
        edges = np.stack([light + lab[..., 1] / 500, light, light - lab[..., 2] / 200], axis=-1)
        xyz = edges**3 * [0.9642, 1, 0.8249]  # of D50; no value is so dark that the cube would not hold
        to_srgb = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540]]
        linear = xyz @ np.transpose([*to_srgb, [0.0719453, -0.2289914, 1.4052427]])
        # Pillow's colour engine works on profiles of its own: some levels apart.
        np.testing.assert_allclose(shown(content), (1.055 * linear ** (1 / 2.4) - 0.055) * 255, atol=4)

    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("deflate", [False, True])
    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_white_is_zero(self, order, deflate, bits):
        values = ramp(2**bits - 1)
        expected = greys(255 - values / (2**bits - 1) * 255)
        np.testing.assert_allclose(shown(grey_tiff(values, bits, 0, order, deflate=deflate)), expected, atol=0.5)

    @pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
    def test_a_fax_that_says_nothing_of_black_and_white_is_black_on_white(self, compression):
        file = io.BytesIO()
        Image.fromarray(np.eye(8, 16, dtype=bool)).save(file, "TIFF", compression=compression)
        photometric = struct.pack("<HHI", 262, 3, 1)
        assert file.getvalue().count(photometric) == 1
        content = file.getvalue().replace(photometric, struct.pack("<HHI", 263, 3, 1))  # another tag
        np.testing.assert_array_equal(shown(content), greys(255 * (1 - np.eye(8, 16))))


class TestDeepGreys:
    @pytest.mark.parametrize("deflate", [False, True])
    def test_16_bits_white_is_zero(self, deflate):
        values = ramp(65535)
        got = shown(grey_tiff(values, 16, photometric=0, deflate=deflate))
        np.testing.assert_array_equal(got, greys(255 - (values >> 8)))

    @pytest.mark.parametrize("deflate", [False, True])
    @pytest.mark.parametrize("width", [8, 9])
    def test_12_bits_reach_white(self, deflate, width):
        values = np.linspace(0, 4095, width).astype("u2")[None]
        np.testing.assert_array_equal(shown(grey_tiff(values, 12, deflate=deflate)), greys(values >> 4))

    @pytest.mark.parametrize("bits", [9, 10, 12, 14, 15, 16])
    @pytest.mark.parametrize("photometric", [0, 1])
    def test_fewer_bits_in_16_by_the_tag_of_the_highest_value(self, bits, photometric):
        values = ramp(2**bits - 1)
        tags = {340: ("H", [0]), 341: ("H", [2**bits - 1])}
        upper = values >> (bits - 8)
        got = shown(grey_tiff(values, 16, photometric, tags=tags))
        np.testing.assert_array_equal(got, greys(255 - upper if photometric == 0 else upper))

    @pytest.mark.parametrize(("bits", "sample_format", "letter"), [(16, 1, "H"), (16, 2, "h"), (32, 3, "f")])
    def test_a_range_in_the_tags(self, bits, sample_format, letter, monkeypatch):
        monkeypatch.setitem(__import__("support.picture_files").picture_files.TIFF_TYPES, "h", 8)
        low, high = (100, 1100) if sample_format == 1 else (-1000, 3000)
        values = np.array([[low, (low + high) // 2, high]])
        tags = {340: (letter, [low]), 341: (letter, [high])}
        got = shown(grey_tiff(values, bits, sample_format=sample_format, tags=tags))
        np.testing.assert_allclose(got, greys([[0, 127.5, 255]]), atol=0.5)
        beyond = grey_tiff(np.array([[low - 1, high]]), bits, sample_format=sample_format, tags=tags)
        with pytest.raises(ImageError, match=f"expected values from {low}"):
            open_image(beyond)

    @pytest.mark.parametrize("photometric", [0, 1])
    def test_floats(self, photometric):
        for values, levels in (([0, 0.25, 1], [0, 63.75, 255]), ([0, 99.6, 254.6], [0, 99.6, 254.6])):
            got = shown(grey_tiff(np.array([values]), 32, photometric, sample_format=3))
            expected = np.array([levels]) if photometric else 255 - np.array([levels])
            np.testing.assert_allclose(got, greys(expected), atol=0.5)

    @pytest.mark.parametrize("maxval", [1, 3, 15, 100, 255, 256, 1023, 4095, 10000, 65535])
    @pytest.mark.parametrize("magic", ["P2", "P3", "P5", "P6"])
    def test_netpbm_also_where_all_is_dark(self, magic, maxval):
        channels = 3 if magic in ("P3", "P6") else 1
        for top in (maxval, min(maxval, 200)):
            values = np.linspace(0, top, 12 * channels).astype(int).reshape(3, 4, channels)
            np.testing.assert_allclose(
                shown(netpbm(magic, values, maxval)), np.broadcast_to(values / maxval * 255, (3, 4, 3)), atol=1
            )

    def test_dark_16_bit_png(self):
        values = np.array([[[0], [100], [255], [256]]])
        np.testing.assert_array_equal(shown(png(values, 16, 0)), greys([[0, 0, 0, 1]]))

    def test_the_processor_and_an_opened_picture_follow_the_tags_too(self):
        values = np.linspace(0, 65535, 12).astype("u2").reshape(3, 4)
        content = grey_tiff(values, 16, photometric=0)
        expected = greys(255 - (values >> 8)).transpose(2, 0, 1)
        keep = {"do_resize": False, "do_rescale": False, "do_normalize": False}
        for loaded in (False, True):
            picture = Image.open(io.BytesIO(content))
            if loaded:
                picture.load()
            np.testing.assert_array_equal(ConvNextImageProcessor(**keep)(picture).pixel_values[0], expected)
            np.testing.assert_array_equal(np.asarray(convert_to_rgb(picture)), expected.transpose(1, 2, 0))


class TestPng:
    @pytest.mark.parametrize("interlaced", [False, True])
    @pytest.mark.parametrize(
        ("colour_type", "bits"),
        [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (4, 16), (6, 8), (6, 16)],
    )
    @pytest.mark.parametrize("transparent", [False, True])
    def test_depth_significant_bits_and_transparent_colour(self, colour_type, bits, interlaced, transparent):
        channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
        values = np.random.default_rng(bits).integers(0, 2**bits, (5, 9, channels))
        if bits == 16:
            values[0, :3, 0] = 0x1234, 0x1235, 0x3412  # alike in one byte
        chunks = chunk(b"sBIT", bytes([max(1, min(bits, 8) - 1)] * channels))
        alpha = values[..., -1:] / (2**bits - 1) if colour_type in (4, 6) else np.ones((5, 9, 1))
        if transparent:
            if colour_type in (4, 6):
                pytest.skip("a PNG with alpha has no transparent colour")
            chunks += chunk(b"tRNS", struct.pack(f">{channels}H", *values[0, 0].tolist()))
            alpha = (values != values[0, 0]).any(axis=-1, keepdims=True).astype(float)
        content = png(values, bits, colour_type, chunks, interlaced=interlaced)
        if transparent and (colour_type, bits) == (2, 16):
            with pytest.raises(ImageError, match="transparent colour of 16 bits"):
                open_image(content)
            return
        colours = values[..., : 1 if colour_type in (0, 4) else 3] / (2**bits - 1) * 255
        expected = over_white(colours, alpha)
        np.testing.assert_allclose(shown(content), np.broadcast_to(expected, (5, 9, 3)), atol=2, rtol=0)


class TestRefusedByName:
    GREY = np.array([[0, 100, 255]])

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (grey_tiff(GREY, 8, tags={262: None}), "does not say whether 0 is black or white"),
            (grey_tiff(GREY, 16, sample_format=2), "signed 16-bit samples"),
            (grey_tiff(GREY // 2, 8, sample_format=2), "signed 8-bit samples"),
            (grey_tiff(GREY, 64, sample_format=3), "cannot read .1 x 64-bit floating-point numbers"),
            (grey_tiff(GREY, 16, sample_format=3), "variant of TIFF that Pillow cannot read"),
            (grey_tiff(GREY, 16, 0, ">"), "variant of TIFF that Pillow cannot read"),
            (grey_tiff(GREY, 8, tags={254: ("I", [1])}), "a preview of another picture"),
            (grey_tiff(GREY, 8, tags={254: ("I", [4])}), "a mask"),
            (grey_tiff(GREY, 8, 3, tags={320: ("H", [*range(256)] * 3)}), "palette of 8-bit entries"),
            (
                grey_tiff(GREY, 8, tags={259: ("H", [34712])}),
                "cannot read .*not supported: number 34712",
            ),
            (b"MM\0\x2b\0\x08\0\0" + bytes(100), "TIFF with 64-bit places in big-endian order"),
            (b"Pf\n3 1\n-2.0\n" + np.array([0, 1, 2], "<f4").tobytes(), "PFM with a scale of 2"),
        ],
    )
    def test_no_certain_meaning(self, content, reason):
        with pytest.raises(ImageError, match=reason) as caught:
            open_image(content)
        assert "save it as PNG with 8 bits" in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("highest", [4095, 65535])
    def test_colours_with_a_range_of_their_own(self, highest):
        """Pillow keeps the upper 8 of 16 bits, which would be nearly black."""
        tags = {256: ("I", [1]), 257: ("I", [1]), 258: ("H", [16] * 3), 262: ("H", [2]), 277: ("H", [3])}
        tags |= {340: ("H", [0] * 3), 341: ("H", [highest] * 3)}
        content = tiff(tags, [np.array([highest, 0, 0], "<u2").tobytes()])
        if highest == 65535:
            assert shown(content).tolist() == [[[255, 0, 0]]]
        else:
            with pytest.raises(ImageError, match="range of their own"):
                open_image(content)

    @pytest.mark.parametrize(("tag", "reason"), [((332, "H", [2]), "InkSet"), ((336, "H", [255, 0] * 4), "DotRange")])
    def test_inks(self, tag, reason):
        tags = {256: ("I", [1]), 257: ("I", [1]), 258: ("H", [8] * 4), 262: ("H", [5]), 277: ("H", [4])}
        assert shown(tiff(tags, [bytes([0, 255, 255, 0])])).tolist() == [[[255, 0, 0]]]
        number, *value = tag
        with pytest.raises(ImageError, match=reason):
            open_image(tiff({**tags, number: value}, [bytes([0, 255, 255, 0])]))

    @pytest.mark.parametrize(
        "tag", [(530, "H", [2, 2]), (529, "R", [0.2126, 0.7152, 0.0722]), (532, "R", [16, 235, 128, 240, 128, 240])]
    )
    def test_brightness_and_colour_of_its_own(self, tag):
        number, *value = tag
        tags = {256: ("I", [2]), 257: ("I", [2]), 258: ("H", [8] * 3), 262: ("H", [6]), 277: ("H", [3])}
        with pytest.raises(ImageError, match="YCbCr"):
            open_image(tiff({**tags, 530: ("H", [1, 1]), number: value}, [bytes(12)]))

    def test_cmyk_jpeg_without_the_mark_that_it_is_inverted(self):
        stream = io.BytesIO()
        Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(stream, "JPEG")
        np.testing.assert_allclose(shown(stream.getvalue())[0, 0], (255, 0, 0), atol=3)  # colours are quantised
        with pytest.raises(ImageError, match="without Adobe's mark"):
            open_image(without_adobe(stream.getvalue()))
