"""Pictures as timm prepares them, from what its ``config.json`` says: identical to its own."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import npconv
from npconv.convert import convert
from npconv.convert.preprocessing import _of_timm
from npconv.errors import ConfigError
from npconv.images import ConvNextImageProcessor
from npconv.images.passes import installed_order
from npconv.models.naming import lines
from tests.support.conversion_files import in_dialect
from tests.support.timm_pictures import KINDS, PUBLISHED, SHAPES, digest, goldens, picture

EXPECTED = goldens()["kinds"]

RULE = {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center"}


def processor_of(said):
    return ConvNextImageProcessor.from_dict(_of_timm(said, "timm's config.json"))


@pytest.fixture
def timm_folder(tmp_path):
    """A function that writes a folder of timm's with some ``pretrained_cfg``."""

    def make(said):
        folder = tmp_path / "timm"
        folder.mkdir(exist_ok=True)
        npconv.files.safetensors.save_file(in_dialect("convnext", "timm"), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"architecture": "convnext_nix", "pretrained_cfg": said}))
        return folder

    return make


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_pixels_are_those_of_timm_with_any_pillow(name):
    """The goldens are of timm itself and torchvision, with Pillow 12 and 13; the float32 numbers are the same bits."""
    processor = processor_of(KINDS[name])
    for height, width in SHAPES:
        by_order = EXPECTED[name][f"{height}x{width}"]
        for order in [*by_order] if len(set(by_order.values())) > 1 else [installed_order()]:
            made = processor(picture(height, width), resize_order=order).pixel_values[0]
            expected = by_order.get(order, by_order["pillow13"])
            assert digest(made) == expected, f"{height} x {width}, {order}"


def test_the_orders_show_in_the_goldens():
    differ = [shape for shapes in EXPECTED.values() for shape in shapes.values() if len(set(shape.values())) > 1]
    assert len(differ) >= 10


@pytest.mark.parametrize("name", ["convnext_nano.r384_in12k", "convnext_base.clip_laiona_augreg_ft_in1k_384"])
def test_center_at_384_keeps_the_aspect(timm_folder, tmp_path, name):
    """Four published models: these were warped without a word."""
    done = convert(timm_folder(PUBLISHED[name]), tmp_path / "o")
    processor = npconv.AutoImageProcessor.from_pretrained(tmp_path / "o")
    steps = processor.steps(600, 400)
    assert [(step, given["height"], given["width"]) for _, step, given in steps[:2]] == [
        ("resize", 576, 384),
        ("center_crop", 384, 384),
    ]
    made = processor(picture(600, 400), resize_order="pillow13").pixel_values[0]
    assert digest(made) == EXPECTED[name]["600x400"]["pillow13"]
    said = lines(done.decisions)
    assert any('crop_mode "center"' in line for line in said)
    assert any(line.startswith("warning: transformers does not know crop_mode center: it warps") for line in said)


def test_settings_survive_a_second_conversion(timm_folder, tmp_path):
    convert(timm_folder(KINDS["border 384"]), tmp_path / "o")
    convert(tmp_path / "o", tmp_path / "p")
    one, other = (npconv.AutoImageProcessor.from_pretrained(tmp_path / name) for name in "op")
    assert one.to_dict() == other.to_dict()
    assert (one.crop_mode, one.crop_rounding, one.crop_fill) == ("border", "half_even", (123.0, 117.0, 104.0))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3, "crop_mode": "center"}),
        ({"input_size": None, "crop_pct": 0, "interpolation": "", "crop_mode": None, "mean": [], "std": None}, {}),
        ({"interpolation": "lanczos", "crop_mode": "squash"}, {"resample": 1, "crop_mode": "squash"}),
        ({"input_size": [3, 96, 160]}, {"size": {"height": 96, "width": 160}}),
        ({"test_input_size": [3, 288, 288], "test_crop_pct": 1.0}, {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
    ],
)
def test_what_is_not_there_is_as_in_timm(said, expected):
    settings = processor_of(said).to_dict()
    expected = {"image_mean": (0.485, 0.456, 0.406), "crop_rounding": "half_even"} | expected
    assert {name: settings[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"interpolation": "random"}, 'interpolation in timm.s config.json to be one of nearest, .*, got "random"'),
        ({"interpolation": ["bicubic"]}, "interpolation in .* to be one of"),
        ({"crop_mode": "middle"}, 'crop_mode in timm.s config.json to be one of center, border, squash, got "middle"'),
        ({"crop_mode": 3}, "crop_mode in .* to be one of"),
        ({"input_size": [3, 224]}, "input_size in timm.s config.json to be such as"),
        ({"input_size": 224}, "input_size in"),
        ({"input_size": [3, 0, 224]}, "input_size in"),
        ({"input_size": [3, 224.0, 224]}, "input_size in"),
        ({"input_size": [3, True, True]}, "input_size in"),
        ({"input_size": [3, 9000, 9000]}, "timm.s config.json: expected a size of at most 16777216 pixels"),
        ({"crop_pct": "0.9"}, "timm.s config.json: expected crop_pct to be a finite number"),
        ({"crop_pct": -1}, "timm.s config.json: expected crop_pct to be above 0"),
        ({"crop_pct": True}, "timm.s config.json: expected crop_pct to be a finite number"),
        ({"crop_pct": 1e-7}, "timm.s config.json: size / crop_pct"),
        ({"mean": [[0.5], [0.5, 0.5]]}, "timm.s config.json: expected every entry of image_mean"),
        ({"mean": {"r": 1}}, "timm.s config.json: expected image_mean to be a finite number"),
        ({"mean": "grey"}, "timm.s config.json: expected image_mean to be a finite number"),
        ({"mean": [float("nan")] * 3, "crop_mode": "border"}, "expected mean in timm.s config.json"),
        ({"mean": [1e300] * 3, "crop_mode": "border"}, "timm.s config.json: expected crop_fill to be whole numbers"),
        ({"mean": 0.5, "crop_mode": "border"}, "expected mean in timm.s config.json"),
        ({"std": [0.2, 0, 0.2]}, "timm.s config.json: expected image_std without zeros"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(timm_folder, tmp_path, said, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        convert(timm_folder(RULE | said), tmp_path / "o")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("wide", "refuses them"), ("squash below 384", "it crops"), ("border 384", "it warps")]
)
def test_what_transformers_does_otherwise_is_said(timm_folder, tmp_path, name, said):
    warnings = [line for line in lines(convert(timm_folder(KINDS[name]), tmp_path / "o").decisions) if said in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: transformers does not know")


@pytest.mark.parametrize("name", ["convnext_atto.d2_in1k", "convnext_base.fb_in22k_ft_in1k_384"])
def test_what_transformers_does_alike_is_no_warning(timm_folder, tmp_path, name):
    said = lines(convert(timm_folder(KINDS[name]), tmp_path / "o").decisions)
    assert not [line for line in said if line.startswith("warning: transformers")]
    assert any("crop_rounding half_even" in line for line in said) == (name == "convnext_atto.d2_in1k")


@pytest.mark.parametrize(("dialect", "mode"), [("timm", None), ("torchvision", "center"), ("facebook", None)])
def test_files_without_a_configuration_crop_as_their_library(tmp_path, dialect, mode):
    npconv.files.safetensors.save_file(in_dialect("convnext", dialect), tmp_path / "model.safetensors")
    convert(tmp_path / "model.safetensors", tmp_path / "o")
    processor = npconv.AutoImageProcessor.from_pretrained(tmp_path / "o")
    assert processor.crop_rounding == (None if dialect == "facebook" else "half_even")
    assert processor.crop_mode == mode


@pytest.mark.reference
def test_timm_itself():
    """In a process of its own: other tests take an empty torchvision, which models need nothing of."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.reference.timm_pictures"], capture_output=True, text=True, check=False
    )
    if "No module named 'torchvision'" in done.stderr and "NPCONV_TORCHVISION" not in os.environ:
        pytest.skip("needs torchvision: see tests/reference/timm_pictures.py")
    assert done.returncode == 0, done.stderr[-2000:]
    made = json.loads(done.stdout)
    assert made["order"] == installed_order()
    for name, shapes in made["kinds"].items():
        for shape, expected in shapes.items():
            height, width = map(int, re.findall(r"\d+", shape))
            ours = processor_of(KINDS[name])(np.asarray(picture(height, width))).pixel_values[0]
            assert digest(ours) == expected, f"{name}, {shape}"
