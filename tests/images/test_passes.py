"""The order in which axes are resized: each version's pixels can be had from any other's."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from npconv.errors import ImageError, InputError
from npconv.images import ConvNextImageProcessor, passes, resize
from npconv.images.passes import ORDERS, first_pass, installed_order, resize_in_order
from npconv.images.transforms import resize_float

#: SHA-256 of the picture below at 60 x 40 pixels, by which pass came first and the filter: Pillow 12.3 and 13.0 each
#: make one row of them by themselves.
GOLDENS = {
    "horizontal": {
        1: "3d55ea302f231315741698a0fa6c3f7073922c2bcc1d60ead43531386dffb523",
        2: "1a5578cef69110cf5cbaa79488f49183ca5f4ba9a63a5bdd92cb130094e19b6d",
        3: "35148e2c8d29beb54ab4d8838e529f1f2faff1e547bee06bce3196248afc8273",
    },
    "vertical": {
        1: "f2988c5edb02301532dd19c097657367a940f00b7dd32b1f5e4b859604948795",
        2: "6ab96c9a4e9e8ceabcaace15afaa0daafe5948614cdfa2a60291c4142082f2d6",
        3: "1c2ec35a5134a3a713b1a6069668d13012dfc343e292bd75ab7975ec52d76d79",
    },
}

MODES = {"L": 0, "LA": 2, "RGB": 3, "RGBA": 4}


def tall_picture() -> np.ndarray:
    """uint8 (3, 160, 70): hard edges, so that rounding and cutting off between the passes shows."""
    y, x = np.mgrid[0:160, 0:70]
    planes = [(x * x + 7 * y * y) % 256, 255 * ((x // 3 + y // 2) % 2), 255 * ((x * y // 11) % 2)]
    return np.stack(planes).astype(np.uint8)


def drawn_picture(rng, shape, mode):
    if mode == "F":
        return Image.fromarray(rng.normal(size=shape).astype(np.float32))
    channels = (MODES[mode],) if MODES[mode] else ()
    return Image.fromarray(rng.integers(0, 256, (*shape, *channels), dtype=np.uint8))


@pytest.mark.parametrize("mode", [*MODES, "F"])
def test_the_installed_pillow_resizes_in_the_order_that_is_named(mode):
    """Also if it is a newer one than is known here: then this fails, and `ORDERS` needs its rule."""
    order = installed_order()
    assert order in ORDERS
    rng = np.random.default_rng(7)
    firsts = set()
    for number in range(240):
        shape = tuple(map(int, rng.integers(1, 60, 2) if number % 4 else (rng.integers(300, 900), rng.integers(1, 9))))
        size = tuple(map(int, rng.integers(1, 60, 2) if number % 3 else np.maximum(1, shape + rng.integers(-5, 3, 2))))
        picture, filter_ = drawn_picture(rng, shape, mode), list(Image.Resampling)[number % len(Image.Resampling)]
        first = first_pass(order, shape, size)
        firsts.add(first)
        ours = passes._two_passes(picture, size, filter_, first == "vertical")
        theirs = picture.resize(size[::-1], filter_)
        assert ours.mode == theirs.mode
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), f"{shape} to {size}, {filter_.name}")
    assert order == "horizontal" or firsts == {"horizontal", "vertical"}


@pytest.mark.parametrize("resample", GOLDENS["vertical"])
@pytest.mark.parametrize("first", GOLDENS)
def test_golden_of_both_orders(first, resample):
    result = resize(tall_picture(), (60, 40), resample, first)
    assert hashlib.sha256(result.tobytes()).hexdigest() == GOLDENS[first][resample]
    by_rule = {"horizontal": "pillow12.2", "vertical": "pillow13"}[first]
    np.testing.assert_array_equal(resize(tall_picture(), (60, 40), resample, by_rule), result)


def test_the_orders_differ_by_many_levels():
    one, other = (resize(tall_picture(), (60, 40), 3, first).astype(int) for first in ("horizontal", "vertical"))
    assert np.abs(one - other).max() >= 9


@pytest.mark.parametrize(
    ("shape", "size", "pillow12", "pillow13"),
    [
        ((600, 400), (384, 384), "horizontal", "vertical"),
        ((600, 400), (384, 256), "horizontal", "horizontal"),
        ((201, 100), (101, 50), "horizontal", "horizontal"),
        ((202, 100), (101, 50), "horizontal", "vertical"),
        ((400, 600), (384, 384), "horizontal", "horizontal"),
        ((100, 60), (90, 80), "horizontal", "vertical"),
        ((500, 4), (9, 9), "vertical", "vertical"),
        ((400, 4), (9, 9), "horizontal", "vertical"),
        ((500, 4), (600, 9), "horizontal", "horizontal"),
    ],
)
def test_what_the_versions_choose(shape, size, pillow12, pillow13):
    assert first_pass("pillow12.2", shape, size) == pillow12
    assert first_pass("pillow13", shape, size) == pillow13
    assert first_pass(None, shape, size) == first_pass(installed_order(), shape, size)


def test_a_pillow_of_no_known_order_resizes_as_it_does(monkeypatch):
    monkeypatch.setattr(passes, "installed_order", lambda: None)
    picture = Image.fromarray(np.moveaxis(tall_picture(), 0, -1))
    assert first_pass(None, (160, 70), (60, 40)) is None
    theirs = picture.resize((40, 60), Image.Resampling.BICUBIC)
    assert resize_in_order(picture, (60, 40), Image.Resampling.BICUBIC, None).tobytes() == theirs.tobytes()
    processor = ConvNextImageProcessor(size=48, crop_pct=0.8)
    assert processor.steps(160, 70)[0][2]["order"] is None
    assert processor(picture).pixel_values.shape == (1, 3, 48, 48)
    chosen = resize_in_order(picture, (60, 40), Image.Resampling.BICUBIC, "vertical")
    assert hashlib.sha256(np.moveaxis(np.asarray(chosen), -1, 0).tobytes()).hexdigest() == GOLDENS["vertical"][3]


def test_the_setting_of_a_processor():
    settings = {"size": 384, "do_rescale": False, "do_normalize": False}
    picture = tall_picture()
    by_order = {
        order: ConvNextImageProcessor(**settings, resize_order=order)(picture).pixel_values[0] for order in ORDERS
    }
    for order, result in by_order.items():
        first = first_pass(order, (160, 70), (384, 384))
        np.testing.assert_array_equal(result, resize(picture, (384, 384), 3, first))
        processor = ConvNextImageProcessor(**settings, resize_order=order)
        assert processor.steps(160, 70)[0][2]["order"] == first
        assert ConvNextImageProcessor.from_dict(processor.to_dict()).resize_order == order
    as_installed = ConvNextImageProcessor(**settings)
    assert "resize_order" not in as_installed.to_dict()
    np.testing.assert_array_equal(as_installed(picture).pixel_values[0], by_order[installed_order()])
    in_a_call = as_installed(picture, resize_order="vertical").pixel_values[0]
    np.testing.assert_array_equal(in_a_call, by_order["vertical"])


def test_floats_in_either_order():
    image = tall_picture().astype(np.float32)
    one, other = (resize_float(image, (60, 40), 3, first) for first in ("horizontal", "vertical"))
    assert 0 < np.abs(one - other).max() < 1e-3
    np.testing.assert_array_equal(resize_float(image, (60, 40), 3, installed_order()), resize_float(image, (60, 40), 3))


def test_refused():
    with pytest.raises(InputError, match="expected an order of the passes from horizontal, vertical, pillow12"):
        resize(tall_picture(), (6, 4), 3, "pillow11")
    with pytest.raises(InputError, match="expected resize_order to be one of horizontal, vertical, pillow12"):
        ConvNextImageProcessor(resize_order="pillow")
    with pytest.raises(ImageError, match="the picture at its new height: 4000 x 30000 pixels, more than"):
        resize(np.zeros((1, 1, 30_000), np.uint8), (4000, 8), 3, "vertical")
