"""A settings file that holds anything: each value is taken or refused in one sentence, and nothing large is made."""

import itertools
import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import npconv
from npconv.cli.program import main
from npconv.errors import ConfigError, ImageError, InputError, NpconvError
from npconv.images import ConvNextImageProcessor, resample_filter
from npconv.images.settings import MAX_INPUT_PIXELS, SETTING_NAMES
from npconv.models.dinov3_convnext.processor import DINOv3ViTImageProcessor

NAMES = (
    *SETTING_NAMES,
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "backend",
    "image_processor",
)

VALUES = [
    *(0, 1, 3, 224, -1, 2.5, 1e-300, 1e300, 10**30, -(10**400), float("nan"), float("inf"), True, False, None),
    *("", "3", "bicubic", "\x1b[2J\n", "x" * 5000),
    *([], [[]], [0.5], [0.5, 0.5, 0.5], [[0.5], [0.5, 0.5]], [[0.5, 0.4, 0.3]], [None], ["0.5"] * 3, [[[[[1]]]]], [{}]),
    *([0.5, [0.5], 0.5], [True, 0.5, 0.5], [float("nan")] * 3, [10**400] * 3, [0.1] * 10_000),
    *({}, {"shortest_edge": 224}, {"height": 224, "width": 224}, {"shortest_edge": [224]}, {"shortest_edge": {}}),
    *({"shortest_edge": 1e9}, {"height": None}, {"height": "224", "width": 224}, {"longest_edge": 3}, {"": 1}),
]

PICTURE = np.zeros((3, 9, 7), np.uint8)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["ConvNextImageProcessor", "DINOv3ViTImageProcessor"])
@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_taken_or_refused_in_one_line(tmp_path, name, kind):
    """Also what is said of a picture by a value that is taken."""
    rest = {"image_processor_type": kind, "size": {"shortest_edge": 32}}
    for value in VALUES:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(rest | {name: value}))
        try:
            processor = npconv.AutoImageProcessor.from_pretrained(tmp_path)
        except ConfigError as error:
            text = str(error)
            assert str(tmp_path) in text
        else:
            try:
                result = processor(PICTURE, input_data_format="channels_first").pixel_values
                assert np.isfinite(result).all()
                continue
            except NpconvError as error:
                text = str(error)
        assert text.isprintable(), (name, value)
        assert len(text) < 600


@pytest.fixture
def zoo_copy(tmp_path):
    """A copy of an embedded model that a test may break."""
    return shutil.copytree(Path(npconv.__path__[0]) / "zoo" / "convnext-cifar10", tmp_path / "own")


PAIRS = [
    ("image_mean", [[0.5], [0.5, 0.5]]),
    ("image_std", [[0.5, 0.2], [0.5], 0.3]),
    ("image_mean", [0.5, [0.5, 0.5], 0.5]),
    ("crop_fill", [[1], [2, 3]]),
    ("size", [[224], [224, 224]]),
]


@pytest.mark.parametrize(("name", "value"), PAIRS)
def test_lists_of_uneven_length(tmp_path, capsys, zoo_copy, name, value):
    fields = json.loads((zoo_copy / "preprocessor_config.json").read_text())
    (zoo_copy / "preprocessor_config.json").write_text(json.dumps(fields | {name: value}))
    with pytest.raises(ConfigError, match=f"expected .*{name}"):
        ConvNextImageProcessor.from_pretrained(zoo_copy)
    sample = f"{npconv.__path__[0]}/zoo/samples/ship.png"
    for command in (["classify", sample, "--model", str(zoo_copy)], ["trace", str(zoo_copy), sample, "-o", "x.npz"]):
        assert main(command) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert name in lines[0]


LARGE = [
    {"size": {"shortest_edge": 9000}},
    {"size": {"shortest_edge": 4097}},
    {"size": {"height": 20_000, "width": 1000}, "crop_mode": "center"},
    {"do_center_crop": True, "crop_size": {"height": 9000, "width": 9000}},
    {"do_center_crop": True, "crop_size": 9000, "do_resize": False},
    {"size": 9000, "crop_mode": "squash"},
    {"size": 9000, "crop_mode": "border", "crop_pct": 1.0},
]


@pytest.mark.parametrize("settings", LARGE)
def test_what_settings_make_is_counted_before_a_picture_is_read(tmp_path, settings):
    """9000 x 9000 took 4 GB. Neither is the missing picture looked for, nor is anything allocated."""
    fields = json.dumps({"image_processor_type": "ConvNextImageProcessor"} | settings)
    (tmp_path / "preprocessor_config.json").write_text(fields)
    with pytest.raises(ConfigError, match=f"expected a (size|crop_size) of at most {MAX_INPUT_PIXELS} pixels, got"):
        ConvNextImageProcessor.from_pretrained(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"pixels, got .*; use a smaller one"):
            ConvNextImageProcessor(size=8)("no such picture.png", **settings)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", [None, "center", "squash", "border"])
def test_a_share_that_makes_every_picture_enormous(mode):
    with pytest.raises(ImageError, match=r"size / crop_pct: \d+ x \d+ pixels, more than the limit"):
        ConvNextImageProcessor(size=224, crop_mode=mode)("no such picture.png", crop_pct=1e-5)


def test_other_classes_are_bounded_as_well(tmp_path):
    fields = {"image_processor_type": "DINOv3ViTImageProcessor", "size": {"height": 9000, "width": 9000}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    with pytest.raises(ConfigError, match="expected a size of at most"):
        npconv.AutoImageProcessor.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="expected a size of at most"):
        DINOv3ViTImageProcessor()("no such picture.png", size=9000)


def test_the_largest_size_is_taken():
    steps = ConvNextImageProcessor(size=4096).steps(3, 5)
    assert (steps[0][2]["height"], steps[0][2]["width"]) == (4096, 4096)


@pytest.mark.parametrize("value", [np.zeros(3), np.array([3, 3]), object(), b"3", {3}])
def test_filters_that_are_none(value):
    with pytest.raises(InputError, match="expected a resampling filter"):
        resample_filter(value)


def test_no_setting_passes_unread():
    for name, value in itertools.product(SETTING_NAMES, ({}, [[0.5], [0.5, 0.5]])):
        if not (name in ("size", "crop_size") and value == {}):  # nothing said, of which a call may say more
            with pytest.raises(InputError):
                ConvNextImageProcessor(**{name: value})
