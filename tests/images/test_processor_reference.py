"""The processor live against ConvNextImageProcessorPil of transformers."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from npconv.errors import ImageError, NpconvError, NpconvWarning
from npconv.images import ConvNextImageProcessor

pytestmark = pytest.mark.reference


def drawn_settings(draw):
    """Draw the arguments of a processor; one that is absent takes its default on both sides."""
    numbers = st.sampled_from([[0.485, 0.456, 0.406], (0.1, 0.9, 0.5), 0.4])
    options = {
        "size": st.one_of(st.integers(1, 60), st.sampled_from([383, 384, 390])).map(
            lambda edge: {"shortest_edge": edge}
        ),
        "crop_pct": st.sampled_from([0.875, 0.9, 1.0, 0.95, 0.5, 1.3]),
        "resample": st.integers(0, 5),
        "do_resize": st.booleans(),
        "do_rescale": st.booleans(),
        "rescale_factor": st.sampled_from([1 / 255, 1 / 127.5, 2]),
        "do_normalize": st.booleans(),
        "image_mean": numbers,
        "image_std": numbers,
        "do_convert_rgb": st.booleans(),
        "crop_size": st.fixed_dictionaries({"height": st.integers(1, 50), "width": st.integers(1, 50)}),
    }
    arguments = draw(st.fixed_dictionaries({}, optional=options))
    if "crop_size" in arguments:
        arguments["do_center_crop"] = draw(st.booleans())
    return arguments


@st.composite
def calls(draw):
    """Draw a picture, its layout where it is given, and the arguments of a processor."""
    arguments = drawn_settings(draw)
    edge = st.one_of(st.sampled_from([1, 2, 3, 4]), st.integers(1, 120))
    height, width = draw(edge), draw(edge)
    channels = draw(st.sampled_from([3, 3, 3, 1, 4]))
    layout = draw(st.sampled_from(["channels_first", "channels_last"]))
    shape = (channels, height, width) if layout == "channels_first" else (height, width, channels)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(["uint8", "uint8", "int64", "float16", "float32", "float64", "fractions", "bool"]))
    if dtype == "fractions":
        image = rng.random(shape, dtype=draw(st.sampled_from(["float32", "float64"])))
    elif dtype == "bool":
        image = rng.integers(0, 2, shape).astype(bool)
    else:
        image = rng.integers(0, 256, shape).astype(dtype)
    if dtype == "uint8" and channels == 3 and layout == "channels_last" and draw(st.booleans()):
        return Image.fromarray(image), None, arguments
    return image, draw(st.sampled_from([None, layout])), arguments


@pytest.fixture(scope="module")
def oracle():
    """The reference class; importing transformers raises warnings of its own."""
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("transformers")
        from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
        from transformers.utils import logging
    logging.set_verbosity_error()
    return ConvNextImageProcessorPil


class TestAgainstTransformers:
    @settings(deadline=None, max_examples=600)
    @given(calls())
    def test_same_bits_wherever_it_gives_a_value(self, oracle, call):
        image, layout, arguments = call
        try:
            expected = np.stack(oracle(**arguments)(image, input_data_format=layout)["pixel_values"])
        except (ValueError, TypeError):
            expected = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NpconvWarning)
            try:
                result = ConvNextImageProcessor(**arguments)(image, input_data_format=layout).pixel_values
            except NpconvError as error:
                result = error
        assume(not isinstance(result, ImageError))  # a sliver that the reference does resize
        if expected is not None:
            assert isinstance(result, np.ndarray), result
            assert result.dtype == expected.dtype
            np.testing.assert_array_equal(result, expected)

    def test_files_go_both_ways(self, oracle, tmp_path, photo, published):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(published))
        ours, theirs = ConvNextImageProcessor.from_pretrained(tmp_path), oracle.from_pretrained(tmp_path)
        expected = theirs(photo)["pixel_values"][0]
        np.testing.assert_array_equal(ours(photo).pixel_values[0], expected)
        ours.save_pretrained(tmp_path / "ours")
        again = oracle.from_pretrained(tmp_path / "ours")
        np.testing.assert_array_equal(again(photo)["pixel_values"][0], expected)
        theirs.save_pretrained(tmp_path / "theirs")
        again = ConvNextImageProcessor.from_pretrained(tmp_path / "theirs")
        np.testing.assert_array_equal(again(photo).pixel_values[0], expected)

    def test_automatic_class_reads_our_file(self, tmp_path):
        from transformers import AutoImageProcessor

        ConvNextImageProcessor(size=224, crop_pct=0.9).save_pretrained(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            processor = AutoImageProcessor.from_pretrained(tmp_path)
        assert type(processor).__name__.startswith("ConvNextImageProcessor")
        assert (dict(processor.size), processor.crop_pct) == ({"shortest_edge": 224}, 0.9)

    def test_their_enumerations(self, oracle, photo):
        from transformers.image_utils import ChannelDimension
        from transformers.utils import TensorType

        processor = ConvNextImageProcessor(size=6)
        last = processor(photo, return_tensors=TensorType.NUMPY, data_format=ChannelDimension.LAST).pixel_values
        assert last.shape == (1, 6, 6, 3)
        tensor = processor(photo, return_tensors=TensorType.PYTORCH).pixel_values
        assert type(tensor).__module__ == "torch"
        np.testing.assert_array_equal(tensor.numpy(), np.moveaxis(last, -1, 1))

    def test_transparency_as_their_conversion_lays_it_over_white(self, oracle):
        rng = np.random.default_rng(8)
        image = Image.fromarray(rng.integers(0, 256, (23, 31, 4), dtype=np.uint8))
        expected = oracle(size=8, do_convert_rgb=True)(image)["pixel_values"][0]
        for convert in (None, True):
            result = ConvNextImageProcessor(size=8, do_convert_rgb=convert)(image).pixel_values[0]
            np.testing.assert_array_equal(result, expected)

    def test_each_step_by_itself(self, oracle, photo):
        from transformers.image_utils import SizeDict

        ours, theirs = ConvNextImageProcessor(), oracle()
        picture = np.moveaxis(np.asarray(photo), -1, 0)
        for size in (8, 400):
            expected = theirs.resize(picture, SizeDict(shortest_edge=size), 3, crop_pct=0.8)
            np.testing.assert_array_equal(ours.resize(picture, {"shortest_edge": size}, 0.8, 3), expected)
        scaled = theirs.rescale(picture, 1 / 255)
        np.testing.assert_array_equal(ours.rescale(picture, 1 / 255), scaled)
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        np.testing.assert_array_equal(ours.normalize(scaled, mean, std), theirs.normalize(scaled, mean, std))
        cut = theirs.center_crop(picture, SizeDict(height=5, width=30))
        np.testing.assert_array_equal(ours.center_crop(picture, {"height": 5, "width": 30}), cut)
