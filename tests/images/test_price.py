"""What reading a picture takes is known from its header: measured for each format, and kept to the budget."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from support.picture_files import chunk, grey_tiff, png

from npconv.errors import ImageError, InputError
from npconv.images import ConvNextImageProcessor, open_image
from npconv.images.header import PLAIN, UNPACKED, price_of

pytestmark = pytest.mark.long

SIDE = 1536

#: What Python and the allocator take beside the pixels, in bytes: a few strips of a picture, and chance.
BESIDE = 9 * 2**20

#: Run by itself, since only a process has a peak: name and price of each file in, its peak out.
MEASURE = """
import json, sys
from npconv.images import ConvNextImageProcessor, open_image

def memory(line):
    return 1024 * int(next(l for l in open("/proc/self/status") if l.startswith(line)).split()[1])

processor = ConvNextImageProcessor(size=224)
for path in [sys.argv[1], *sys.argv[1:]]:  # the first one twice: the modules that reading loads are no part of it
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = memory("VmRSS")
    try:
        processor(path, max_memory=2**40)
    except MemoryError:
        pass
    print(json.dumps(memory("VmHWM") - before))
"""


def pictures():
    """Return the worst of each format: name -> content."""
    grey = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 8 % 256).astype(np.uint8)
    rgb = Image.fromarray(np.stack([grey, grey[::-1], grey.T], axis=-1))
    rgba, palette, cmyk = rgb.copy(), rgb.quantize(16), rgb.convert("CMYK")
    rgba.putalpha(Image.fromarray(grey))
    turned = Image.Exif()
    turned[0x0112] = 6
    given = {
        "plain.jpg": (rgb, {}),
        "turned.jpg": (rgb, {"exif": turned}),
        "progressive.jpg": (rgb, {"progressive": True, "subsampling": 0}),
        "progressive_cmyk.jpg": (cmyk, {"progressive": True}),
        "alpha.png": (rgba, {"compress_level": 1}),
        "palette.png": (palette, {"transparency": 3}),
        "animated.gif": (palette, {"save_all": True, "append_images": [palette], "transparency": 3}),
        "alpha.webp": (rgba, {"lossless": True, "method": 0, "quality": 0}),
        "animated.webp": (rgba, {"save_all": True, "append_images": [rgba.rotate(90)], "method": 0}),
        "plain.bmp": (rgb, {}),
        "one_strip.tif": (rgb, {"compression": "tiff_lzw", "strip_size": 2**30}),
        "alpha.tif": (rgba, {"compression": "tiff_lzw"}),
        "float.tif": (Image.fromarray(grey.astype(np.float32)), {}),
        "plain.ppm": (rgb, {}),
    }
    Image.init()
    if "AVIF" in Image.SAVE:
        given["alpha.avif"] = (rgba, {"speed": 10, "subsampling": "4:4:4"})
    for name, (image, options) in given.items():
        stream = io.BytesIO()
        suffix = name.rsplit(".")[1].upper()
        image.save(stream, {"JPG": "JPEG", "TIF": "TIFF"}.get(suffix, suffix), **options)
        yield name, stream.getvalue()
    deep = np.stack([grey, grey.T, grey, grey[::-1]], axis=-1).astype("u2") * 257
    yield "deep.png", png(deep, 16, 6, interlaced=True)
    yield "deep.tif", grey_tiff(deep[..., 0], 16, photometric=0)
    yield "text.ppm", b"P3\n512 512\n255\n" + b"9 9 9\n" * 512 * 512
    yield "unpacked.pgm", b"P5\n512 512\n4095\n" + bytes(2 * 512 * 512)


def test_numbers_that_pillow_has_to_unpack_take_more():
    prices = {}
    for content in (b"P5\n4 4\n255\n" + bytes(16), b"P5\n4 4\n4095\n" + bytes(32)):
        with Image.open(io.BytesIO(content)) as image:
            prices[content] = price_of(image)
    assert list(prices.values()) == [16 * PLAIN, 16 * UNPACKED]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is known on Linux")
def test_no_picture_takes_more_than_its_price(tmp_path):
    prices = {}
    for name, content in pictures():
        (tmp_path / name).write_bytes(content)
        with Image.open(tmp_path / name) as image:
            prices[str(tmp_path / name)] = price_of(image)
    # Every block by itself, so that what is let go of is given back to the system and is not counted as there before.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", MEASURE, *prices]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    peaks = dict(zip(prices, map(json.loads, output.splitlines()[1:]), strict=True))
    assert {name: peak for name, peak in peaks.items() if peak > prices[name] + BESIDE} == {}
    assert max(peaks.values()) > 3 * SIDE**2  # something was measured


def header_only(width, height, *chunks):
    return png(np.zeros((1, 1, 1), int), 8, 0).replace(
        chunk(b"IHDR", bytes.fromhex("00000001000000010800000000")),
        chunk(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes.fromhex("0802000000")),
    )


class TestBudget:
    LARGE = header_only(9000, 9000)

    @pytest.fixture(autouse=True)
    def no_pixel_is_decoded(self, monkeypatch):
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded before its price was known"))

    def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(self, tmp_path):
        (tmp_path / "large.png").write_bytes(self.LARGE)
        assert len(self.LARGE) < 500
        for read in (open_image, ConvNextImageProcessor()):
            for source in (tmp_path / "large.png", self.LARGE):
                with pytest.raises(ImageError, match=r"9000 x 9000 .* take about 695 MB .* the 600 MB of max_"):
                    read(source)
            with pytest.raises(ImageError, match="take about 695 MB"):
                read(Image.open(io.BytesIO(self.LARGE)))

    def test_tiles_larger_than_the_picture(self):
        tiles = {322: ("I", [30000]), 323: ("I", [30000])}
        with pytest.raises(ImageError, match="1 x 3 pixels of TIFF take about 858 MB"):
            open_image(grey_tiff(np.zeros((1, 3)), 8, tags=tiles))


class TestAsAdvised:
    def test_a_larger_budget(self, photo):
        stream = io.BytesIO()
        photo.save(stream, "PNG")
        content = stream.getvalue()
        price = price_of(Image.open(stream))
        for read in (open_image, ConvNextImageProcessor(size=32)):
            with pytest.raises(ImageError, match="or raise it"):
                read(content, max_memory=price - 1)
            read(content, max_memory=price)

    def test_pixels_in_memory_are_paid(self, photo):
        assert open_image(photo, max_memory=1).size == photo.size

    @pytest.mark.parametrize("given", [0, -1, 2.5, "512", True])
    def test_no_number_of_bytes(self, photo, given):
        for read in (open_image, ConvNextImageProcessor(size=32)):
            with pytest.raises(InputError, match="expected max_memory as a number of bytes"):
                read(photo, max_memory=given)
