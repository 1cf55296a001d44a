"""A comparison that compared nothing does not pass, and names of outputs are those of the tensors they are."""

import sys

import numpy as np
import pytest
from support.builders import CONFIGS
from support.compare_samples import P, golden, make_trace, port, small

import npconv
from npconv import ConvNextImageProcessor
from npconv.cli import main
from npconv.errors import GoldenError
from npconv.golden.case import assert_close, cases
from npconv.golden.check import check
from npconv.golden.compare import compare
from npconv.golden.preprocessing import DECODED, layouts, record_preprocessing
from npconv.golden.trace_file import PIXELS, Trace
from npconv.golden.tracing import trace
from npconv.golden.truth import add_noise, record
from npconv.models import FAMILIES

pytestmark = pytest.mark.long

MODELS = [getattr(npconv, name) for family in FAMILIES.values() for name in family.class_names.values()]

PIXEL_VALUES = port()[PIXELS]


def photographed(**more) -> Trace:
    """The trace of a photo's preprocessing, and more tensors."""
    picture = np.random.default_rng(2).integers(0, 256, (40, 53, 3), np.uint8)
    arrays, about = record_preprocessing(ConvNextImageProcessor(size=24, crop_pct=0.75), picture)
    return make_trace({**arrays, **more}, {"photo": "p", "preprocessing": about, "layouts": layouts(arrays)})


def some(recorded: Trace, *names: str) -> Trace:
    """A few tensors of a trace, which says of itself what it said before."""
    return make_trace({name: recorded[name] for name in names}, recorded.about)


SHARED_NOTHING = {
    "the input alone": (golden(), make_trace({PIXELS: PIXEL_VALUES})),
    "the input is all there is": (make_trace({PIXELS: PIXEL_VALUES}), make_trace({PIXELS: PIXEL_VALUES})),
    "other parts of one model": (some(golden(), PIXELS, f"{P}pooled"), some(port(), PIXELS, "classifier")),
    "other parts, the same photo": (photographed(a=np.ones(2)), photographed(b=np.ones(2))),
    "a photo and no more": (some(photographed(), DECODED), some(photographed(), DECODED)),
    "pixel values of one photo": (some(photographed(), PIXELS), some(photographed(), PIXELS)),
    "no elements": ({"a": np.ones((0, 3))}, {"a": np.ones((0, 3))}),
    "input and no elements": (
        {PIXELS: PIXEL_VALUES, "a": np.ones((0, 3))},
        {PIXELS: PIXEL_VALUES, "a": np.ones((0, 3))},
    ),
    "weights alone": (make_trace({}, params={"a": np.ones(2)}), make_trace({}, params={"a": np.ones(2)})),
    "nothing at all": ({}, {}),
    "noise as large as the values": (
        make_trace({"a": np.ones(3)}, {"noise": {"a": {"explicit": 1e300}}}),
        {"a": np.zeros(3)},
    ),
}


@pytest.mark.parametrize("case", SHARED_NOTHING)
def test_nothing_compared_is_an_error(case):
    reference, mine = SHARED_NOTHING[case]
    with pytest.raises(GoldenError, match=r"nothing was compared|no name of MINE|expected tensors in both"):
        compare(reference, mine)


def test_a_map_of_names_onto_the_input_compares_nothing():
    with pytest.raises(GoldenError, match="nothing was compared: the traces share 'pixel_values' only"):
        compare(golden(), {"x": PIXEL_VALUES}, names={"x": PIXELS})


def test_a_tolerance_that_anything_would_pass_is_refused_and_the_advice_helps():
    zeros = make_trace({name: array if name == PIXELS else 0 * array for name, array in port().items()}, port().about)
    for wide in ({"rtol": 1.0}, {"atol": 1e9}):
        with pytest.raises(GoldenError, match=r"anything would pass; compare in --unit float32 .* with a small --atol"):
            compare(golden(), zeros, **wide)
    assert compare(golden(), zeros, unit="float32", atol=1e-5).first is not None


def test_preprocessing_is_compared_and_that_it_is_all_is_said():
    said = "compared: the preprocessing only, and nothing that the model computes"
    assert said in compare(photographed(a=np.ones(2)), photographed()).notes
    few = (DECODED, PIXELS)
    assert said in compare(photographed(), some(photographed(), *few)).notes
    assert said not in compare(photographed(a=np.ones(2)), photographed(a=np.ones(2))).notes
    wrong = make_trace({**photographed(), "preprocessing.resized": 1 + photographed()["preprocessing.resized"]})
    first = compare(photographed(a=np.ones(2)), wrong).first
    assert first is not None
    assert first.name == "preprocessing.resized"


def test_a_zero_is_a_value_like_others():
    assert compare({"a": np.zeros(3)}, {"a": np.zeros(3)}).first is None
    assert compare({"a": np.zeros(3)}, {"a": np.ones(3)}).first is not None
    assert compare({"a": np.full(3, np.nan)}, {"a": np.full(3, np.nan)}).first is not None


def test_on_the_command_line_it_is_status_2(tmp_path, capsys):
    for name, recorded in (("a", some(golden(), PIXELS, f"{P}pooled")), ("b", some(port(), PIXELS))):
        recorded.save(tmp_path / f"{name}.safetensors")
    status = main(["diff", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")])
    out, error = capsys.readouterr()
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert "nothing was compared: the traces share 'pixel_values' only" in error


def test_noise_of_a_run_that_shares_nothing_is_refused():
    with pytest.raises(GoldenError, match="nothing was compared"):
        add_noise(golden(), make_trace({PIXELS: PIXEL_VALUES}))


def test_no_patterns_record_nothing_and_are_refused():
    with pytest.raises(GoldenError, match="got an empty list"):
        record(small("convnextv2"), PIXEL_VALUES, only=[])
    with pytest.raises(GoldenError, match="got an empty list"), trace(only=()):
        small("convnextv2")(PIXEL_VALUES)


def test_no_cases_are_no_check(monkeypatch):
    with pytest.raises(GoldenError, match="got none"):
        list(check([], "program {input} {output}"))
    with pytest.raises(GoldenError, match="expected numbers to compare with"):
        assert_close([], [], case=cases("softmax")[0])


def test_a_case_that_tells_nothing_in_a_unit_says_so(tmp_path, capsys):
    program = tmp_path / "zeros.py"
    blind = next(case for case in cases("layer_norm") if case.name == "large_mean_tokens")
    program.write_text(f"import sys\nopen(sys.argv[2], 'wb').write(bytes({4 * blind.expected.size}))\n")
    words = ["golden", "check", "layer_norm", "--command", f"{sys.executable} {program} {{input}} {{output}}"]
    assert main([*words, "--case", "large_mean_tokens", "--unit", "bfloat16"]) == 2
    out, error = capsys.readouterr()
    assert "tells nothing" in out
    assert "anything would pass" in error
    assert main([*words, "--case", "large_mean_tokens"]) == 1


# Names of outputs


def outputs_of(model, **more):
    """What a model gives out for the pictures of the samples, as a caller would save it."""
    output = model(PIXEL_VALUES, output_hidden_states=True, return_dict=True)
    hidden = output.hidden_states
    return {**{name: output[name] for name in output if name != "hidden_states"}, **more}, hidden


SPELLINGS = [
    "hidden_states.{}",
    "hidden_states_{}",
    "hidden_states[{}]",
    "outputs/hidden_states/{}",
    "hidden_state_0{}",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("turned", [False, True])
def test_files_of_outputs_are_aligned_with_a_trace(spelling, turned, tmp_path, capsys):
    arrays, hidden = outputs_of(small("convnextv2"))
    arrays |= {spelling.format(place): array for place, array in enumerate(hidden)}
    traces = [golden(), make_trace({PIXELS: PIXEL_VALUES, **arrays})]
    comparison = compare(*reversed(traces)) if turned else compare(*traces)
    assert comparison.first is None
    assert len(comparison.differences) == 2 + len(hidden)
    assert (comparison.missing if turned else comparison.extra) == []
    wrong = make_trace({PIXELS: PIXEL_VALUES, **arrays, "logits": arrays["logits"] + np.float32(0.1)})
    first = compare(*([wrong, golden()] if turned else [golden(), wrong])).first
    assert first is not None
    assert {first.name, first.mine} == {"classifier", "logits"}


def test_two_files_of_outputs_may_spell_them_differently():
    arrays, hidden = outputs_of(small("convnextv2"))
    one = {f"hidden_states.{place}": array for place, array in enumerate(hidden)}
    other = {f"outputs.hidden_states[{place}]": array for place, array in enumerate(hidden)}
    comparison = compare({**one, **arrays}, {**other, **arrays})
    assert len(comparison.differences) == len(hidden) + 1
    assert comparison.first is None


@pytest.mark.parametrize("model_class", MODELS, ids=lambda model_class: model_class.__name__)
def test_every_output_of_every_model_finds_its_tensor(model_class):
    kind = model_class.config_class
    config = CONFIGS.get(kind.model_type) or kind(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1])
    model = model_class(config, seed=1)
    output = model(PIXEL_VALUES, output_hidden_states=True, return_dict=True)
    arrays = {}
    for key in output:
        several = output[key] if isinstance(output[key], tuple) else None
        arrays |= {key: output[key]} if several is None else {f"{key}.{n}": one for n, one in enumerate(several)}
    if kind.model_type == "dinov3_convnext":
        arrays.pop("pooler_output", None)  # the first token of another tensor
    comparison = compare(record(model, PIXEL_VALUES, noise=False), make_trace({PIXELS: PIXEL_VALUES, **arrays}))
    assert comparison.extra == []
    assert comparison.first is None
