"""What is shown of a model: the right arrays, of every step, in every family."""

import re

import numpy as np
import pytest
from PIL import Image
from support.builders import CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv.errors import InputError
from npconv.layers import softmax
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures.colours import sequential
from npconv.pictures.look import look_at, look_into
from npconv.pictures.occlusion import occlusion
from npconv.pictures.overlay import PHOTO_SHARE, overlay, photo_of
from npconv.pictures.page import to_html
from npconv.pictures.picture import Picture
from npconv.pictures.views import MOST_PLACES, MapSizes, show_attention
from npconv.plan.run import run_plan

FAMILIES = pytest.mark.parametrize("family", CONFIGS)
PHOTO = Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 52, 3), dtype=np.uint8))


def model_of(family, **options):
    return filled_model(CLASSIFIERS[family], CONFIGS[family], **options)


def processor():
    return npconv.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)


@FAMILIES
def test_every_step_is_shown_with_the_numbers_of_its_array(family):
    model = model_of(family)
    x = pictures(batch=1, height=32, width=32)
    plan, params = make_plan(model.config, model.task), flatten(model.params)
    arrays = {step.name: array for step, array in run_plan(plan, {"pixel_values": x}, params)}
    views = list(look_into(plan, x, params))
    assert [view.step for view in views] == list(plan)
    for view in views:
        array = arrays[view.step.name]
        assert view.shape == array.shape
        if view.after.summary is not None:
            positions = array[:, -16:] if view.after.channels and array.ndim == 3 else array
            assert view.after.summary.highest <= array.max()
            assert view.after.summary.highest >= positions.max() - np.ptp(array)
            assert np.isfinite(view.after.summary.mean)
    assert sum(view.parameters for view in views) == sum(
        array.size for name, array in params.items() if not name.endswith("num_batches_tracked")
    )
    assert any(view.attention for view in views) == (family == "cvt")


@FAMILIES
def test_a_page_shows_every_step_and_holds_its_source(family):
    model = model_of(family)
    look = look_at(model, processor(), PHOTO, "<title>")
    text = to_html(look)
    assert "<title>&lt;title&gt;</title>" in text
    for view in look.steps:
        assert f"<code>{view.step.name}</code>" in text
        assert f'id="source-{view.step.operation}"' in text
    assert "def depthwise_conv2d(" in text
    assert text.count("data-atlas=") == sum(view.attention is not None for view in look.steps)
    assert set(re.findall(r'src="(.{22})', text)) == {"data:image/png;base64,"}
    assert list(look.prepared) == ["decoded", "resized", "cropped", "rescaled", "normalized"]
    assert list(look.scores) == ["as it is", "mirrored", "in grey", "cropped by an eighth"]


def test_scores_and_reasons_are_those_of_the_model_and_the_fast_engine_gives_the_same():
    model, fast = model_of("convnextv2"), model_of("convnextv2", engine="fast")
    x = processor()(PHOTO)["pixel_values"]
    scores = softmax(model(x).logits.astype(np.float64), axis=1)[0]
    for look in (look_at(model, processor(), PHOTO, ""), look_at(model, processor(), PHOTO, "", fast)):
        best = np.argsort(-scores)[:3]
        assert [reason.label for reason in look.reasons] == [model.config.id2label[number] for number in best]
        assert [reason.score for reason in look.reasons] == pytest.approx(scores[best], rel=1e-4)
        assert all(list(reason.pictures) == ["covering", "saliency", "Grad-CAM, last stage"] for reason in look.reasons)


def test_a_bare_model_has_no_answer_and_a_fast_one_is_refused():
    config = CONFIGS["convnext"]
    look = look_at(filled_model(npconv.ConvNextModel, config), processor(), PHOTO, "bare")
    assert look.reasons == ()
    assert 'id="answer"' not in to_html(look)
    with pytest.raises(InputError, match="engine='explicit'"):
        look_at(model_of("convnext", engine="fast"), processor(), PHOTO, "")


def test_the_attention_map_of_a_place_is_that_of_the_place():
    """Class token first, then the places row by row, of large maps those in the middle of equal parts."""
    rng = np.random.default_rng(0)
    probabilities = softmax(rng.normal(size=(1, 2, 1 + 20 * 6, 1 + 5 * 3)), axis=-1)
    sizes = MapSizes()
    sizes.add(5, 3)
    sizes.add(20, 6)
    found = show_attention(probabilities, sizes)
    assert found is not None
    assert (found.rows, found.columns, found.height, found.width, found.tokens) == (MOST_PLACES, 6, 5, 3, 1)
    mean = probabilities[0].mean(axis=0)
    far = found.atlas.pixels.shape[1] // 3

    def tile(index):
        row, column = divmod(index, far)
        return found.atlas.pixels[5 * row : 5 * row + 5, 3 * column : 3 * column + 3]

    for index, token in ((0, 0), (1, 1), (1 + 6 * 7 + 4, 1 + 6 * 10 + 4)):  # row 7 of 14 is row 10 of 20
        expected = mean[token, 1:].reshape(5, 3)
        np.testing.assert_array_equal(tile(index), sequential(expected / expected.max()))
    assert show_attention(probabilities, MapSizes()) is None


def test_occlusion_is_the_mean_fall_over_all_squares_that_cover_a_pixel():
    model = model_of("convnext", dtype="float64")
    x = pictures(batch=1, height=8, width=9, dtype="float64")
    found = occlusion(model, x, 2, patch=4)

    def score(values):
        return softmax(model(values).logits, axis=1)[0, 2]

    falls = {}
    for row in (0, 2, 4):
        for column in (0, 2, 4, 5):
            covered = x.copy()
            covered[:, :, row : row + 4, column : column + 4] = 0
            falls[row, column] = score(x) - score(covered)
    for pixel in np.ndindex(8, 9):
        over = [
            fall
            for (row, column), fall in falls.items()
            if row <= pixel[0] < row + 4 and column <= pixel[1] < column + 4
        ]
        assert found[pixel] == pytest.approx(np.mean(over), abs=1e-15)


@pytest.mark.parametrize("patch", [0, 9])
def test_a_square_that_does_not_fit_is_refused(patch):
    with pytest.raises(InputError, match=f"expected a patch from 1 to 8 pixels, got {patch}"):
        occlusion(model_of("convnext"), pictures(batch=1, height=8, width=9), 0, patch=patch)


def test_the_photo_comes_back_from_the_pixel_values():
    x = processor()(PHOTO)["pixel_values"]
    shown = photo_of(x, processor()).pixels
    plain = npconv.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875, do_normalize=False)
    np.testing.assert_array_equal(shown, np.rint(255 * plain(PHOTO)["pixel_values"][0].transpose(1, 2, 0)))


def test_what_is_laid_over_a_photo_leaves_it_to_be_seen():
    photo = Picture(np.full((4, 4, 3), 100, np.uint8))
    mixed = overlay(photo, np.full((2, 2), 7.0)).pixels
    expected = np.rint(PHOTO_SHARE * 100 + (1 - PHOTO_SHARE) * sequential(np.array(1.0)))
    np.testing.assert_array_equal(mixed, np.broadcast_to(expected, (4, 4, 3)))
    nothing = overlay(photo, np.full((2, 2), -7.0)).pixels
    np.testing.assert_array_equal(
        nothing[0, 0], np.rint(PHOTO_SHARE * 100 + (1 - PHOTO_SHARE) * sequential(np.array(0.0)))
    )
