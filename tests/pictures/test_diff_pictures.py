"""The page of a comparison shows each kind of mistake in a picture of its own; what it says is held by its numbers."""

import copy
import json
import re

import numpy as np
import pytest
from support import compare_samples as samples
from support import gradient_samples

from npconv.golden.births import also_born
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.mistakes import CATALOGUE
from npconv.pictures import diff_page, diff_views
from npconv.pictures.diff_legend import legend
from npconv.pictures.diff_page import to_html
from npconv.plan.operations import OPERATIONS
from tests.pictures import mistakes

EVIL = "<script>alert('x')</script>\x00\"'&"


def page_of(golden, mine, **options):
    return to_html(compare(golden, mine), [], "report", "title", **options)


def caption(text, title):
    """Return what stands below the first figure of a title."""
    [said] = re.findall(rf"<b>{re.escape(title)}</b>(?:<br>(.*?))?</figcaption>", text)[:1]
    return said


def bars(text, title):
    """Return the names and numbers of the first bar chart of a title."""
    [drawn] = re.findall(r'<svg [^>]*aria-label="[^"]*"[^>]*>((?:(?!<svg ).)*?)</svg><figcaption><b>' + title, text)[:1]
    words = re.findall(r"<text [^>]*>(.*?)</text>", drawn)
    return {name: float(value) for name, value in zip(words[:-1:2], words[1::2], strict=False)}


@pytest.fixture(scope="module")
def convnext():
    return samples.golden()


@pytest.fixture(scope="module")
def cvt():
    return samples.golden("cvt")


def test_an_array_is_held_against_those_of_its_shape_that_are_computed_next_to_it(monkeypatch):
    monkeypatch.setattr(diff_page, "MOST_OTHERS", 3)
    reference = {name: np.arange(4.0) ** (1 + place) for place, name in enumerate("abcdefg")} | {"z": np.ones(3)}
    text = to_html(compare(reference, {**reference, "f": reference["a"]}, rtol=1e-6), [], "report", "title")
    assert list(bars(text, "arrays of the reference that mine looks like")) == ["e", "f", "g"]


def of_mistake(golden, name, family="convnextv2"):
    return page_of(golden, samples.port(family, mistake=CATALOGUE[name]))


def test_a_factor_is_a_line_with_its_slope(convnext):
    text = of_mistake(convnext, "grn-sum")
    channels = 4 * samples.small("convnextv2").config.hidden_sizes[0]
    slope = float(re.search(r"nearest line: (\S+) x reference", text)[1])
    assert slope == pytest.approx(1 / channels, rel=1e-4)  # six digits are shown


def test_another_activation_is_a_curve_over_what_the_step_took(convnext):
    text = of_mistake(convnext, "gelu-tanh")
    assert caption(text, "result over input").startswith("of convnextv2.encoder.stages.0.layers.0.pwconv1. Blue")
    assert "difference over input" in text


@pytest.mark.parametrize("name", ["depthwise-kernel-flipped", "conv-kernel-flipped"])
def test_a_flipped_kernel_is_the_weight_turned(convnext, name):
    found = bars(of_mistake(convnext, name), "what the weight in other orders gives")
    assert found["turned by 180 degrees"] == 1
    assert found["as it is"] < 0.9


def test_a_map_read_otherwise_is_an_order_of_axes(convnext):
    found = bars(of_mistake(convnext, "pointwise-output-read-as-nhwc"), "the reference in other orders")
    assert [name for name, value in found.items() if value == 1] == ["order NCHW, read as NHWC"]


def test_padding_at_the_wrong_end_is_a_map_that_moved(convnext):
    said = caption(of_mistake(convnext, "depthwise-shifted-down"), "the reference moved")
    assert said.startswith("Correlation, the highest 1.000 for 1 down and 1 right.")


def test_a_residual_that_is_forgotten_does_not_count(convnext):
    text = of_mistake(convnext, "residual-missing")
    assert caption(text, "how often each input counts, reference").startswith("1.0000, 1.0000; leaves")
    assert re.match(r"-?0\.0000, 1\.0000; leaves", caption(text, "how often each input counts, mine"))


def test_a_norm_over_another_axis_has_its_means_0_there(convnext):
    text = of_mistake(convnext, "layer-norm-over-width")
    right, mine = bars(text, "means of reference"), bars(text, "means of mine")
    assert right["over C"] < 1e-3 < 0.05 < right["over W"]
    assert mine["over W"] < 1e-3 < 0.05 < mine["over C"]


def test_a_result_of_another_shape_is_found_in_the_larger(cvt):
    text = of_mistake(cvt, "depthwise-unstrided", "cvt")
    assert "The shapes do not fit" in text
    assert caption(text, "parts of mine") == "Correlation with the reference, the highest 1.000."


def test_tokens_softmax_and_heads_have_pictures_of_their_own(cvt):
    order = bars(of_mistake(cvt, "tokens-by-columns", "cvt").partition("Tokens as a map")[2], "the reference in other")
    assert max(order, key=order.__getitem__) in ("order NWHD, read as NHWD", "transposed (H and W swapped)")
    assert "sums over keys" in of_mistake(cvt, "softmax-over-queries", "cvt")
    assert "head that each channel is mixed by, mine" in of_mistake(cvt, "context-heads-not-transposed", "cvt")


def test_both_directions_are_shown_where_gradients_are():
    def doubled(*inputs, **arguments):
        return 2 * OPERATIONS["depthwise_conv2d_backward"](*inputs, **arguments)

    wrong = {"activation": samples.tanh, f"{samples.BLOCK}.dwconv.weight.grad": doubled}
    comparison = compare(gradient_samples.golden(), gradient_samples.port(wrong=wrong))
    suspects = diagnose(comparison)
    text = to_html(comparison, suspects, "report", "title", also_born(comparison, suspects))
    assert "<h2>The first mistake on the way back</h2>" in text
    after = text.partition("<h2>The first mistake on the way back</h2>")[2]
    assert "2 x reference" in after
    assert "def depthwise_conv2d_backward(" in after


def test_a_wrong_weight_is_shown_beside_that_of_the_reference(convnext):
    key = f"{samples.BLOCK}.dwconv.weight"
    turned = np.asarray(convnext.params[key])[..., ::-1, ::-1]
    port = samples.port(mistake=CATALOGUE["depthwise-kernel-flipped"])
    text = page_of(convnext, samples.make_trace(port, params={key: turned}))
    assert "<h2>Wrong weights</h2>" in text
    assert bars(text, "the reference in other orders")["turned by 180 degrees"] == 1


def test_what_is_not_finite_and_what_has_no_steps_is_shown_as_well(convnext):
    arrays = dict(samples.port())
    name = f"{samples.P}encoder.stages.0.layers.0.act"
    arrays[name] = np.where(np.asarray(arrays[name]) > 1, np.nan, arrays[name])
    assert "where it is wrong" in page_of(convnext, samples.make_trace(arrays))
    plain = {name: np.asarray(array) for name, array in convnext.items()}
    assert "The reference holds no steps." in page_of(plain, samples.port(mistake=samples.TANH))


@pytest.mark.parametrize(
    "change",
    [{"operation": EVIL}, {"inputs": []}, {"params": {"weight": "nowhere"}}, {"attributes": {"stride": [1, 1]}}],
)
def test_steps_that_another_program_wrote_are_no_error(convnext, change):
    about = copy.deepcopy(dict(convnext.about))
    for step in about["steps"]["steps"]:
        if step["operation"] == "depthwise_conv2d":
            step.update(change)
    reference = samples.make_trace(convnext, about, convnext.params)
    text = of_mistake(reference, "depthwise-kernel-flipped")
    assert "<h2>The step</h2>" in text
    assert text.count("<script>") == 1


def test_names_from_outside_do_nothing_in_plots(convnext):
    plain = {f"{name}{EVIL}": np.asarray(array) for name, array in convnext.items() if name != "pixel_values"}
    plain["pixel_values"] = np.asarray(convnext["pixel_values"])
    mine = {name: 1.5 * array if name.endswith(f".act{EVIL}") else array for name, array in plain.items()}
    text = page_of(plain, mine)
    assert text.count("<script>") == 1
    assert "<script>alert" not in text
    assert "\x00" not in text
    assert "alert(&#x27;x&#x27;)" in text


def test_large_arrays_make_small_pages():
    rng = np.random.default_rng(0)
    start = {"pixel_values": rng.normal(size=(1, 3, 8, 8)), "x": rng.normal(size=(1, 96, 56, 56))}
    text = page_of(start, {**start, "x": start["x"] * 1.5 + rng.normal(size=(1, 96, 56, 56))})
    assert "Explanations that were tried" not in text  # there are none
    assert len(text) < 500_000  # of 2.4 MB of numbers


def test_the_legend_shows_a_picture_for_each_line():
    text = legend()
    assert text.count("<figure") == text.count("<p>") == 9
    assert "highest 1.000 for 1 down and 2 right" in text
    assert "0.7 x reference" in text


def test_the_quiz_asks_for_mistakes_of_the_catalogue():
    for kind, pattern in {**mistakes.THERE, **mistakes.BACK}.items():
        assert any(re.fullmatch(pattern, name) for name in CATALOGUE), kind


@pytest.mark.long
def test_the_quiz_has_pages_without_the_answers(tmp_path):
    assert mistakes.main([str(tmp_path), "--count", "1", "--seed", "4"]) == 0
    answers = json.loads((tmp_path / "answers.json").read_text("utf-8"))
    assert list(answers) == ["01.html", "02.html"]
    for page, answer in answers.items():
        text = (tmp_path / page).read_text("utf-8")
        assert "<h2>Side by side</h2>" in text
        assert answer["mistake"] not in text


def test_what_rounding_makes_is_half_a_place_of_each_dtype():
    assert {name: -np.log2(share) for name, share in diff_views.ROUNDINGS.items()} == {
        "bfloat16": 8,  # 7 bits are stored, and one is hidden
        "float16, TF32": 11,
        "float32": 24,
    }


def test_guides_are_drawn_over_the_squares_of_many_points():
    values = np.random.default_rng(0).random(500)
    text = diff_views.difference_over(values - 0.5, "reference", values)
    assert 0 < text.index("data:image/png") < text.index("line guide")


def test_arrays_that_are_alike_keep_names_that_tell_them_apart():
    mine = np.arange(8.0)
    ends = ".attention.attention.convolution_projection_query"
    arrays = {f"stages.2.layers.{layer}{ends}": mine + layer * (-1.0) ** mine for layer in range(3)}
    found = bars(diff_views.alike(arrays, mine), "arrays of the reference")
    assert [name.removesuffix(ends) for name in found] == ["0", "1", "2"]
    assert next(iter(found.values())) == 1


def test_the_kernels_that_are_shown_have_the_numbers_of_their_channels(convnext):
    text = of_mistake(convnext, "depthwise-no-bias")
    [said] = re.findall("<br>kernels of (channels [0-9, ]+)", text)[:1]
    drawn = text.partition('aria-label="biases"')[2].partition("</svg><figcaption>")[0]
    assert f">{said}</text>" in drawn


def test_planes_that_are_the_same_everywhere_are_not_moved():
    flat = np.arange(6.0).reshape(1, 6, 1, 1) * np.ones((1, 6, 5, 5))
    assert diff_views.shifted(flat, 16 * flat) is None
    varied = np.random.default_rng(0).random((1, 2, 5, 5))
    assert diff_views.shifted(varied, np.roll(varied, 1, axis=3)) is not None
