"""Every mode, format and kind of damage that a picture file can have."""

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from npconv.errors import ImageError, InputError
from npconv.images import decode
from npconv.images.decode import FORMATS, MAX_PIXELS, convert_to_rgb, open_image

LOSSLESS = {
    "PNG": {},
    "GIF": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "PPM": {},
}


def encoded(image, format_, **options):
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width, height):
    size = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + size + png_chunk(b"IDAT", zlib.compress(b""))


def rgb(image):
    assert image.mode == "RGB"
    return np.asarray(image)


class TestSources:
    def test_path_bytes_file_and_picture_give_the_same(self, photo, tmp_path):
        content = encoded(photo, "PNG")
        path = tmp_path / "phöto one.png"
        path.write_bytes(content)
        with path.open("rb") as file:
            for source in (path, str(path), content, io.BytesIO(content), file, photo):
                np.testing.assert_array_equal(rgb(open_image(source)), np.asarray(photo))

    def test_leaves_the_callers_file_open_and_his_picture_alone(self, photo):
        stream = io.BytesIO(encoded(photo, "PNG"))
        open_image(stream)
        assert not stream.closed
        palette = photo.convert("P")
        open_image(palette)
        assert palette.mode == "P"

    def test_file_is_read_from_its_start_even_when_it_was_just_written(self, photo):
        stream = io.BytesIO()
        photo.save(stream, "PNG")
        np.testing.assert_array_equal(rgb(open_image(stream)), np.asarray(photo))

    def test_pipe_that_cannot_seek(self, photo):
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as sink:
            sink.write(encoded(photo, "PNG"))
        with os.fdopen(reader, "rb") as source:
            np.testing.assert_array_equal(rgb(open_image(source)), np.asarray(photo))

    @pytest.mark.parametrize("source", [None, 3, ["a.png"], np.zeros((2, 2, 3), np.uint8)])
    def test_other_types_are_an_input_error(self, source):
        with pytest.raises(InputError, match=f"got {type(source).__name__}"):
            open_image(source)

    def test_text_mode_is_an_input_error(self):
        with pytest.raises(InputError, match="binary mode, got one that reads str"):
            open_image(io.StringIO("hello"))


class TestFormats:
    @pytest.mark.parametrize("format_", LOSSLESS)
    def test_lossless_formats_give_the_pixels(self, photo, format_):
        few_colours = photo.quantize(16).convert("RGB")
        content = encoded(few_colours, format_, **LOSSLESS[format_])
        np.testing.assert_array_equal(rgb(open_image(content)), np.asarray(few_colours))

    def test_lossy_formats_come_near(self):
        flat = Image.new("RGB", (32, 24), (200, 90, 30))
        Image.init()
        for format_ in {"JPEG", "MPO", "WEBP", "AVIF"} & set(Image.SAVE):  # AVIF came with Pillow 11.3
            difference = rgb(open_image(encoded(flat, format_))).astype(int) - (200, 90, 30)
            assert np.abs(difference).max() <= 6, format_  # brightness and colour are quantised

    @pytest.mark.parametrize("format_", ["GIF", "WEBP", "TIFF", "PNG"])
    def test_first_frame_of_several(self, format_):
        frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green")]
        options = {"lossless": True} if format_ == "WEBP" else {}
        content = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)
        assert (rgb(open_image(content)) == (255, 0, 0)).all()

    @pytest.mark.parametrize(
        ("format_", "what"),
        [
            ("EPS", "is PostScript, which is not read"),
            ("PDF", "is PDF, which is not read"),
            ("TGA", "not a picture, or its header is damaged"),  # it begins like nothing in particular
            ("ICO", "is ICO, which is not read"),
            ("JPEG2000", "is JPEG 2000, which is not read"),
        ],
    )
    def test_formats_off_the_list_are_refused(self, photo, format_, what):
        assert format_ not in FORMATS
        with pytest.raises(ImageError, match=f"{what}; expected JPEG"):
            open_image(encoded(photo, format_))


class TestModes:
    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
    def test_opaque_modes_as_pillow_converts_them(self, photo, mode):
        image = Image.frombytes("LAB", photo.size, photo.tobytes()) if mode == "LAB" else photo.convert(mode)
        np.testing.assert_array_equal(rgb(convert_to_rgb(image)), np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
    def test_transparency_is_laid_over_white(self, mode):
        image = Image.new("LA", (2, 1))
        image.putpixel((0, 0), (100, 255))
        image.putpixel((1, 0), (100, 51))  # a fifth of 100 and four fifths of 255
        if mode == "PA":
            image.putpalette([level for level in range(256) for _ in "RGB"])
        else:
            image = image.convert("RGBA").convert(mode) if mode in ("RGBA", "RGBa") else image.convert(mode)
        assert image.mode == mode
        np.testing.assert_allclose(rgb(convert_to_rgb(image))[0], [[100] * 3, [224] * 3], atol=2)  # premultiplied

    def test_transparent_palette_entry_and_colour(self, recwarn):
        palette = Image.new("P", (2, 1))
        palette.putpalette([10, 20, 30, 40, 50, 60])
        palette.putpixel((1, 0), 1)
        for transparency in (1, bytes([255, 0])):
            content = encoded(palette, "PNG", transparency=transparency)
            np.testing.assert_array_equal(rgb(open_image(content))[0], [[10, 20, 30], [255, 255, 255]])
        colour = Image.new("RGB", (2, 1), (1, 2, 3))
        colour.putpixel((1, 0), (9, 9, 9))
        content = encoded(colour, "PNG", transparency=(9, 9, 9))
        np.testing.assert_array_equal(rgb(open_image(content))[0], [[1, 2, 3], [255, 255, 255]])
        assert not recwarn

    def test_cmyk_jpeg(self):
        image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
        assert np.abs(rgb(open_image(encoded(image, "JPEG"))).astype(int) - (255, 0, 0)).max() <= 3

    @pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
    def test_16_bit_greys_keep_their_upper_byte(self, mode):
        values = np.array([[0, 255, 256, 0x1234, 0x80FF, 65535]])
        dtype = ">u2" if mode == "I;16B" or (mode == "I;16N" and sys.byteorder == "big") else "<u2"
        image = Image.frombytes(mode, (6, 1), values.astype(dtype).tobytes())
        np.testing.assert_array_equal(rgb(convert_to_rgb(image))[0, :, 1], [0, 0, 1, 0x12, 0x80, 255])

    def test_16_bit_png_in_grey_and_colour_agree(self):
        values = np.array([[0, 300, 40000, 65535]], dtype=">u2")
        header = b"\x89PNG\r\n\x1a\n"
        for colour_type, samples in ((0, values[..., None]), (2, values[..., None].repeat(3, axis=-1))):
            size = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 16, colour_type, 0, 0, 0))
            content = png_chunk(b"IDAT", zlib.compress(b"\0" + samples.tobytes())) + png_chunk(b"IEND", b"")
            np.testing.assert_array_equal(rgb(open_image(header + size + content))[0, :, 2], [0, 1, 156, 255])

    def test_32_bit_whole_numbers(self):
        for values, expected in (([0, 7, 255], [0, 7, 255]), ([0, 255, 65535], [0, 0, 255])):
            image = Image.fromarray(np.array([values], dtype=np.int32))
            assert image.mode == "I"
            np.testing.assert_array_equal(rgb(convert_to_rgb(image))[0, :, 0], expected)

    def test_floats(self):
        for values, expected in (([0, 0.5, 1], [0, 128, 255]), ([0, 0.6, 254.6], [0, 1, 255])):
            image = Image.fromarray(np.array([values], dtype=np.float32))
            np.testing.assert_array_equal(rgb(convert_to_rgb(image))[0, :, 0], expected)

    @pytest.mark.parametrize("values", [[-1, 5], [0, 65536], [0.0, 256.0], [-0.1, 0.5], [0.5, np.nan], [0, np.inf]])
    def test_values_without_a_rule(self, values):
        dtype = np.int32 if isinstance(values[1], int) else np.float32
        content = encoded(Image.fromarray(np.array([values], dtype=dtype)), "TIFF")
        with pytest.raises(ImageError, match=r"^a picture of \d+ bytes: expected values from 0 to (255|65535) in a"):
            open_image(content)


class TestOrientation:
    @staticmethod
    def as_a_camera_stores_it(upright, orientation):
        """Apply the inverse of what a viewer does, from the definition: where row 0 and column 0 of the file lie."""
        rows_first = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1]}
        if orientation in rows_first:
            return rows_first[orientation]
        # row 0 of the file is: 5 the left side, 6 the right side, 7 the right side, 8 the left side
        across = upright.transpose(1, 0, 2)
        return {5: across, 6: across[::-1], 7: across[::-1, ::-1], 8: across[:, ::-1]}[orientation]

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_orientation_is_turned_upright(self, photo, orientation):
        upright = np.asarray(photo)
        stored = Image.fromarray(np.ascontiguousarray(self.as_a_camera_stores_it(upright, orientation)))
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        content = encoded(stored, "PNG", exif=exif)
        np.testing.assert_array_equal(rgb(open_image(content)), upright)
        raw = open_image(content, apply_exif_orientation=False)
        np.testing.assert_array_equal(rgb(raw), np.asarray(stored))
        np.testing.assert_array_equal(rgb(open_image(raw)), upright)

    def test_is_applied_once(self, photo):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        once = open_image(encoded(photo, "JPEG", exif=exif))
        assert once.size == (photo.height, photo.width)
        assert open_image(once).size == once.size

    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
    def test_tiff_is_turned_once(self, photo, compression):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        content = encoded(photo, "TIFF", exif=exif, compression=compression)
        expected = np.rot90(np.asarray(photo), -1)
        np.testing.assert_array_equal(rgb(open_image(content)), expected)

    @pytest.mark.parametrize(
        "block", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"]
    )
    @pytest.mark.parametrize("format_", ["JPEG", "PNG"])
    def test_broken_exif_does_not_stop_the_picture(self, photo, block, format_, recwarn):
        assert open_image(encoded(photo, format_, exif=block)).size == photo.size
        assert not recwarn

    @pytest.mark.parametrize("value", [0, 9, 65535])
    def test_unknown_orientation_means_upright(self, photo, value):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = value
        np.testing.assert_array_equal(rgb(open_image(encoded(photo, "PNG", exif=exif))), np.asarray(photo))


class TestUnreadable:
    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("empty.jpg", b"", "is an empty file"),
            ("note.png", b"just some text\n", "not a picture, or its header is damaged"),
            ("header.png", b"\x89PNG\r\n\x1a\n", "not a picture, or its header is damaged"),
            ("page.jpg", b"<!DOCTYPE html><html></html>", "is a web page or XML; download the file itself"),
            ("flat.ppm", b"P6\n0 3\n255\n", "not a picture, or its header is damaged"),
            ("bomb.gif", b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\0;", "pixels than the limit"),
            ("large.png", png_header(20000, 5000), "5000 x 20000 pixels, more than the limit of 89478485"),
            ("wide.png", png_header(MAX_PIXELS + 1, 1), "more than the limit of 89478485"),
            ("huge.png", png_header(2**31 - 1, 2**31 - 1), "more pixels than the limit of 89478485"),
            ("header_only.png", png_header(10, 10), "damaged, cannot be decoded"),
        ],
    )
    def test_file(self, tmp_path, name, content, reason):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=reason) as caught:
            open_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing_directory_and_special_files(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for path, reason in (
            (tmp_path / "missing.png", "cannot be opened .No such file"),
            (tmp_path, "is a directory"),
            (tmp_path / "pipe", "no regular file"),
            ("/dev/zero", "no regular file"),
            ("a\0b.png", "embedded null"),
            ("x" * 5000, "cannot be opened"),
        ):
            with pytest.raises(ImageError, match=reason) as caught:
                open_image(path)
            assert len(str(caught.value)) < 600

    def test_permission(self, tmp_path, monkeypatch):
        path = tmp_path / "secret.png"
        path.write_bytes(b"x")

        def refuse(*_args, **_kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)  # root may read anything, so take the permission away here
        with pytest.raises(ImageError, match=r"secret\.png: cannot be opened \(Permission denied"):
            open_image(path)

    def test_name_with_newline_stays_on_one_line(self, tmp_path):
        with pytest.raises(ImageError) as caught:
            open_image(tmp_path / "a\nb\udcff.png")
        assert "a\\nb\\udcff.png" in str(caught.value)

    @pytest.mark.parametrize("url", ["http://x.org/a.png", "HTTPS://x.org/a.png"])
    def test_url(self, url):
        with pytest.raises(ImageError, match="URLs are not fetched; download the picture first"):
            open_image(url)

    def test_no_bytes(self):
        for source in (b"", io.BytesIO()):
            with pytest.raises(ImageError, match="got no bytes"):
                open_image(source)

    def test_file_object_that_fails(self):
        class Broken:
            def read(self, _size):
                raise RuntimeError("the line\nwent dead")

        with pytest.raises(ImageError, match=r"cannot be read \(the line\\nwent dead\)"):
            open_image(Broken())

    def test_file_larger_than_any_picture(self, monkeypatch, photo, tmp_path):
        content = encoded(photo, "PNG")
        (tmp_path / "a.png").write_bytes(content)
        sources = content, io.BytesIO(content), tmp_path / "a.png"
        monkeypatch.setattr(decode, "MAX_BYTES", len(content) - 1)
        for source in sources:
            with pytest.raises(ImageError, match="larger than the limit"):
                open_image(source)
        monkeypatch.setattr(decode, "MAX_BYTES", len(content))
        for source in sources:
            assert open_image(source).size == photo.size

    def test_picture_without_pixels(self):
        with pytest.raises(ImageError, match="has no pixels"):
            open_image(Image.new("RGB", (0, 4)))

    @pytest.mark.parametrize(
        ("format_", "options"), [*LOSSLESS.items(), ("JPEG", {}), ("JPEG", {"progressive": True}), ("TIFF", {})]
    )
    def test_truncated_files(self, photo, format_, options, monkeypatch):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # what some libraries leave behind
        large = photo.resize((60, 50))
        content = encoded(large, format_, **options)
        whole = rgb(open_image(content))
        for kept in range(1, len(content), max(1, len(content) // 40)):
            with suppress(ImageError):  # if it can be read, then only what follows the last pixel is missing
                np.testing.assert_array_equal(rgb(open_image(content[:kept])), whole)
        with pytest.raises(ImageError):
            open_image(content[: len(content) // 2])
        assert ImageFile.LOAD_TRUNCATED_IMAGES

    def test_damaged_bytes_raise_nothing_else(self, photo):
        rng = np.random.default_rng(2)
        palette = photo.convert("P")
        contents = [encoded(photo, format_, **options) for format_, options in LOSSLESS.items() if format_ != "TIFF"]
        contents += [encoded(photo, "JPEG"), encoded(palette, "PNG", transparency=3), encoded(palette, "GIF")]
        refused = 0
        for trial in range(600):
            content = bytearray(contents[trial % len(contents)])
            for place in rng.integers(0, min(len(content), 100), size=3):
                content[place] = rng.integers(256)
            try:
                assert open_image(bytes(content)).mode == "RGB"
            except ImageError:
                refused += 1
        assert refused > 100

    def test_plugins_raising_anything(self, photo, monkeypatch):
        for error in (struct.error("x"), SyntaxError("x"), OverflowError("x"), RecursionError("x")):
            picture = photo.copy()
            monkeypatch.setattr(picture, "load", lambda error=error: (_ for _ in ()).throw(error), raising=False)
            with pytest.raises(ImageError, match=r"damaged, cannot be decoded \(x\)"):
                open_image(picture)


class TestProcessSettings:
    def test_no_warning_escapes_and_filters_are_restored(self, photo):
        content = bytearray(encoded(photo, "TIFF"))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            before = list(warnings.filters)
            for place in range(8, len(content), 3):
                content[place] ^= 0x55
                with suppress(ImageError):
                    open_image(bytes(content))
                content[place] ^= 0x55
            assert warnings.filters == before
        assert seen == []

    def test_threads_leave_the_settings_as_they_were(self, photo):
        content = encoded(photo.resize((200, 200)), "PNG")
        before = list(warnings.filters)
        threads = [threading.Thread(target=lambda: [open_image(content) for _ in range(10)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert warnings.filters == before
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False

    def test_no_external_program_is_started(self, tmp_path):
        trap = tmp_path / "gs"
        trap.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
        trap.chmod(0o755)
        (tmp_path / "page.png").write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
        )
        program = "import sys; from npconv.images import open_image; open_image(sys.argv[1])"
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        root = Path(__file__).parents[2]
        result = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "page.png")],
            capture_output=True,
            text=True,
            cwd=root,
            env=environment,
            check=False,
        )
        assert "ImageError" in result.stderr
        assert not (tmp_path / "started").exists()
