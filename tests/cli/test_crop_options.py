"""The options of ``npconv convert`` for pictures, and what ``npconv info`` says of them."""

import json

import pytest

from npconv.cli.program import main
from npconv.files import safetensors
from tests.support.conversion_files import in_dialect


@pytest.fixture
def weights(tmp_path):
    safetensors.save_file(in_dialect("convnext", "timm"), tmp_path / "w.safetensors")
    return str(tmp_path / "w.safetensors")


def test_crops_and_order_of_the_caller(weights, tmp_path, capsys):
    options = ["--crop-mode", "border", "--crop-rounding", "floor", "--resize-order", "pillow12.2"]
    assert main(["convert", weights, str(tmp_path / "o"), *options]) == 0
    settings = json.loads((tmp_path / "o" / "preprocessor_config.json").read_text())
    assert {name: settings[name] for name in ("crop_mode", "crop_rounding", "resize_order")} == {
        "crop_mode": "border",
        "crop_rounding": "floor",
        "resize_order": "pillow12.2",
    }
    manifest = json.loads((tmp_path / "o" / "npconv_manifest.json").read_text())
    assert {"numpy", "scipy", "blas", "pillow", "resize_order"} <= manifest["versions"].keys()
    capsys.readouterr()
    assert main(["info", str(tmp_path / "o")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "resize to fit into 256 x 256, keeping the aspect (bicubic, passes in the order pillow12.2)" in text
    assert "crop the middle 224 x 224" in text


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--crop-mode", "middle", "crop_mode to be one of center, border, squash"),
        ("--crop-rounding", "up", "crop_rounding to be one of floor, half_even"),
        ("--resize-order", "pillow", "resize_order to be one of horizontal, vertical, pillow12.2, pillow13"),
        ("--image-size", "9000", "size of at most 16777216 pixels"),
    ],
)
def test_a_wrong_word_is_one_line(weights, tmp_path, capsys, option, value, expected):
    assert main(["convert", weights, str(tmp_path / "o"), option, value]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert expected in lines[0]


def test_info_names_the_rounding_and_the_border(tmp_path, capsys, own_model):
    file = own_model / "preprocessor_config.json"
    said = {"crop_mode": "border", "crop_rounding": "half_even", "crop_fill": [1, 2, 3], "size": 32, "crop_pct": 1.0}
    file.write_text(json.dumps(json.loads(file.read_text()) | said))
    assert main(["info", str(own_model)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "crop the middle 32 x 32, half a pixel rounded to even, a border of 1, 2, 3 around a smaller picture" in text
