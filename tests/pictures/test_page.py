"""What is shown of a model: the right arrays, of every step, in every family."""

import io
import re
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from support.builders import CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv.errors import InputError
from npconv.layers import softmax
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures.colours import diverging, sequential
from npconv.pictures.look import CLASSES, _changes, look_at, look_into
from npconv.pictures.occlusion import occlusion
from npconv.pictures.overlay import PHOTO_SHARE, heat, overlay, photo_of
from npconv.pictures.page import _options, _select, formula_of, to_html
from npconv.pictures.picture import Picture
from npconv.pictures.saliency import grad_cam, saliency
from npconv.pictures.views import (
    LEVELS,
    MOST,
    MOST_PLACES,
    MOST_POSITIONS,
    MapSizes,
    _reduced,
    atlas_of,
    largest,
    show,
    show_attention,
)
from npconv.plan.run import run_plan

FAMILIES = pytest.mark.parametrize("family", CONFIGS)
PHOTO = Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 52, 3), dtype=np.uint8))


def model_of(family, **options):
    return filled_model(CLASSIFIERS[family], CONFIGS[family], **options)


def stages_of(config):
    return len(config.depth if config.model_type == "cvt" else config.depths)


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
            positions = array
            if view.after.sheet is not None and array.ndim == 3:
                positions = array[:, -view.after.sheet.height * view.after.sheet.width :]
            assert view.after.summary.highest == positions.max()
            assert view.after.summary.mean == pytest.approx(positions.mean(dtype=np.float64))
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
    assert text.count("The map that it ends with") == len(look.reasons[0].grad_cam) == stages_of(model.config)
    assert ('id="token"' in text) == (family == "cvt")
    assert "def depthwise_conv2d(" in text
    assert "def gelu(" in text
    sheets = re.findall(r'id="(sheet-\d+)"', text)
    assert len(sheets) == len(set(sheets))
    assert set(sheets) == set(re.findall(r'data-from="(sheet-\d+)"', text))
    assert text.count("data-atlas=") == sum(view.attention is not None for view in look.steps)
    assert set(re.findall(r'src="(.{22})', text)) == {"data:image/png;base64,"}
    assert list(look.prepared) == ["decoded", "resized", "cropped", "rescaled", "normalized"]
    assert list(look.scores) == ["as it is", "mirrored", "in grey", "cropped by an eighth"]


def test_a_page_has_what_is_chosen_from_for_each_class_and_stage():
    """The script shows what has the chosen value, of what is chosen: see ``test_look_in_browser.py``."""
    model = model_of("convnext")
    look = look_at(model, processor(), PHOTO, "")
    text = to_html(look)
    chosen = re.findall(r'data-of="(\w+)" data-value="(\d+)"', text)
    stages = [("stage", str(stage)) for stage in range(stages_of(model.config))]
    assert chosen == [pair for n in range(len(look.reasons)) for pair in [("reason", str(n)), *stages]]


def test_the_first_is_chosen_unless_another_is():
    options = {"0": "a", "1": "b", "2": "c"}
    for chosen, found in (((), 0), ((2,), 2)):
        select = str(_select("Class", "reason", options, *chosen))
        for shown in ("".join(map(str, _options(options, *chosen))), select):
            assert ["selected" in option for option in shown.split("<option")[1:]] == [n == found for n in range(3)]


def test_scores_and_reasons_are_those_of_the_model_and_the_fast_engine_gives_the_same():
    model, fast = model_of("convnextv2"), model_of("convnextv2", engine="fast")
    x = processor()(PHOTO)["pixel_values"]
    scores = softmax(model(x).logits.astype(np.float64), axis=1)[0]
    for look in (look_at(model, processor(), PHOTO, ""), look_at(model, processor(), PHOTO, "", fast)):
        best = np.argsort(-scores)[:CLASSES]
        assert [reason.label for reason in look.reasons] == [model.config.id2label[number] for number in best]
        assert [reason.score for reason in look.reasons] == pytest.approx(scores[best], rel=1e-4)


def test_classes_of_one_name_are_told_apart_by_their_numbers(monkeypatch):
    model = model_of("convnext")
    count = model.num_labels
    monkeypatch.setattr(model.config, "id2label", dict.fromkeys(range(count), "crane") | {1: "dog"})
    monkeypatch.setattr(model.config, "label2id", {"dog": 1, "crane": count - 1})
    look = look_at(model, processor(), PHOTO, "")
    scores = softmax(model(processor()(PHOTO)["pixel_values"]).logits.astype(np.float64), axis=1)[0]
    assert list(look.scores["as it is"]) == ["crane (0)", "dog", *(f"crane ({number})" for number in range(2, count))]
    assert list(look.scores["as it is"].values()) == pytest.approx(scores, rel=1e-4)
    assert len({reason.label for reason in look.reasons}) == min(CLASSES, count)
    with pytest.raises(InputError, match="got 'crane', as 0 and 2 and 3 are called; give the number of one"):
        occlusion(model, processor()(PHOTO)["pixel_values"], "crane")


def test_a_photo_in_grey_has_equal_channels_before_it_is_normalized():
    model, seen = model_of("convnext"), processor()
    x = seen(PHOTO)["pixel_values"]
    grey = dict(_changes(x, seen))["in grey"]
    assert grey.dtype == x.dtype
    pixels = photo_of(grey, seen).pixels.astype(int)
    assert np.ptp(pixels, axis=-1).max() == 0
    np.testing.assert_allclose(pixels.mean(axis=-1), photo_of(x, seen).pixels.mean(axis=-1), atol=1)
    scores = softmax(model(grey).logits.astype(np.float64), axis=1)[0]
    assert list(look_at(model, seen, PHOTO, "").scores["in grey"].values()) == pytest.approx(scores, rel=1e-4)


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
    assert found.heads == 2
    of_one_head = 1 + MOST_PLACES * 6
    for head, values in enumerate([probabilities[0].mean(axis=0), *probabilities[0]]):
        for index, token in ((0, 0), (1, 1), (1 + 6 * 7 + 4, 1 + 6 * 10 + 4)):  # row 7 of 14 is row 10 of 20
            expected = values[token, 1:].reshape(5, 3)
            steps = np.rint(expected / expected.max() * 2 * LEVELS) / (2 * LEVELS)
            np.testing.assert_array_equal(tile(found.atlas.pixels, head * of_one_head + index, 5, 3), sequential(steps))
    assert show_attention(probabilities, MapSizes()) is None


def test_rows_of_attention_sum_to_one():
    model = model_of("cvt")
    plan, params = make_plan(model.config, model.task), flatten(model.params)
    rows = [
        array.sum(axis=-1)
        for step, array in run_plan(plan, {"pixel_values": pictures(batch=1, height=32, width=32)}, params)
        if step.operation == "softmax"
    ]
    assert rows
    for found in rows:
        np.testing.assert_allclose(found, 1, rtol=1e-5)  # sums of at most a few hundred numbers in float32


def tile(atlas, index, height, width):
    """One tile of many of a size that stand in rows."""
    row, column = divmod(index, atlas.shape[1] // width)
    return atlas[row * height : (row + 1) * height, column * width : (column + 1) * width]


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (MOST_POSITIONS, 3), (MOST_POSITIONS + 1, 7), (5, 2 * MOST_POSITIONS + 1)]
)
def test_large_maps_are_the_means_of_squares_of_positions(height, width):
    x = np.random.default_rng(1).normal(size=(2, height, width))
    times = -(-max(height, width) // MOST_POSITIONS)
    rows, columns = range(0, height, times), range(0, width, times)
    expected = [[x[:, r : r + times, c : c + times].mean(axis=(1, 2)) for c in columns] for r in rows]
    made = _reduced(x)
    np.testing.assert_allclose(made, np.moveaxis(np.array(expected), -1, 0), rtol=1e-12, atol=1e-12)
    assert max(made.shape[1:]) <= MOST_POSITIONS


def test_tiles_stand_in_rows_in_their_order():
    tiles = np.random.default_rng(0).integers(0, 256, (11, 2, 3, 3), dtype=np.uint8)
    atlas = atlas_of(tiles)
    assert atlas.shape == (3 * 2, 4 * 3, 3)
    for index, expected in enumerate(tiles):
        np.testing.assert_array_equal(tile(atlas, index, 2, 3), expected)
    assert not tile(atlas, 11, 2, 3).any()


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_sheet_has_the_strongest_channels_and_each_is_that_channel():
    """Of a map of 70 channels, each twice as strong as the one before: the strongest, the last first."""
    x = np.random.default_rng(0).normal(size=(1, 70, 6, 5)) * 2.0 ** np.arange(70).reshape(-1, 1, 1)
    found = show(x, "NCHW", MapSizes()).sheet
    assert found.channels == tuple(range(69, 69 - MOST, -1))
    for place in (0, 17, MOST - 1):
        channel = x[0, found.channels[place]]
        steps = np.rint(channel / np.abs(channel).max() * LEVELS) / LEVELS
        np.testing.assert_array_equal(tile(decoded(found.png), place, 6, 5), diverging(steps))
    chosen = show(x, "NCHW", MapSizes(), (3, 69)).sheet
    assert chosen.channels == (3, 69)
    assert len(show(x, "NCHW", MapSizes(), most=None).sheet.channels) == 70


def test_before_and_after_are_of_the_same_channels_and_so_are_the_kernels():
    model = model_of("convnextv2")
    views = list(look_into(make_plan(model.config, model.task), pictures(1, 32, 32), flatten(model.params)))
    convolutions = [view for view in views if view.step.operation == "depthwise_conv2d" and view.after.sheet]
    assert convolutions
    for view in convolutions:
        assert view.before.sheet.channels == view.after.sheet.channels == view.kernels.channels
        weight = model.state_dict()[view.step.params["weight"]]
        for place, channel in enumerate(view.kernels.channels):
            kernel = weight[channel, 0] / np.abs(weight[channel]).max()
            steps = np.rint(kernel.astype(np.float64) * LEVELS) / LEVELS
            colours = diverging if weight.min() < 0 else sequential
            np.testing.assert_array_equal(tile(decoded(view.kernels.png), place, *kernel.shape), colours(steps))


def test_grn_has_the_strength_of_each_channel_before_and_after():
    model, x = model_of("convnextv2"), pictures(1, 32, 32)
    plan, params = make_plan(model.config, model.task), flatten(model.params)
    arrays = {step.name: array for step, array in run_plan(plan, {"pixel_values": x}, params)}
    found = [view for view in look_into(plan, x, params) if view.strengths is not None]
    assert len(found) == sum(step.operation == "grn_apply" for step in plan)
    for view in found:
        for when, name in (("before", view.step.inputs[0]), ("after", view.step.name)):
            expected = np.linalg.norm(arrays[name][0].reshape(view.shape[1], -1).astype(np.float64), axis=1)
            shown = view.strengths.series[when]  # of a sum in float32
            np.testing.assert_allclose(shown, expected[list(view.strengths.places)], rtol=1e-6)
        assert list(view.strengths.series["after"]) == sorted(view.strengths.series["after"], reverse=True)


def test_the_largest_numbers_come_first_whatever_their_sign():
    found = largest({"before": np.arange(5.0), "after": np.array([1.0, -4.0, 0.0, 3.0, -4.0])})
    assert found.places == (1, 4, 3, 0, 2)
    assert found.series == {"before": (1.0, 4.0, 3.0, 0.0, 2.0), "after": (-4.0, -4.0, 3.0, 1.0, 0.0)}


def test_every_step_of_the_families_says_its_formula_but_those_that_move_numbers_only():
    """Those that have none cut, join or lay out anew."""
    without = {
        step.operation
        for family in CONFIGS
        for step in make_plan(model_of(family).config, "image_classification")
        if not formula_of(step)
    }
    assert without <= {
        *("map_tokens", "tokens", "positions_map", "class_token", "join_class_token", "join_nothing"),
        *("average_pool2d", "pad_end"),
    }
    (gelu,) = {
        formula_of(step)
        for step in make_plan(model_of("convnext").config, "image_classification")
        if step.operation == "activation"
    }
    assert gelu == "x * (1 + erf(x / sqrt(2))) / 2"


def test_reasons_are_those_of_a_direct_computation():
    model = model_of("convnext")
    x = processor()(PHOTO)["pixel_values"]
    for reason in look_at(model, processor(), PHOTO, "").reasons:
        size = x.shape[2:]
        expected = [occlusion(model, x, reason.label), np.abs(saliency(model, x, reason.label)).max(axis=1)[0]]
        expected += [grad_cam(model, x, reason.label, stage)[0] for stage in range(stages_of(model.config))]
        for picture, values in zip([reason.covering, reason.saliency, *reason.grad_cam], expected, strict=True):
            np.testing.assert_array_equal(picture.pixels, heat(values, size).pixels)


def test_the_unchanged_photo_is_asked_once(monkeypatch):
    """Beside it there are three changed ones, and the covered ones, in batches."""
    model, asked = model_of("convnext"), []
    x = processor()(PHOTO)["pixel_values"]
    forward = type(model).__call__

    def call(self, pixel_values, *args, **kwargs):
        asked.append(len(pixel_values) == 1 and np.array_equal(pixel_values, x))
        return forward(self, pixel_values, *args, **kwargs)

    monkeypatch.setattr(type(model), "__call__", call)
    look_at(model, processor(), PHOTO, "")
    assert sum(asked) == 1
    assert len(asked) > 4


def test_the_class_token_ends_as_what_the_classifier_takes():
    model = model_of("cvt")
    look = look_at(model, processor(), PHOTO, "")
    blocks = model.config.depth[-1]
    assert len(look.class_token) == 1 + 2 * blocks
    assert sum(stop.attention is not None for stop in look.class_token) == blocks
    last = look.class_token[-1]
    assert last.scores == pytest.approx({label: look.scores["as it is"][label] for label in last.scores}, rel=1e-5)
    assert len({tuple(stop.scores.values()) for stop in look.class_token}) == len(look.class_token)
    bare = look_at(filled_model(npconv.CvtModel, CONFIGS["cvt"]), processor(), PHOTO, "")
    assert [stop.length for stop in bare.class_token] == [stop.length for stop in look.class_token]
    assert bare.class_token[-1].scores == {}


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


@pytest.mark.parametrize("patch", [0, 9, 2.5, True])
def test_a_square_that_does_not_fit_is_refused(patch):
    with pytest.raises(InputError, match=f"expected a patch from 1 to 8 whole pixels, got {patch}"):
        occlusion(model_of("convnext"), pictures(batch=1, height=8, width=9), 0, patch=patch)


def test_the_photo_comes_back_from_the_pixel_values():
    x = processor()(PHOTO)["pixel_values"]
    shown = photo_of(x, processor()).pixels
    with pytest.raises(InputError, match=r"one picture, \(1, C, H, W\), got \(3, "):
        photo_of(x[0], processor())
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


def test_no_more_memory_is_held_for_more_blocks():
    """While views are not kept: the peak of what Python and NumPy have, for 2 and for 12 blocks of the largest maps."""

    def peak(blocks):
        config = npconv.ConvNextConfig(depths=[blocks, 1], hidden_sizes=[32, 8], num_stages=2, num_labels=3)
        model = npconv.ConvNextForImageClassification(config)
        plan, params, x = make_plan(config, model.task), flatten(model.params), pictures(1, 96, 96)
        tracemalloc.start()
        try:
            for _ in look_into(plan, x, params):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(2) > 32 * 4 * 24 * 24 * 8  # of the widest map in float64
    assert peak(12) < 1.05 * peak(2)  # the names of steps and the like
