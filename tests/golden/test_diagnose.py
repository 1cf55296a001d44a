"""Why a tensor diverges: born or inherited, and which mistake fits."""

import importlib
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from support.compare_samples import BLOCK, SUM, TANH, P, golden, make_trace, port, run, small

from npconv import ConvNextImageProcessor
from npconv.golden import segment
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.judge import FIT, GAIN
from npconv.golden.mistakes import MISTAKES as CATALOGUE
from npconv.golden.mistakes.catalogue import Mistake
from npconv.golden.origin import origin
from npconv.golden.preprocessing import DECODED, IMAGE, image_of, layouts, record_preprocessing
from npconv.golden.report import to_text
from npconv.golden.repro import save_repro
from npconv.golden.segment import plan_of
from npconv.golden.trace_file import Trace
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan

#: The module; of the package, the name is the function.
diagnosis = importlib.import_module("npconv.golden.diagnose")

MISTAKES = (TANH, SUM)
ACTIVATIONS = {
    "convnextv2": f"{P}encoder.stages.0.layers.0.act",
    "cvt": "cvt.encoder.stages.0.layers.0.intermediate.activation",
}


def fitting(comparison, mistakes=MISTAKES):
    return [suspect for suspect in diagnose(comparison, mistakes) if suspect.fits]


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
def test_the_mistake_is_named_with_its_step(family):
    comparison = compare(golden(family), port(family, TANH))
    [suspect] = fitting(comparison)
    assert suspect.mistake is TANH
    assert suspect.step.name == ACTIVATIONS[family]
    assert suspect.steps == 1
    found = origin(comparison)
    assert found is not None
    assert found.is_born_here
    assert found.of_mine
    assert comparison.first is not None
    assert found.inherited < comparison.first.tolerance < found.born


@pytest.mark.parametrize(("mistake", "name"), [(TANH, "gelu-tanh"), (SUM, "grn-sum")])
def test_the_whole_catalogue_by_default(mistake, name):
    best = diagnose(compare(golden(), port(mistake=mistake)))[0]
    assert best.fits
    assert best.mistake is not None
    assert best.mistake.says == next(m.says for m in CATALOGUE if m.name == best.mistake.name)
    assert best.mistake.operation == mistake.operation
    assert name in best.mistake.name


def test_nothing_is_blamed_where_nothing_diverges():
    comparison = compare(golden(), port())
    assert diagnose(comparison, MISTAKES) == []
    assert origin(comparison) is None


def test_suspects_come_best_first():
    found = diagnose(compare(golden(), port(mistake=SUM)), MISTAKES)
    assert found[0].mistake is SUM
    residuals = [suspect.residual for suspect in found]
    assert residuals == sorted(residuals)


@pytest.mark.parametrize("only", [{"classifier"}, {f"{P}embeddings.layernorm", "classifier"}])
def test_a_coarse_trace_is_run_again_from_its_nearest_good_tensors(only):
    comparison = compare(golden(), port(mistake=TANH, only=only))
    [suspect] = fitting(comparison)
    assert (suspect.mistake, suspect.steps) == (TANH, 3)
    found = origin(comparison)
    assert found is not None
    assert found.start == ((f"{P}embeddings.layernorm",) if len(only) == 2 else ("pixel_values",))
    assert found.of_mine is (len(only) == 2)
    assert found.steps[-1] == "classifier"


def test_a_mistake_in_one_of_several_steps_is_found():
    wrong = f"{BLOCK}.act"

    def change(step, made):
        return TANH.function(arrays[step.inputs[0]], hidden_act="gelu") if step.name == wrong else made

    arrays = run()
    after = run(change=change)
    mine = {name: after[name] for name in (f"{P}embeddings.layernorm", "classifier")}
    [suspect] = fitting(compare(golden(), make_trace(mine)))
    assert (suspect.mistake, suspect.step.name, suspect.steps) == (TANH, wrong, 1)


def test_an_error_that_hides_within_a_tolerance_is_inherited_and_found_before():
    """The step after amplifies what its input may differ by; the culprit is the step that made the input."""
    before, after = f"{BLOCK}.grn.strength", f"{BLOCK}.grn.relative"
    comparison = compare(golden(), port())
    room = comparison[before].tolerance

    def offset(x):
        strength = np.sqrt((x * x).sum(axis=(2, 3), keepdims=True))
        return strength + np.asarray(0.7 * room, strength.dtype) * np.sign(strength - strength.mean())

    hidden = Mistake("offset", "an offset", "grn_strength", offset, "test")
    mine = dict(port())
    mine[before] = offset(mine[f"{BLOCK}.act"])
    relative = mine[before] / (mine[before].mean(axis=1, keepdims=True) + np.float32(1e-6))
    mine[after] = relative
    reference = make_trace(dict(golden()), golden().about, golden().params)
    reference.about["noise"] = {**golden().about["noise"], after: {"explicit": comparison[after].tolerance / 64}}
    comparison = compare(reference, make_trace(mine))
    assert comparison.first is not None
    assert comparison.first.name == after
    found = origin(comparison)
    assert found is not None
    assert not found.is_born_here
    assert found.inherited > comparison.first.tolerance
    assert [suspect.mistake for suspect in fitting(comparison, [*MISTAKES, hidden])] == [hidden]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x.transpose(0, 2, 3, 1).reshape(x.shape), "NHWC read as NCHW"),
        (lambda x: x.transpose(0, 3, 1, 2).reshape(x.shape), "NWCH read as NCHW"),
        (lambda x: x.swapaxes(2, 3).reshape(x.shape), "NCWH read as NCHW"),
    ],
)
def test_a_layout_taken_for_another(change, says):
    mine = {**port(), f"{BLOCK}.act": change(port()[f"{BLOCK}.act"])}
    found = fitting(compare(golden(), make_trace(mine), strict=True))
    assert found[0].says == says
    assert found[0].mistake is None


def test_the_layout_of_an_input():
    name, before = f"{BLOCK}.pwconv1", f"{BLOCK}.layernorm"
    x = port()[before].transpose(0, 2, 3, 1).reshape(port()[before].shape)
    params = small("convnextv2").state_dict()
    made = np.einsum("nchw,dc->ndhw", x, params[f"{name}.weight"]) + params[f"{name}.bias"][:, None, None]
    [best, *_] = fitting(compare(golden(), make_trace({**port(), name: made}), strict=True))
    assert best.says == f"NHWC read as NCHW in its input {before}"


def test_a_mistake_that_changes_the_shape():
    unpooled = Mistake("unpooled", "no pooling", "global_average_pool", lambda x: x, "test")
    mine = {name: array for name, array in port().items() if name != "classifier"}
    mine[f"{P}pooled"] = mine[f"{P}encoder.stages.1.layers.1"]
    comparison = compare(golden(), make_trace(mine))
    assert comparison.first is not None
    assert comparison.first.reading is None
    assert [suspect.mistake for suspect in fitting(comparison, [unpooled])] == [unpooled]


def test_a_mistake_of_the_catalogue_that_a_good_tensor_refutes_is_none():
    """The map of GRN is as of the tanh form; its strength, of the same activations, is right."""
    arrays = dict(port())
    del arrays[f"{BLOCK}.act"]
    wrong = TANH.function(arrays[f"{BLOCK}.pwconv1"], hidden_act="gelu")
    weight, bias = (golden().params[f"{BLOCK}.grn.{name}"] for name in ("weight", "bias"))
    arrays[f"{BLOCK}.grn"] = OPERATIONS["grn_apply"](wrong, arrays[f"{BLOCK}.grn.relative"], weight, bias)
    suspects = diagnose(compare(golden(), make_trace(arrays), strict=True), [TANH], kinds=())
    assert [suspect.refuted for suspect in suspects if suspect.mistake] == [True]
    assert all(suspect.residual < 1e-6 for suspect in suspects if suspect.mistake)
    assert not any(suspect.fits for suspect in suspects)


def test_a_mistake_is_named_only_if_others_leave_more_by_a_margin():
    comparison = compare(golden(), port(mistake=TANH))
    assert comparison.first is not None
    room = min(FIT * comparison.first.tolerance, comparison.first.max_abs / GAIN)  # what a fit may leave

    def off(by):
        function = lambda x, hidden_act: TANH.function(x, hidden_act=hidden_act) + by * room  # noqa: E731
        return Mistake(f"off-{by}", f"off by {by}", "activation", function, "test")

    near, other = off(0.75), off(1.125)
    for mistakes, named in (([near], [near]), ([near, other], []), ([TANH, other], [TANH])):
        assert [s.mistake for s in diagnose(comparison, mistakes, kinds=()) if s.fits] == named


def test_a_mistake_that_makes_nan():
    def broken(x, *, hidden_act):
        return np.where(x < -1, np.nan, TANH.function(x, hidden_act=hidden_act))

    nan = Mistake("nan", "no number below -1", "activation", broken, "test")
    found = fitting(compare(golden(), port(mistake=nan)), [TANH, nan])
    assert [suspect.mistake for suspect in found] == [nan]


def test_an_array_of_nan_alone_has_no_reason():
    mine = {**port(), f"{BLOCK}.act": np.full_like(port()[f"{BLOCK}.act"], np.nan)}
    found = diagnose(compare(golden(), make_trace(mine)))
    assert not any(one.fits for one in found)
    assert 0 < found.tried < len(CATALOGUE)  # of no other kind: they would be thousands


def test_a_mistake_that_fails_on_these_shapes_is_left_out():
    fails = [
        Mistake(f"fails-{error.__name__}", "fails", "activation", raising(error), "test")
        for error in (ValueError, IndexError, TypeError, ZeroDivisionError)
    ]
    [suspect] = fitting(compare(golden(), port(mistake=TANH)), [*fails, TANH])
    assert suspect.mistake is TANH


def raising(error):
    def function(*args, **settings):
        raise error

    return function


def test_without_steps_or_weights_layouts_are_all_that_is_tried():
    wrong = f"{BLOCK}.pwconv1"
    for about, params in (({}, golden().params), (golden().about, {})):
        reference = make_trace(dict(golden()), about, params)
        comparison = compare(reference, make_trace({**port(), wrong: port()[wrong] + np.float32(1)}), strict=True)
        assert comparison.first is not None
        assert comparison.first.name == wrong
        assert origin(comparison) is None
        assert all(suspect.mistake is None for suspect in diagnose(comparison, MISTAKES))


def test_a_plan_of_another_program_is_no_traceback():
    about = {**golden().about}
    about["steps"] = {**about["steps"], "steps": [dict(step) for step in about["steps"]["steps"]]}
    for step in about["steps"]["steps"]:
        step["operation"] = "conv99"
    comparison = compare(make_trace(dict(golden()), about, golden().params), port(mistake=SUM))
    assert origin(comparison) is None
    assert all(suspect.mistake is None for suspect in diagnose(comparison, MISTAKES))


def photographed() -> Trace:
    """A trace of nothing but preprocessing."""
    processor = ConvNextImageProcessor(size=24, crop_pct=0.75, image_mean=[0.3, 0.4, 0.6], image_std=[0.2, 0.3, 0.5])
    picture = np.random.default_rng(2).integers(0, 256, (40, 53, 3), np.uint8)
    arrays, preprocessing = record_preprocessing(processor, picture)
    about = {"photo": "p", "preprocessing": json.loads(json.dumps(preprocessing)), "layouts": layouts(arrays)}
    return make_trace(arrays, about)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("name", ["resize-bilinear", "normalize-bgr-statistics"])
def test_mistakes_in_preprocessing(name, coarse):
    reference = photographed()
    wrong = f"preprocessing.{'resized' if name.startswith('resize') else 'normalized'}"
    plan = plan_of(reference, "pixel_values")
    assert plan is not None
    [mistake] = [mistake for mistake in CATALOGUE if mistake.name == name]
    arrays = {IMAGE: image_of(reference[DECODED])}
    function_of = {wrong: mistake.function}
    for step, made in run_plan(plan, dict(arrays), {}, lambda s: function_of.get(s.name, OPERATIONS[s.operation])):
        arrays[step.name] = made
    arrays["pixel_values"] = arrays.pop("preprocessing.normalized")[None]
    mine = {key: array for key, array in arrays.items() if key != IMAGE and (key == "pixel_values" or not coarse)}
    comparison = compare(reference, make_trace(mine, {"photo": "p"}))
    assert comparison.first is not None
    assert comparison.first.name == (wrong if name.startswith("resize") and not coarse else "pixel_values")
    suspect = fitting(comparison, CATALOGUE)[0]
    assert (suspect.mistake, suspect.step.name) == (mistake, wrong)
    found = origin(comparison)
    assert found is not None
    assert comparison.first.tolerance < found.born < np.inf


def test_a_right_port_of_float32_does_not_fit_by_chance_in_float64():
    """The part is run in the precision of the reference: the residual is mine's own rounding, not that of two."""
    comparison = compare(golden(), port(mistake=SUM))
    assert fitting(comparison)[0].residual < 2.0**-23


def test_a_part_is_run_once_for_all_questions(monkeypatch, tmp_path):
    runs = []
    monkeypatch.setattr(segment, "run_steps", lambda *args: runs.append(args) or RUN_STEPS(*args))
    comparison = compare(golden(), port(mistake=TANH))
    origin(comparison)
    diagnose(comparison, MISTAKES)
    save_repro(comparison, tmp_path / "repro")
    assert len(runs) == 1


RUN_STEPS = segment.run_steps


def coarse():
    """A comparison of logits alone that no mistake explains."""
    logits = port()["classifier"]
    noise = np.random.default_rng(3).normal(size=logits.shape).astype(np.float32)
    return compare(golden(), make_trace({"classifier": logits + noise}))


def test_a_search_ends_when_its_budget_is_spent(monkeypatch):
    monkeypatch.setattr("npconv.golden.judge.BUDGET", 100_000_000)
    whole = diagnose(coarse())
    monkeypatch.setattr("npconv.golden.judge.BUDGET", 20_000_000)
    cut = diagnose(coarse())
    assert 10 <= cut.tried < cut.known
    assert cut.tried < whole.tried
    assert [suspect.says for suspect in cut] == [suspect.says for suspect in diagnose(coarse())]
    assert f"{cut.tried} of {cut.known} mistakes tried" in to_text(coarse(), None, cut)


def test_an_unchanged_part_is_not_searched_twice(monkeypatch):
    monkeypatch.setattr("npconv.golden.judge.BUDGET", 100_000_000)
    searched = []
    init = diagnosis._Search.__init__
    monkeypatch.setattr(
        diagnosis._Search, "__init__", lambda self, *args: searched.append(args[2].steps) or init(self, *args)
    )
    assert not any(suspect.fits for suspect in diagnose(coarse(), MISTAKES))
    assert len(searched) == len(set(map(len, searched)))
    searched.clear()
    whole = compare(golden(), port(mistake=TANH))  # all before it is good, however small the share
    diagnose(whole, [], kinds=())
    assert len(searched) == 1


def test_once_a_mistake_fits_nothing_is_searched_that_starts_elsewhere(monkeypatch):
    searched, init, make = [], diagnosis._Search.__init__, diagnosis.make_segment
    monkeypatch.setattr(diagnosis._Search, "__init__", lambda self, *args: searched.append(1) or init(self, *args))
    monkeypatch.setattr(diagnosis, "make_segment", lambda *args: replace(make(*args)))  # as if each began elsewhere
    comparison = compare(golden(), port(mistake=TANH))
    assert diagnose(comparison, [TANH])[0].fits
    assert len(searched) == 1
    diagnose(comparison, [], kinds=())
    assert len(searched) == 1 + len(diagnosis.SHARES)


@pytest.mark.parametrize("attribute", [{"padding": 20000}, {"padding": [7, 0]}])
def test_a_reference_with_absurd_sizes_is_not_run(attribute):
    about = json.loads(json.dumps(golden().about))
    [step] = [step for step in about["steps"]["steps"] if step["name"] == f"{BLOCK}.dwconv"]
    step["attributes"].update(attribute)
    mine = {**port(), f"{BLOCK}.dwconv": port()[f"{BLOCK}.dwconv"] + np.float32(1)}
    comparison = compare(make_trace(dict(golden()), about, golden().params), make_trace(mine))
    assert comparison.first is not None
    tracemalloc.start()
    try:
        assert origin(comparison) is None
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_plan_that_makes_other_shapes_than_its_trace_is_not_run():
    about = json.loads(json.dumps(golden().about))
    [step] = [step for step in about["steps"]["steps"] if step["name"] == f"{BLOCK}.dwconv"]
    step["attributes"]["padding"] = 2
    mine = {**port(), f"{BLOCK}.dwconv": port()[f"{BLOCK}.dwconv"] + np.float32(1)}
    assert origin(compare(make_trace(dict(golden()), about, golden().params), make_trace(mine))) is None


def test_a_resize_to_an_absurd_size_is_not_run():
    reference = photographed()
    about = json.loads(json.dumps(reference.about))
    about["preprocessing"]["steps"]["steps"][0]["attributes"].update(height=30000, width=30000)
    name = "preprocessing.resized"
    comparison = compare(
        make_trace(dict(reference), about), make_trace({**reference, name: reference[name] + 1}, about)
    )
    assert comparison.first is not None
    assert origin(comparison) is None


@pytest.mark.parametrize("also_mine", [False, True])
def test_a_broken_reference_is_said_to_be_broken_and_not_diagnosed(also_mine):
    arrays, mine = dict(golden()), dict(port())
    for broken in [arrays, mine][: 1 + also_mine]:
        broken[f"{BLOCK}.act"] = np.full_like(broken[f"{BLOCK}.act"], np.nan)
    comparison = compare(make_trace(arrays, golden().about, golden().params), make_trace(mine))
    assert comparison.first is not None
    assert comparison.first.broken
    assert diagnose(comparison) == []
    assert origin(comparison) is None
    assert "REFERENCE itself holds NaN" in to_text(comparison, None, [])
