"""The drawn sample pictures: the same each time, small, and what they claim to show in colour and place."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import npconv
from weights_tools import draw_samples

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    return {path.stem: path for path in draw_samples.write_samples(folder)}


@pytest.mark.parametrize("name", draw_samples.PICTURES)
def test_same_bytes_on_each_run(drawn, name, tmp_path, monkeypatch):
    monkeypatch.setattr(draw_samples, "PICTURES", {name: draw_samples.PICTURES[name]})
    (again,) = draw_samples.write_samples(tmp_path)
    assert again.read_bytes() == drawn[name].read_bytes()


@pytest.mark.parametrize("name", draw_samples.PICTURES)
def test_files_are_small_pictures_of_the_stated_size(drawn, name):
    assert drawn[name].stat().st_size < 24_000
    with Image.open(drawn[name]) as picture:
        assert picture.size == (draw_samples.WIDTH, draw_samples.HEIGHT)
        assert picture.format == "PNG"


def test_the_sample_that_comes_with_the_package_is_the_drawn_ship(drawn):
    kept = Path(npconv.__file__).parent / "zoo" / "samples" / "ship.png"
    with Image.open(kept) as old, Image.open(drawn["ship"]) as new:
        difference = np.asarray(old.convert("RGB"), dtype=float) - np.asarray(new.convert("RGB"), dtype=float)
    # Another version of Pillow may choose other colours for the palette; another picture differs by 40 and more.
    assert np.abs(difference).mean() < 4


def test_ship_stands_dark_between_bright_sky_and_blue_sea(drawn):
    with Image.open(drawn["ship"]) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=float)
    sky, hull, sea = (
        pixels[rows, 110:220].mean(axis=(0, 1)) for rows in (slice(0, 80), slice(145, 155), slice(200, 240))
    )
    assert sky.min() > 2 * hull.max() / 1.5
    assert hull.max() < 120
    assert sea[2] > sea[0] + 30


def test_airplane_is_white_before_a_blue_sky(drawn):
    with Image.open(drawn["airplane"]) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=float)
    body = pixels[106:112, 150:200].mean(axis=(0, 1))
    sky = pixels[:, :12].mean(axis=(0, 1))
    assert body.min() > 215
    assert sky[2] > sky[0] + 40


def test_command_names_what_it_wrote(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draw_samples, "PICTURES", {"dot": lambda: Image.new("RGB", (3, 2), (1, 2, 3))})
    assert draw_samples.main([str(tmp_path / "new")]) == 0
    assert f"{tmp_path / 'new' / 'dot.png'}: " in capsys.readouterr().out
    with Image.open(tmp_path / "new" / "dot.png") as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (1, 2, 3)


def test_curve_goes_through_its_points():
    points = [(0.0, 0.0), (10.0, 4.0), (20.0, -3.0), (31.0, 5.0)]
    smooth = np.array(draw_samples.curve(points, steps=8))
    assert len(smooth) == 3 * 8 + 1
    for point in points:
        assert np.abs(smooth - point).sum(axis=1).min() < 1e-12
