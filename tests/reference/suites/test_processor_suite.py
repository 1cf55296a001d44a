"""The suite of the image processors.

Pictures one by one, with random settings, are in ``tests/images/test_processor_reference.py``; here are settings that
go back and forth, pictures of every kind and in batches, and what comes out. The values are those of the processor of
transformers that works with Pillow, bit for bit.
"""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import json

import numpy as np
import parity
import torch
import transformers
import twins
from PIL import Image
from twins import EACH_CLASSIFIER

import npconv
from npconv.models import FAMILIES

pytestmark = pytest.mark.reference

SETTINGS = [
    {},
    {"size": {"shortest_edge": 20}},
    {"size": {"shortest_edge": 384}, "resample": 2, "crop_pct": 0.95},
    {"do_resize": False, "do_rescale": False, "do_normalize": False},
    {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "rescale_factor": 1 / 127.5},
]
EACH_SETTING = pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(settings) or "default")
NAMES = ("do_resize", "size", "crop_pct", "resample", "do_rescale", "rescale_factor", "do_normalize")
NAMES += ("image_mean", "image_std")


def pixels(seed=0, channels=3):
    """Return a random picture (H, W, C)."""
    return np.random.default_rng(seed).integers(0, 256, (30, 41, channels), np.uint8)


def pair(**settings):
    """Return a processor of npconv and one of transformers."""
    return npconv.ConvNextImageProcessor(**settings), transformers.ConvNextImageProcessorPil(**settings)


def plain(value):
    """Return a setting as JSON has it; sizes of transformers are objects with every name that a size may have."""
    if isinstance(value, transformers.image_utils.SizeDict):
        value = {name: edge for name, edge in vars(value).items() if edge is not None}
    return json.loads(json.dumps(value))


def assert_alike(ours, theirs):
    """Check that two processors have the same settings."""
    for name in NAMES:
        assert plain(getattr(ours, name)) == plain(getattr(theirs, name)), name


# Settings


@EACH_SETTING
def test_settings_are_attributes_with_the_values_of_transformers(settings):
    assert_alike(*pair(**settings))


@EACH_SETTING
def test_settings_go_to_transformers_and_back_in_files(tmp_path, settings):
    ours, theirs = pair(**settings)
    ours.save_pretrained(tmp_path / "ours")
    there = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours")
    assert_alike(there, theirs)
    there.save_pretrained(tmp_path / "theirs")
    back = npconv.AutoImageProcessor.from_pretrained(tmp_path / "theirs")
    assert type(back) is type(ours)
    assert back.to_dict() == ours.to_dict()


@EACH_SETTING
def test_dicts_and_texts_make_the_same_processor_in_both(settings):
    ours, theirs = pair(**settings)
    here, there = type(ours), type(theirs)
    assert here.from_dict(ours.to_dict()).to_dict() == ours.to_dict()
    assert_alike(here.from_dict(theirs.to_dict()), theirs)
    assert_alike(there.from_dict(ours.to_dict()), theirs)
    assert_alike(here.from_dict(json.loads(theirs.to_json_string())), theirs)
    assert_alike(there.from_dict(json.loads(ours.to_json_string())), theirs)


@EACH_SETTING
def test_json_files_make_the_same_processor_in_both(tmp_path, settings):
    ours, theirs = pair(**settings)
    ours.to_json_file(tmp_path / "ours.json")
    theirs.to_json_file(tmp_path / "theirs.json")
    assert_alike(type(ours).from_json_file(tmp_path / "theirs.json"), theirs)
    assert_alike(type(theirs).from_json_file(tmp_path / "ours.json"), theirs)


REPLACED = [
    {"size": 42},
    {"size": {"shortest_edge": 30}, "crop_pct": 0.5},
    {"size": 42, "crop_size": 84},
    {"do_normalize": False},
]


@pytest.mark.parametrize("replaced", REPLACED, ids=str)
def test_settings_can_be_replaced_when_a_processor_is_made(tmp_path, replaced):
    ours, theirs = pair()
    theirs.save_pretrained(tmp_path)
    for made, expected in (
        (type(ours).from_dict(ours.to_dict(), **replaced), type(theirs).from_dict(theirs.to_dict(), **replaced)),
        (type(ours).from_pretrained(tmp_path, **replaced), type(theirs).from_pretrained(tmp_path, **replaced)),
        (
            npconv.AutoImageProcessor.from_pretrained(tmp_path, **replaced),
            transformers.AutoImageProcessor.from_pretrained(tmp_path, **replaced),
        ),
    ):
        assert_alike(made, expected)
        if "crop_size" in replaced:
            assert made.crop_size == {"height": 84, "width": 84} == plain(expected.crop_size)


@pytest.mark.parametrize(
    "arguments", [{"use_fast": True}, {"use_fast": False}, {"local_files_only": True}, {}], ids=str
)
def test_automatic_classes_read_the_file_of_transformers(tmp_path, arguments):
    theirs = transformers.ConvNextImageProcessorPil(size={"shortest_edge": 20})
    theirs.save_pretrained(tmp_path)
    assert_alike(transformers.AutoImageProcessor.from_pretrained(tmp_path, **arguments), theirs)
    assert_alike(npconv.AutoImageProcessor.from_pretrained(tmp_path, **arguments), theirs)
    assert_alike(npconv.AutoFeatureExtractor.from_pretrained(tmp_path, **arguments), theirs)


def test_a_processor_in_a_subfolder(tmp_path):
    theirs = transformers.ConvNextImageProcessorPil(size={"shortest_edge": 20})
    theirs.save_pretrained(tmp_path / "inner")
    for loads in (npconv.AutoImageProcessor, npconv.ConvNextImageProcessor, transformers.AutoImageProcessor):
        assert_alike(loads.from_pretrained(tmp_path, subfolder="inner"), theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_processor_of_a_family_comes_back_from_its_dict_text_and_file(tmp_path, family):
    """Of DINOv3 as well, whose processor in transformers needs Torchvision."""
    kind = FAMILIES[family].processor_class
    processor = kind(size=24, do_rescale=False)
    processor.save_pretrained(tmp_path)
    for made in (
        kind.from_dict(processor.to_dict()),
        kind.from_dict(json.loads(processor.to_json_string())),
        kind.from_pretrained(tmp_path),
        npconv.AutoImageProcessor.from_pretrained(tmp_path),
    ):
        assert type(made) is kind
        assert made.to_dict() == processor.to_dict()
        np.testing.assert_array_equal(made(pixels()).pixel_values, processor(pixels()).pixel_values)


# Pictures

#: Pictures of every kind, from an array (H, W, 3).
KINDS = {
    "Pillow": Image.fromarray,
    "channels last": lambda array: array,
    "channels first": lambda array: array.transpose(2, 0, 1),
    "torch": lambda array: torch.tensor(array.transpose(2, 0, 1).copy()),
    "torch in float32": lambda array: torch.tensor(array.transpose(2, 0, 1).astype(np.float32)),
}

#: Pictures in every arrangement.
ARRANGED = {
    "one": lambda make: make(pixels()),
    "list": lambda make: [make(pixels(0)), make(pixels(1))],
    "tuple": lambda make: (make(pixels(0)), make(pixels(1))),
    "list of lists": lambda make: [[make(pixels(0))], [make(pixels(1))]],
    "list of one": lambda make: [make(pixels())],
}

#: Below 384 pictures are cropped, from there on warped.
EDGES = [20, 384]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arranged", ARRANGED)
@pytest.mark.parametrize("edge", EDGES)
def test_pictures_of_every_kind_in_every_arrangement(kind, arranged, edge):
    ours, theirs = pair(size={"shortest_edge": edge})
    pictures = ARRANGED[arranged](KINDS[kind])
    expected = theirs(pictures, return_tensors="np")["pixel_values"]
    found = ours(pictures, return_tensors="np")["pixel_values"]
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("of_torch", [False, True])
def test_an_array_of_several_pictures_is_several_pictures(of_torch):
    ours, theirs = pair(size={"shortest_edge": 20})
    pictures = np.stack([pixels(0), pixels(1)]).transpose(0, 3, 1, 2)
    pictures = torch.tensor(pictures.copy()) if of_torch else pictures
    found = ours(pictures, return_tensors="np")["pixel_values"]
    assert found.shape == (2, 3, 20, 20)
    np.testing.assert_array_equal(found, theirs(pictures, return_tensors="np")["pixel_values"])


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_four_channels(layout):
    ours, theirs = pair(size={"shortest_edge": 20})
    image = pixels(channels=4) if layout == "channels_last" else pixels(channels=4).transpose(2, 0, 1)
    call = {"input_data_format": layout, "image_mean": [0.0, 0.1, 0.2, 0.3], "image_std": [1.0, 0.5, 0.25, 2.0]}
    for pictures in (image, [image, image]):
        found = ours(pictures, return_tensors="np", **call)["pixel_values"]
        assert found.shape[1:] == (4, 20, 20)
        np.testing.assert_array_equal(found, theirs(pictures, return_tensors="np", **call)["pixel_values"])


def test_pictures_of_several_sizes_make_one_array():
    ours, theirs = pair(size={"shortest_edge": 20})
    pictures = [pixels(0), pixels(1)[:25], pixels(2)[:, :21]]
    found = ours(pictures, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(found, theirs(pictures, return_tensors="np")["pixel_values"])


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_the_layout_of_the_result(data_format):
    """Last is what transformers documents; its processor with Pillow gives channels first whatever is asked for."""
    ours, theirs = pair(size={"shortest_edge": 20})
    found = ours(pixels(), return_tensors="np", data_format=data_format)["pixel_values"]
    first = found.transpose(0, 3, 1, 2) if data_format == "channels_last" else found
    np.testing.assert_array_equal(first, theirs(pixels(), return_tensors="np")["pixel_values"])


@pytest.mark.parametrize("bad", [None, 3, object, "no such file.png", b"no picture"], ids=repr)
def test_what_is_no_picture_is_refused_by_both(bad):
    for processor in pair():
        with pytest.raises((ValueError, TypeError, OSError)):
            processor(bad, return_tensors="np")


# What comes out

RETURNED = {"np": np.ndarray, "pt": torch.Tensor}


@pytest.mark.parametrize("return_tensors", [None, "np", "pt"])
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_returned(return_tensors, count):
    """Unset, transformers gives a list; here it is one array where they have one shape, which can be iterated too."""
    ours, theirs = pair(size={"shortest_edge": 20})
    images = [pixels(seed) for seed in range(count)]
    found, expected = (processor(images, return_tensors=return_tensors) for processor in (ours, theirs))
    assert list(found) == list(expected) == ["pixel_values"]
    assert type(found).__name__ == type(expected).__name__
    assert found.pixel_values is found["pixel_values"] is found.data["pixel_values"]
    if return_tensors:
        assert type(found.pixel_values) is type(expected.pixel_values) is RETURNED[return_tensors]
        assert found.pixel_values.dtype == expected.pixel_values.dtype
        assert found.pixel_values.shape == expected.pixel_values.shape
    for one, other in zip(found.pixel_values, expected.pixel_values, strict=True):
        np.testing.assert_array_equal(one, other)


MOVES = {
    "device": lambda inputs: inputs.to("cpu"),
    "dtype": lambda inputs: inputs.to(torch.float16),
    "both": lambda inputs: inputs.to("cpu", torch.float64),
    "by name": lambda inputs: inputs.to(device="cpu"),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("return_tensors", ["np", "pt"])
def test_inputs_are_moved_as_in_transformers(name, return_tensors):
    ours, theirs = pair(size={"shortest_edge": 20})
    expected = MOVES[name](theirs(pixels(), return_tensors="pt")).pixel_values
    moved = MOVES[name](ours(pixels(), return_tensors=return_tensors))
    assert type(moved).__name__ == "BatchFeature"
    assert type(moved.pixel_values) is RETURNED[return_tensors]
    assert str(moved.pixel_values.dtype).removeprefix("torch.") == str(expected.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(moved.pixel_values, expected)


@EACH_CLASSIFIER
@pytest.mark.parametrize("return_tensors", ["np", "pt"])
def test_a_picture_goes_through_processor_and_model_as_in_transformers(family, return_tensors):
    pair_of_models = twins.shared(family, "image_classification")
    ours, theirs = pair(size={"shortest_edge": 20})
    with torch.no_grad():
        expected = pair_of_models.theirs(**theirs(pixels(), return_tensors="pt").to(torch.float64)).logits.numpy()
    found = pair_of_models.ours(**ours(pixels(), return_tensors=return_tensors)).logits
    assert isinstance(found, np.ndarray)
    assert parity.distance(found, expected) <= twins.CLOSE
