"""What is said of a picture that cannot be read: damage is one reason of several, and every advice works."""

import io
import struct
import sys
import types
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from support.picture_files import chunk, png

from npconv.errors import ImageError
from npconv.images import ConvNextImageProcessor, convert_to_rgb, open_image
from npconv.images.decode import FORMATS


def said(source):
    with pytest.raises(ImageError) as caught:
        open_image(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def encoded(photo, format_="PNG"):
    stream = io.BytesIO()
    photo.save(stream, format_)
    return stream.getvalue()


class TestLimits:
    @staticmethod
    def with_text(size, copies=1):
        text = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * size))
        return png(np.zeros((2, 3, 1), int), 8, 0, text * copies)

    @pytest.mark.parametrize(("size", "copies"), [(2 * 2**20, 1), (900_000, 90)])
    def test_text(self, size, copies, monkeypatch):
        content = self.with_text(size, copies)
        message = said(content)
        assert "more text, or a larger colour profile, than Pillow takes" in message
        assert "damaged" not in message
        monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 2**28)  # as advised
        monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 2**28)
        assert open_image(content).size == (3, 2)
        assert open_image(self.with_text(9)).size == (3, 2)  # as advised: without it

    def test_colour_profile(self):
        profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2 * 2**20)))
        assert "a larger colour profile, than Pillow takes" in said(png(np.zeros((2, 3, 1), int), 8, 0, profile))

    def test_the_pixels_that_the_user_allows_pillow(self, photo, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
        assert "more pixels than the limit of 50 (PIL.Image.MAX_IMAGE_PIXELS)" in said(encoded(photo))

    def test_memory(self, photo, monkeypatch):
        def fail():
            raise MemoryError

        picture = photo.copy()
        monkeypatch.setattr(picture, "load", fail, raising=False)
        assert said(picture) == "the picture: out of memory; use a smaller picture"

    def test_a_disk_that_fails(self, photo):
        class Broken(io.BytesIO):
            def read(self, *_):
                raise OSError(5, "Input/output error")

        picture = Image.open(io.BytesIO(encoded(photo.resize((300, 300)))))
        picture.fp = Broken()
        assert "cannot be read (Input/output error); check the disk" in said(picture)


class TestClosed:
    @pytest.fixture
    def lazy(self, photo, tmp_path):
        photo.save(tmp_path / "a.png")
        photo.save(tmp_path / "a.tif")
        photo.save(tmp_path / "a.jpg")

        def open_(name="a.png"):
            return Image.open(tmp_path / name)

        return open_

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
    def test_pictures_closed_before_their_pixels_were_read(self, lazy, name):
        with lazy(name) as left:
            pass
        closed, file_closed, verified = lazy(name), lazy(name), lazy(name)
        closed.close()
        file_closed.fp.close()
        verified.verify()
        for picture in (left, closed, file_closed, verified):
            for read in (open_image, convert_to_rgb, ConvNextImageProcessor()):
                with pytest.raises(ImageError, match="is closed; open it anew, or call its load"):
                    read(picture)

    def test_as_advised(self, lazy, photo):
        with lazy() as picture:
            picture.load()
        np.testing.assert_array_equal(np.asarray(open_image(picture)), np.asarray(photo))


def box(brand):
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(200)


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"\xff\x0a" + bytes(60), "JPEG XL"),
            (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "JPEG XL"),
            (b"8BPS\0\1" + bytes(60), "PSD"),
            (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
            (b"<svg></svg>", "SVG"),
            (b"#?RADIANCE\n" + bytes(60), "Radiance HDR"),
            (bytes(128) + b"DICM" + bytes(60), "DICOM"),
            (b"PF\n2 2\n-1.0\n" + bytes(48), "a colour PFM"),
            (b"FUJIFILMCCD-RAW 0201" + bytes(60), "a raw photo of a camera"),
        ],
    )
    def test_are_called_by_their_name(self, content, what):
        assert f"is {what}, which is not read" in said(content)

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
            (b"<!DOCTYPE html><html></html>", "a web page"),
        ],
    )
    def test_what_stands_in_the_place_of_a_photo(self, content, what):
        assert what in said(content)

    def test_12_bit_jpeg(self, photo):
        content = bytearray(encoded(photo, "JPEG"))
        content[content.index(b"\xff\xc0") + 4] = 12
        assert "variant of JPEG that Pillow cannot read (cannot handle 12-bit layers)" in said(bytes(content))

    def test_a_format_that_this_pillow_was_built_without(self, photo, monkeypatch):
        content = encoded(photo, "WEBP")
        factory, _ = Image.OPEN["WEBP"]
        monkeypatch.setitem(Image.OPEN, "WEBP", (factory, lambda _: "WEBP support not installed"))
        assert "is WEBP, for which this Pillow was built without support" in said(content)

    def test_avif_with_a_pillow_that_is_too_old(self, monkeypatch):
        Image.init()
        monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
        assert "is AVIF, which needs Pillow 11.3 or newer" in said(box(b"avif"))


class TestHeic:
    @pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1"])
    def test_says_what_reads_it(self, brand, monkeypatch):
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        message = said(box(brand))
        assert "is HEIC, which needs another package; pip install pillow-heif" in message or brand == b"mif1"

    def test_the_plugin_is_used_where_it_is_installed(self, photo, monkeypatch):
        Image.init()
        monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
        monkeypatch.setattr(Image, "ID", list(Image.ID))
        plugin = types.SimpleNamespace(register_heif_opener=lambda: register(photo, "HEIF", b"ftypheic", at=4))
        monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
        np.testing.assert_array_equal(np.asarray(open_image(box(b"heic"))), np.asarray(photo))

    def test_any_plugin_that_the_user_registered_is_used(self, photo, monkeypatch):
        Image.init()
        monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
        monkeypatch.setattr(Image, "ID", list(Image.ID))
        register(photo, "MINE", b"my own format", at=0)
        np.testing.assert_array_equal(np.asarray(open_image(b"my own format, see")), np.asarray(photo))
        assert "MINE" not in FORMATS


def register(photo, name, beginning, at):
    """Register a plugin that reads every file with some beginning as one photo."""

    def factory(_stream, _filename):
        return photo.copy()

    Image.register_open(name, factory, lambda prefix: prefix[at : at + len(beginning)] == beginning)
