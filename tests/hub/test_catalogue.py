from dataclasses import fields

import pytest
from support.families import CONFIGS

from npconv import CvtConfig
from npconv.hub.catalogue import catalogue, suggestion
from npconv.models.summary import layer_table

STAGED = {
    "atto": ([2, 2, 6, 2], 40),
    "femto": ([2, 2, 6, 2], 48),
    "pico": ([2, 2, 6, 2], 64),
    "nano": ([2, 2, 8, 2], 80),
    "tiny": ([3, 3, 9, 3], 96),
    "small": ([3, 3, 27, 3], 96),
    "base": ([3, 3, 27, 3], 128),
    "large": ([3, 3, 27, 3], 192),
    "xlarge": ([3, 3, 27, 3], 256),
    "huge": ([3, 3, 27, 3], 352),
}
CVT = {
    "13": {"depth": [1, 2, 10]},
    "21": {"depth": [1, 4, 16]},
    "w24": {"depth": [2, 2, 20], "embed_dim": [192, 768, 1024], "num_heads": [3, 12, 16]},
}
SIZES = {
    "convnext": ("tiny", "small", "base", "large", "xlarge"),
    "convnextv2": ("atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"),
    "cvt": ("13", "21", "w24"),
    "dinov3_convnext": ("tiny", "small", "base", "large"),
}
CATALOGUE = catalogue()
BY_NAME = {checkpoint.name: checkpoint for checkpoint in CATALOGUE}


def configuration(family, size, classes):
    if family == "cvt":
        return CvtConfig(**CVT[size], num_labels=classes)
    depths, width = STAGED[size]
    widths = [width, 2 * width, 4 * width, 8 * width]
    return CONFIGS[family](depths=depths, hidden_sizes=widths, num_labels=classes)


def size_in(name):
    return name.removeprefix("facebook/dinov3-").split("-")[1]


@pytest.mark.parametrize("name", BY_NAME)
def test_the_parameters_are_those_of_the_configuration(name):
    checkpoint = BY_NAME[name]
    config = configuration(checkpoint.family, size_in(name), checkpoint.classes)
    assert checkpoint.parameters == sum(row.parameters for row in layer_table(config, 64, 64))


def test_every_size_of_the_papers_is_there():
    named = {(checkpoint.family, size_in(checkpoint.name)) for checkpoint in CATALOGUE}
    assert named == {(family, size) for family, sizes in SIZES.items() for size in sizes}


@pytest.mark.parametrize(
    ("name", "size", "preparation", "classes"),
    [
        ("facebook/convnext-base-224", 224, "resize 256, crop", 1_000),
        ("facebook/convnext-base-224-22k", 224, "resize 256, crop", 21_841),
        ("facebook/convnext-base-384-22k-1k", 384, "warp", 1_000),
        ("facebook/convnextv2-tiny-22k-224", 224, "resize 256, crop", 1_000),
        ("facebook/convnextv2-huge-22k-512", 512, "warp", 1_000),
        ("microsoft/cvt-13", 224, "resize 256, crop", 1_000),
        ("microsoft/cvt-13-384-22k", 384, None, 1_000),
        ("microsoft/cvt-w24-384-22k", 384, "warp", 1_000),
    ],
)
def test_what_a_name_says(name, size, preparation, classes):
    found = BY_NAME[name]
    assert (found.input, found.preparation, found.classes) == (size, preparation, classes)
    assert found.crop_pct == (0.875 if preparation == "resize 256, crop" else None)


def test_every_field_is_filled_or_said_to_be_unknown():
    assert len(BY_NAME) == len(CATALOGUE) == 44
    for checkpoint in CATALOGUE:
        empty = {field.name for field in fields(checkpoint) if getattr(checkpoint, field.name) in (None, "", ())}
        assert empty <= {"formats", "preparation", "crop_pct"}
        assert set(checkpoint.formats or ()) <= {"safetensors", "bin", "h5"}


def test_suggestions():
    assert suggestion("cvt-w24-384-22", ("mine",)) == "; did you mean microsoft/cvt-w24-384-22k?"
    assert suggestion("cvt-13") == suggestion("facebook/cvt-13") == "; did you mean microsoft/cvt-13?"
    assert suggestion("min", ("mine",)) == "; did you mean mine?"
    assert suggestion("microsoft/cvt-13") == ""
    assert suggestion("") == suggestion("something/else") == ""
