"""Pictures as text: data URIs and base64, in the order of transformers' `load_image`."""

import base64
import io
import warnings

import numpy as np
import pytest

from npconv.errors import ImageError
from npconv.images import ConvNextImageProcessor, decode, open_image


@pytest.fixture
def content(photo):
    stream = io.BytesIO()
    photo.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def text(content):
    return base64.b64encode(content).decode()


class TestRead:
    @pytest.mark.parametrize(
        "form",
        [
            "data:image/png;base64,{}",
            "data:image/jpeg;base64,{}",  # the content says what it is, not the name
            "data:image/png;charset=utf-8;base64,{}",
            "data:image/png,{}",
            "data:image/png;base64,{},what comes after a second comma",
            "{}",
        ],
    )
    def test_like_the_bytes(self, form, text, content, photo):
        for source in (form.format(text), form.format(base64.encodebytes(content).decode())):  # with line ends
            np.testing.assert_array_equal(np.asarray(open_image(source)), np.asarray(photo))

    def test_by_the_processor(self, text, content):
        processor = ConvNextImageProcessor(size=32)
        expected = processor(content).pixel_values
        np.testing.assert_array_equal(processor(f"data:image/png;base64,{text}").pixel_values, expected)
        np.testing.assert_array_equal(processor(["data:image/png;base64," + text, text]).pixel_values[1:], expected)

    def test_a_file_of_that_name_comes_first(self, photo, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        name = "data:image,png"
        photo.rotate(180).save(tmp_path / name, "PNG")
        np.testing.assert_array_equal(np.asarray(open_image(name)), np.asarray(photo.rotate(180)))


class TestRefused:
    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("data:image/png;base64,", "expected base64 after the first comma"),
            ("data:image/png;base64", "expected base64 after the first comma"),
            ("data:image/png;base64,AAA", "expected base64 after the first comma"),
            ("data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "not a picture"),
            ("data:text/plain;base64,AAAA", "expected data:image/"),
            ("data:", "expected data:image/"),
            ("nothing.png", "cannot be opened"),
            ("A" * 5000, "cannot be opened"),
            ("iVBORw0KGgo", "cannot be opened"),  # too short to be one
            ("é" * 400, "cannot be opened"),
        ],
    )
    def test_one_line(self, source, reason):
        with pytest.raises(ImageError, match=reason) as caught:
            open_image(source)
        assert len(str(caught.value)) < 500
        assert "\n" not in str(caught.value)

    def test_cut_text_is_a_damaged_picture(self, text):
        with pytest.raises(ImageError, match="damaged"):
            open_image("data:image/png;base64," + text[: len(text) // 2 // 4 * 4])

    def test_size_is_bounded_before_it_is_decoded(self, text, monkeypatch):
        monkeypatch.setattr(decode, "MAX_BYTES", len(text) // 2)
        monkeypatch.setattr(decode, "_decode_base64", lambda part: base64.b64decode(part) if len(part) < 100 else 1 / 0)
        for source in (text, f"data:image/png;base64,{text}"):
            with pytest.raises(ImageError, match="larger than the limit"):
                open_image(source)


@pytest.mark.reference
def test_as_transformers_reads_it(text, content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.image_utils import load_image

    for source in (text, f"data:image/png;base64,{text}", f"data:image/gif,{text},{text}"):
        np.testing.assert_array_equal(np.asarray(open_image(source)), np.asarray(load_image(source)))
    for source in ("data:image/png;base64,", "data:text/plain;base64," + text[:8], "AAAA", "nothing.png"):
        with pytest.raises(ValueError):
            load_image(source)
        with pytest.raises(ImageError):
            open_image(source)
