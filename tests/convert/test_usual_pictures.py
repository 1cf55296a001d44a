"""How pictures are prepared where no file says it, and what is told of it."""

from types import SimpleNamespace

import pytest

import npconv
from npconv.convert.preprocessing import IMAGENET, _by_rule, _of_timm, _unlike_transformers, crop_share
from npconv.errors import ConfigError
from npconv.models.naming import NOTE, WARNING

COLOURS = "as no weights say it: the colours of ImageNet"
WAYS = "--image-size, --crop-pct, --mean, --std and --resample say otherwise"
USUAL = {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3, **IMAGENET}
EVEN = {"crop_rounding": "half_even"}


def dialect(name="facebook", **preprocessing):
    return SimpleNamespace(name=name, table=SimpleNamespace(preprocessing=preprocessing))


@pytest.mark.parametrize(
    ("fields", "of", "changed", "why"),
    [
        ({}, dialect(), {}, f"{COLOURS}, resized to 256, then cropped; {WAYS}"),
        ({"image_size": [224, 192]}, dialect(), {}, f"{COLOURS}, resized to 256, then cropped; {WAYS}"),
        ({"image_size": 383}, dialect(), {"size": 383}, f"{COLOURS}, resized to 437, then cropped; {WAYS}"),
        ({"image_size": 384}, dialect(), {"size": 384}, f"{COLOURS}, warped to the square; {WAYS}"),
        (
            {"image_size": 256},
            dialect("timm"),
            {"size": 256, **EVEN},
            f"{COLOURS}, resized to 292, then cropped; {WAYS}",
        ),
        ({}, dialect("open_clip"), {**EVEN, "crop_mode": "center"}, f"{COLOURS}, resized to 256, then cropped; {WAYS}"),
        (
            {"num_channels": 5},
            dialect(image_mean=[0.0] * 3),
            {"image_mean": [0.5] * 5, "image_std": [0.5] * 5},
            "as no published model has so many channels; --mean and --std say otherwise",
        ),
        ({}, dialect("keras", resample=2), {"resample": 2}, "as keras does by default; --mean, --std and the like"),
        (
            {},
            dialect("torchvision"),
            {**EVEN, "crop_mode": "center", "crop_pct": 224 / 236, "resample": 2},
            "as torchvision prepares pictures for its ConvNeXt-T",
        ),
        (
            {"image_size": 236},  # larger pictures are cropped by the same share
            dialect("torchvision"),
            {"size": 236, **EVEN, "crop_mode": "center", "crop_pct": 224 / 236, "resample": 2},
            "as torchvision prepares pictures for its ConvNeXt-T",
        ),
        (
            {"image_size": 200},
            dialect("torchvision"),
            {"size": 200, **EVEN, "crop_mode": "center", "crop_pct": 200 / 236, "resample": 2},
            "as torchvision prepares pictures for its ConvNeXt-T",
        ),
        (
            {"depths": [1, 1, 1, 1]},
            dialect("torchvision"),
            {**EVEN, "crop_mode": "center"},
            f"{COLOURS}, resized to 256, then cropped; {WAYS}",
        ),
    ],
)
def test_the_rules(fields, of, changed, why):
    expected = {**USUAL, **changed}
    if isinstance(expected["size"], int):
        expected["size"] = {"shortest_edge": expected["size"]}
    settings, said = _by_rule(npconv.ConvNextConfig(**fields), of)
    assert settings == {**expected, "crop_pct": pytest.approx(expected["crop_pct"])}
    assert said == why


def test_a_family_with_pictures_of_its_own():
    settings, why = _by_rule(npconv.DINOv3ConvNextConfig(image_size=[256, 192]), dialect("torchvision"))
    assert settings["size"] == {"height": 256, "width": 256}
    assert why == "as the models of this family are prepared; --image-size, --mean and the like say otherwise"


@pytest.mark.parametrize("resized", [232, 236, 230, 256, 247, 293])
@pytest.mark.parametrize("edge", [32, 64, 96, 160, 192, 224])
def test_a_share_gives_the_size_that_is_meant(edge, resized):
    assert int(edge / crop_share(edge, resized)) == resized


def test_what_timm_says_and_what_it_means_where_it_does_not():
    usual = {
        **{"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875},
        **{"resample": 3, **IMAGENET, "crop_mode": "center", **EVEN},
    }
    assert _of_timm({}, "f") == usual
    empty = dict.fromkeys(("input_size", "interpolation", "crop_mode", "mean", "std", "crop_pct"))
    assert _of_timm(empty, "f") == usual
    said = {"input_size": [3, 96, 128], "interpolation": "hamming", "crop_mode": "border", "crop_pct": 1.0}
    assert _of_timm({**said, "mean": [0.1, 0.2, 1.0], "std": [1.0] * 3}, "f") == {
        **usual,
        **{"size": {"height": 96, "width": 128}, "crop_pct": 1.0, "resample": 5, "crop_mode": "border"},
        **{"image_mean": [0.1, 0.2, 1.0], "image_std": [1.0] * 3, "crop_fill": [26, 51, 255]},
    }


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        *(
            ({"input_size": size}, "input_size in f to be such as")
            for size in (224, [224, 224], [3, 0, 224], [3, 2.0, 2])
        ),
        (
            {"interpolation": "cubic"},
            "interpolation in f to be one of nearest, lanczos, bilinear, bicubic, box, hamming",
        ),
        ({"interpolation": 3}, "interpolation in f to be one of"),
        ({"crop_mode": "corner"}, "crop_mode in f to be one of"),
        *(({"crop_mode": "border", "mean": mean}, "mean in f to be numbers") for mean in (3, ["a"], [float("inf")])),
    ],
)
def test_what_timm_does_not_say(said, wrong):
    with pytest.raises(ConfigError, match=f"expected {wrong}"):
        _of_timm(said, "f")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, []),
        ({"crop_rounding": "half_even"}, [(NOTE, "crop_rounding half_even: its crops may be one pixel elsewhere")]),
        ({"crop_mode": "center"}, []),
        ({"crop_mode": "squash"}, [(WARNING, "crop_mode squash: it crops the middle of pictures")]),
        ({"size": {"shortest_edge": 384}, "crop_mode": "squash", "crop_pct": 1.0}, []),
        (
            {"size": {"shortest_edge": 384}, "crop_mode": "squash", "crop_pct": 0.9},
            [(WARNING, "crop_mode squash: it warps pictures to the square")],
        ),
        ({"size": {"shortest_edge": 383}, "crop_mode": "center"}, []),
        ({"size": {"shortest_edge": 384}, "crop_rounding": "half_even"}, []),
        (
            {"size": {"shortest_edge": 384}, "crop_mode": "center", "crop_rounding": "half_even"},
            [
                (WARNING, "crop_mode center: it warps pictures to the square"),
                (NOTE, "crop_rounding half_even: its crops may be one pixel elsewhere"),
            ],
        ),
        (
            {"size": {"height": 96, "width": 128}, "crop_mode": "center"},
            [(WARNING, "does not know sizes such as 96 x 128 and refuses them")],
        ),
    ],
)
def test_what_transformers_does_otherwise_is_told(settings, told):
    processor = npconv.ConvNextImageProcessor(**{"size": {"shortest_edge": 224}, **settings})
    found = list(_unlike_transformers(processor))
    assert [(level, reason.endswith(end)) for (level, reason), (_, end) in zip(found, told, strict=True)] == [
        (level, True) for level, _ in told
    ]
