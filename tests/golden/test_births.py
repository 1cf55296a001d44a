"""Mistakes after the first: each that is made is found, with its reason, and none that is not made."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from support.compare_samples import BLOCK, TANH, P, golden, make_trace, port, run

from npconv.golden import births
from npconv.golden.births import also_born
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.junit import to_junit
from npconv.golden.mistakes import MISTAKES
from npconv.golden.origin import origin
from npconv.golden.own import Own
from npconv.golden.report import births_by_tensor, births_text, to_text
from npconv.golden.trace_file import Trace
from npconv.golden.values import to_values
from npconv.models import FAMILIES
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan
from npconv.plan.step import Plan
from tests.golden.specimens import model_specimen, picture_specimen
from tests.golden.tiny_models import models_of
from tests.golden.tiny_models.pictures import PICTURES
from tests.golden.unlisted import ENTRIES
from tests.golden.unlisted.entry import outputs_of

BY_NAME = {mistake.name: mistake for mistake in MISTAKES}
LAYER = f"{P}encoder.stages"


@cache
def specimen(family, says="usual"):
    return model_specimen(next(tiny for tiny in models_of(family) if tiny.says == says))


def ported(model, wrong, is_last=False):
    """A port in float32 with a mistake of the catalogue, or a function, in some steps; its maps may be NHWC."""
    [(plan, source)] = model.parts
    made = {name: BY_NAME[key].at(plan[name], plan) for name, key in wrong.items() if isinstance(key, str)}
    functions = {name: BY_NAME[key].function if isinstance(key, str) else key for name, key in wrong.items()}
    changed = Plan(tuple(made.get(step.name, step) for step in plan), plan.outputs)
    mine = Trace(model.about)
    mine.add(source, model.start)
    for step, array in run_plan(
        changed,
        {source: model.start},
        model.golden.params,
        lambda step: functions.get(step.name, OPERATIONS[step.operation]),
    ):
        mine.add(step.name, array)
    return last(mine) if is_last else mine


def last(mine):
    """The trace with the channels of its maps last."""
    found = Trace(mine.about)
    for name, array in mine.items():
        found.add(name, np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array)
    return found


def found_in(reference, mine):
    """The mistakes after the first, and the comparison."""
    comparison = compare(reference, mine)
    return comparison, also_born(comparison, diagnose(comparison))


def told(found):
    """Places and reasons of mistakes after the first."""
    return {birth.places: [suspect.says for suspect in birth.suspects.fitting][:1] for birth in found}


@pytest.mark.parametrize("family", [*FAMILIES, "picture"])
def test_one_mistake_is_one(family):
    """A mistake of each operation, wherever a port can make it; ``diagnose`` knows it, so that it is found at once."""
    model = specimen(family) if family in FAMILIES else picture_specimen(PICTURES[0])
    plan = model.parts[0][0]
    tried = {}
    for mistake in MISTAKES:
        if not mistake.invisible and model.place(mistake) is not None:
            tried.setdefault(mistake.operation, mistake)
    assert len(tried) >= 4
    for mistake in tried.values():
        comparison = compare(model.golden, model.port(mistake))
        found = also_born(comparison, diagnose(comparison, [mistake]), [mistake])
        places = {step.name for step in plan if mistake.at(step, plan) is not None}
        if comparison.first is None:  # not seen in this model
            continue
        assert comparison.first.name in places, mistake.name
        assert {name for birth in found for name in birth.places} <= places - {comparison.first.name}, mistake.name
        assert [birth.again for birth in found] == [True] * (len(found) > 0), mistake.name


@pytest.mark.parametrize("is_last", [False, True])
def test_maps_that_are_read_in_the_wrong_order_are_no_mistakes(is_last):
    """A map of hardly any variance is nearly its own transpose, and is read as that where a kernel is transposed."""
    model = specimen("convnextv2", "hardly any variance")
    mistake = BY_NAME["depthwise-kernel-transposed"]
    mine = last(model.port(mistake)) if is_last else model.port(mistake)
    own = Own(compare(model.golden, mine))
    born = [made.part.target for made in births._independent(own, births._wrong(own))]
    assert born
    assert all(name.endswith(".dwconv") for name in born)


def test_a_picture_of_another_shape_is_one_mistake():
    model = picture_specimen(PICTURES[0])
    comparison = compare(model.golden, model.port(BY_NAME["resize-transposed"]))
    assert comparison.first is not None
    assert comparison.first.name == "preprocessing.resized"
    assert also_born(comparison) == []


def test_a_right_port_has_none():
    assert also_born(compare(golden(), port())) == []
    assert also_born(compare({"a": np.ones(2)}, {"a": np.zeros(2)})) == []


SEVERAL = {
    "convnext": {
        "convnext.embeddings.layernorm": lambda x, **others: 30 * OPERATIONS["layer_norm"](x, **others),  # large
        "convnext.encoder.stages.0.layers.1.act": "gelu-tanh",
        "convnext.encoder.stages.1.layers.0.pwconv2": "pointwise-weight-transposed",
    },
    "convnextv2": {
        "convnextv2.encoder.stages.0.layers.0.dwconv": "depthwise-kernel-flipped",
        "convnextv2.encoder.stages.0.layers.1.grn.relative": "grn-sum",
        "convnextv2.encoder.stages.1.layers.0.layernorm": "layer-norm-eps-1e-3",
    },
    "cvt": {
        "cvt.encoder.stages.0.layers.0.layernorm_before": "layer-norm-no-bias",
        "cvt.encoder.stages.0.layers.1.intermediate.activation": "gelu-tanh",
        "cvt.encoder.stages.1.layers.0.attention.attention.scores": "attention-no-scale",
    },
}


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("family", SEVERAL)
@pytest.mark.parametrize("count", [2, 3])
def test_independent_mistakes_are_all_found(family, count, is_last):
    wrong = dict(list(SEVERAL[family].items())[:count])
    comparison, found = found_in(specimen(family).golden, ported(specimen(family), wrong, is_last))
    assert comparison.first is not None
    assert comparison.first.name == next(iter(wrong))
    expected = {(name,): [BY_NAME[key].says] for name, key in list(wrong.items())[1:]}
    assert told(found) == expected
    assert not any(birth.again for birth in found)


@pytest.mark.parametrize(
    ("name", "count"),
    [("circular-border-everywhere", 2), ("eps-2e-5-everywhere", 4), ("branches-times-0.9", 2), ("int8-everywhere", 5)],
)
def test_a_kind_of_mistake_in_every_block_is_one(name, count):
    entry = next(entry for entry in ENTRIES if entry.name == name)
    [birth] = found_in(entry.golden(), entry.port())[1]
    assert (birth.again, len(birth.places)) == (True, count)


def test_a_step_that_is_moved_is_told_by_what_its_neighbours_take():
    entry = next(entry for entry in ENTRIES if entry.name == "norm-before-convolution")
    found = found_in(entry.golden(), entry.port())[1]
    layer = "convnext.encoder.stages.0.layers.0"
    assert [(birth.places, birth.suspects.fitting[0].kind) for birth in found] == [
        ((f"{layer}.layernorm",), "structure"),
        ((f"{layer}.pwconv1",), "structure"),
    ]
    assert f"{layer}.dwconv in the place of its input {layer}.layernorm" in found[1].suspects.fitting[0].says


def test_a_layer_in_half_precision_after_a_mistake():
    """Only what is rounded on the way into a trace is no mistake, not what one step makes of arrays in float32."""
    model, act = specimen("convnextv2"), "convnextv2.encoder.stages.1.layers.0.act"
    wrong = {"convnextv2.encoder.stages.0.layers.0.grn.relative": "grn-sum"}
    half = {act: lambda x, **others: OPERATIONS["activation"](x, **others).astype(np.float16).astype(np.float32)}
    found = found_in(model.golden, ported(model, {**wrong, **half}))[1]
    others = [birth for birth in found if not birth.again]
    assert told(others) == {(act,): ["result stored in float16"]}


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
def test_outputs_of_stages_alone(family):
    """The last of three mistakes is in another stage than the first two, which no one mistake explains."""
    model, wrong = specimen(family), SEVERAL[family]
    kept = ["pixel_values", *outputs_of(model.parts[0][0])]
    mine = Trace(model.about)
    for name, array in ported(model, wrong).items():
        if name in kept:
            mine.add(name, array)
    [birth] = also_born(compare(model.golden, mine))
    name, key = list(wrong.items())[-1]
    assert birth.suspects.fitting[0].step.name == name
    assert told([birth]) == {(kept[-2],): [BY_NAME[key].says]}


ACT = f"{LAYER}.0.layers.0.act"


def with_tanh(change=None):
    """Arrays of a port whose first activation is the tanh form, and which are changed after that."""

    def changed(step, made):
        made = TANH.function(arrays[step.inputs[0]], hidden_act="gelu") if step.name == ACT else made
        return made if change is None else change(step, made)

    arrays = run()
    arrays.update(run(change=changed))
    return arrays


def test_an_array_that_nothing_follows_from_is_none():
    """A normalization without its scale and shift, which a port has put into the product after it."""
    name = f"{BLOCK}.layernorm"
    weight, bias = (golden().params[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias"))
    arrays = with_tanh()
    comparison, found = found_in(golden(), make_trace({**arrays, name: (arrays[name] - bias) / weight}))
    assert comparison[name].diverges
    assert found == []


def test_what_follows_from_an_array_that_does_not_fit_is_not_judged():
    name = f"{BLOCK}.pwconv1"
    arrays = with_tanh()
    found = found_in(golden(), make_trace({**arrays, name: arrays[name][..., :-1]}))[1]
    assert [birth.places for birth in found] == [(name,)]
    arrays[f"{BLOCK}.grn.strength"] = arrays[f"{BLOCK}.grn.strength"] * np.float32(np.nan)
    found = found_in(golden(), make_trace(arrays))[1]
    assert [birth.places for birth in found] == [(f"{BLOCK}.grn.strength",)]


def test_one_step_that_is_not_recorded_is_one_mistake():
    """Queries, keys and values are wrong as what they are made of is."""
    model, layer = specimen("cvt"), "cvt.encoder.stages.1.layers.0"
    wrong = {"cvt.encoder.stages.0.layers.0.layernorm_before": "layer-norm-no-bias"}
    mine = ported(model, {**wrong, f"{layer}.layernorm_before": "layer-norm-rms"})
    hidden = [f"{layer}.{name}" for name in ("layernorm_before", "attention.attention.map")]
    coarse = Trace(mine.about)
    for name, array in mine.items():
        if name not in (*hidden, f"{layer}.attention.attention.class_token"):
            coarse.add(name, array)
    [birth] = found_in(model.golden, coarse)[1]
    assert [suspect.says for suspect in birth.suspects.fitting] == [BY_NAME["layer-norm-rms"].says]
    assert birth.suspects[0].step.name == hidden[0]


def noisy(step, made):
    """Noise that no mistake explains, in every later activation."""
    later = step.operation == "activation" and step.name != ACT
    return made + np.random.default_rng(1).normal(size=made.shape).astype(np.float32) if later else made


def test_what_is_not_known_in_every_block_is_said_once(monkeypatch):
    budgets = []

    def cheaply(comparison, mistakes, *, kinds, budget):
        budgets.append(budget)
        return diagnose(comparison, [], kinds=())

    monkeypatch.setattr(births, "diagnose", cheaply)
    monkeypatch.setattr(births, "MOST_FAILED", 1)
    comparison = compare(golden(), make_trace(with_tanh(noisy)))
    [birth] = also_born(comparison, diagnose(comparison, [TANH]))
    assert birth.places == (f"{BLOCK}.act", f"{LAYER}.1.layers.1.act")
    assert len(budgets) == 3  # both are tried with what explains the first, and one is searched
    assert births_text([birth])[0].startswith(f"{BLOCK}.act and 1 more, by up to ")
    [again] = also_born(comparison, [])
    assert (again.again, again.places) == (True, birth.places)
    assert births_text([again])[0].endswith(": not known either")
    assert len(budgets) == 3


def test_a_search_ends_with_its_budget(monkeypatch):
    comparison = compare(golden(), make_trace(with_tanh(noisy)))
    suspects = diagnose(comparison)
    monkeypatch.setattr("npconv.golden.judge.BUDGET", 1_000_000)
    [birth] = also_born(comparison, suspects)
    assert birth.suspects.tried < birth.suspects.known
    assert "mend what is before it to have all tried" in births_text([birth])[0]


def test_arrays_that_are_rounded_when_they_are_recorded_are_no_mistakes():
    """A correct port that writes float16: what it has computed with is not known to more digits than that."""
    rounded = {name: array.astype(np.float16).astype(np.float32) for name, array in run().items()}
    comparison, found = found_in(golden(), make_trace({**rounded, "pixel_values": golden()["pixel_values"]}))
    assert comparison.first is not None
    assert found == []


def test_the_same_in_other_blocks_is_one_line():
    comparison = compare(golden(), port(mistake=TANH))
    suspects = diagnose(comparison)
    [birth] = also_born(comparison, suspects)
    assert birth.places == (f"{BLOCK}.act", f"{LAYER}.1.layers.1.act")
    assert birth.again
    text = " ".join(to_text(comparison, origin(comparison), suspects, also=[birth]).split())
    assert text.endswith(f"also born {BLOCK}.act and 1 more: the same again")


def test_a_report_tells_them_in_all_forms():
    wrong = SEVERAL["convnextv2"]
    comparison = compare(specimen("convnextv2").golden, ported(specimen("convnextv2"), wrong))
    suspects = diagnose(comparison)
    found = also_born(comparison, suspects)
    values = to_values(comparison, origin(comparison), suspects, also=found)
    assert json.loads(json.dumps(values, allow_nan=False))["also_born"] == values["also_born"]
    records = {record["tensor"]: record for record in values["also_born"]}
    assert list(records) == list(wrong)[1:]
    sums = records["convnextv2.encoder.stages.0.layers.1.grn.relative"]
    best = sums["suspects"][0]
    assert (best["mistake"], best["kind"], best["fits"]) == ("grn-sum", "catalogue", True)
    assert sums["born"] > sums["tolerance"]
    assert best["alternatives"] > 0
    assert best["runner_up"]["residual"] > 2 * best["residual"]
    lines = to_text(comparison, origin(comparison), suspects, also=found, width=10_000).splitlines()
    assert [line.split()[2].strip(",") for line in lines if line.startswith("also born")] == list(records)
    assert all("other explanations the nearest leaves" in line for line in lines if line.startswith("also born"))
    suite = ET.fromstring(to_junit(comparison, "", also={name: "fits" for name in records}))
    texts = {case.get("name"): case.findtext("failure") for case in suite.findall("testcase")}
    assert all(texts[name] == "also born here: fits" for name in records)


def test_many_are_cut():
    comparison = compare(golden(), port(mistake=TANH))
    [birth] = also_born(comparison, diagnose(comparison, [TANH]), [TANH])
    several = [replace(birth, places=(f"tensor.{index}",)) for index in range(8)]
    assert births_text(several)[-1] == "and 3 more mistakes"
    told = births_by_tensor(several)
    assert all(told[one.places[0]].startswith(one.places[0]) for one in several)


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_what_is_folded_is_no_mistake(is_after):
    """A norm is recorded at twice its size, before a wrong GELU or after it; what is made of it is right."""
    model = specimen("convnext")
    steps = [step.name for step in model.parts[0][0]]
    act = next(name for name in (steps if is_after else steps[::-1]) if name.endswith(".act"))
    norm = next(
        name for name in (steps[::-1] if is_after else steps) if name.endswith(".layernorm") and "layers" in name
    )
    mine = ported(model, {act: "gelu-tanh"})
    twice = Trace(mine.about)
    for name, array in mine.items():
        twice.add(name, 2 * array if name == norm else array)
    comparison, found = found_in(model.golden, twice)
    assert (comparison.first.name, comparison[norm].is_island) == (act, not is_after)
    assert found == []
