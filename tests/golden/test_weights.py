"""Weights that a port says it has are compared first: which is wrong, and what was done to it."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support.compare_samples import BLOCK, P, golden, make_trace, port

from npconv.cli import main
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.junit import to_junit
from npconv.golden.kinds.parameters import ROUNDINGS, turns
from npconv.golden.report import to_text
from npconv.golden.trace_file import PARAMETERS
from npconv.golden.values import to_values
from npconv.golden.weights import NEAR, explain_weight
from tests.golden import foldings
from tests.golden.test_islands import specimen, trace_of
from tests.golden.unlisted.port import Port

WEIGHTS = {name: np.asarray(array) for name, array in golden().params.items()}
PWCONV1 = f"{BLOCK}.pwconv1.weight"
DWCONV = f"{BLOCK}.dwconv.weight"


def traced(weights, arrays=None):
    """A trace with weights; by default, of what is only computed of them in the end."""
    return make_trace({"pixel_values": port()["pixel_values"], **(arrays or wrong_end())}, {}, weights)


def wrong_end():
    return {"classifier": port()["classifier"] + np.float32(1)}


def swapped(name, one, other):
    return np.swapaxes(WEIGHTS[name], one, other)


WRONG = {
    "another block's": (DWCONV, WEIGHTS[DWCONV.replace("layers.0", "layers.1")], "another", "taken"),
    "not loaded": (f"{BLOCK}.layernorm.weight", np.ones(10, np.float32), "value", "value"),
    "zeros": (PWCONV1, WEIGHTS[PWCONV1] * 0, "value", "value"),
    "kernel transposed": (DWCONV, np.ascontiguousarray(swapped(DWCONV, 2, 3)), "turned", "turned"),
    "kernel turned round": (DWCONV, np.ascontiguousarray(WEIGHTS[DWCONV][..., ::-1]), "turned", "turned"),
    **{f"in {bits}": (PWCONV1, fewer(WEIGHTS[PWCONV1]), "rounded", "rounded") for bits, fewer in ROUNDINGS.items()},
    "permuted": (PWCONV1, WEIGHTS[PWCONV1][np.random.default_rng(0).permutation(40)], "order", "order"),
    "twice": (PWCONV1, WEIGHTS[PWCONV1] * 2, "factor", "factor"),
    "plus one": (f"{BLOCK}.pwconv1.bias", WEIGHTS[f"{BLOCK}.pwconv1.bias"] + np.float32(1), "offset", "offset"),
    "of another size": (PWCONV1, WEIGHTS[PWCONV1][:-1], "shape", None),
    "noise": (PWCONV1, np.random.default_rng(0).normal(size=WEIGHTS[PWCONV1].shape).astype(np.float32), "", None),
}


def test_a_kernel_is_reversed_along_its_last_two_axes_and_no_other():
    kernel = np.random.default_rng(1).random((2, 3, 4, 4))
    found = dict(turns(kernel))
    assert np.array_equal(found["reversed along axes 2 and 3"](kernel), kernel[:, :, ::-1, ::-1])
    assert np.array_equal(found["with axes 2 and 3 exchanged"](kernel), kernel.transpose(0, 1, 3, 2))


@pytest.mark.parametrize(("name", "used", "kind", "value"), WRONG.values(), ids=WRONG)
def test_what_was_done_to_a_weight(name, used, kind, value):
    comparison = compare(golden(), traced({**WEIGHTS, name: used}))
    [weight] = comparison.wrong_weights
    assert (weight.difference.name, weight.kind) == (PARAMETERS + name, kind)
    assert list(weight.values)[-1:] == ([] if value is None else [value])
    text = to_text(comparison)
    assert text.splitlines()[0] == f"first divergence: {PARAMETERS}{name} (wrong weights: 1 of {len(WEIGHTS)})"
    assert f"wrong weight: {PARAMETERS}{name} " in text
    values = json.loads(json.dumps(to_values(comparison)))
    assert (values["first"], values["diverges"]) == (PARAMETERS + name, True)
    assert [one["name"] for one in values["weights"] if one["diverges"]] == [PARAMETERS + name]


@pytest.mark.parametrize(("off", "kind"), [(0.5, "factor"), (2.0, "")])
def test_what_was_done_in_float32_is_known_in_spite_of_its_rounding(off, kind):
    """Whatever the tolerance of the weight itself, which may be nothing."""
    right = np.random.default_rng(3).normal(size=(8, 6))
    used = 3 * right
    used[4, 4] += off * NEAR * np.abs(used).max()
    assert explain_weight({"w": right}, "w", used, 0.0, True)[0] == kind
    assert explain_weight({"w": right}, "w", used, 3 * NEAR * np.abs(used).max(), True)[0] == "factor"


def test_the_words():
    said = []
    for name, used, *_ in WRONG.values():
        lines = to_text(compare(golden(), traced({**WEIGHTS, name: used}))).splitlines()
        said += [line.partition(name)[2].partition(", off")[0].strip() for line in lines if line.startswith("wrong w")]
    assert said == [
        f"is {DWCONV.replace('layers.0', 'layers.1')}",
        "is 1 throughout",
        "is 0 throughout",
        "is the right one with axes 2 and 3 exchanged",
        "is the right one reversed along axis 3",
        "is the right one rounded to float16",
        "is the right one rounded to bfloat16",
        "is the right one rounded to int8, a scale for each output channel",
        "is the right one rounded to int8, one scale",
        "is the right one in another order along axis 0 (38 of 40 moved)",
        "is the right one times 2",
        "is the right one plus 1",
        "is of shape 39x10, expected 40x10",
        "differs",
    ]


def test_a_wrong_weight_of_which_nothing_is_known_explains_what_is_computed_with_it():
    own = specimen("convnext")
    plan, source = own.parts[0]
    name = next(name for name in own.golden.params if name.endswith("pwconv1.weight"))
    wrong = Port(plan, own.golden.params)
    wrong.params[name] = np.random.default_rng(5).normal(size=wrong.params[name].shape).astype(np.float32)
    mine = trace_of({source: own.start, **wrong.run({source: own.start})}, own)
    mine.params.update({name: wrong.params[name]})
    found = diagnose(compare(own.golden, mine))
    assert [(one.says, one.values) for one in found if one.fits] == [("the weights that MINE holds", {"held": [name]})]


def test_right_weights_are_right_in_any_order_of_axes_and_under_any_prefix():
    turned = {
        f"model.{name.removeprefix(P)}": np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2)))
        if array.ndim == 4
        else np.ascontiguousarray(array.T)
        for name, array in WEIGHTS.items()
    }
    comparison = compare(golden(), traced(turned, {"classifier": port()["classifier"]}))
    assert not comparison.diverges
    assert len(comparison.weights) == len(WEIGHTS)
    assert not any(note.startswith("parameters") for note in comparison.notes)


def test_a_map_of_names_is_one_of_weights_too():
    names = {f"w{place}": name for place, name in enumerate(WEIGHTS)}
    weights = dict(zip(names, WEIGHTS.values(), strict=True))
    right = {"classifier": port()["classifier"]}
    for given in (names, {PARAMETERS + own: PARAMETERS + name for own, name in names.items()}):
        comparison = compare(golden(), traced(weights, right), names=given)
        assert (len(comparison.weights), comparison.diverges) == (len(WEIGHTS), False)
    comparison = compare(golden(), traced(weights, right))
    assert comparison.weights == []
    assert any(note.startswith("parameters: none compared; no name of MINE") for note in comparison.notes)


def test_half_precision_weights_are_right_for_a_port_in_half_precision():
    halves = {name: array.astype(np.float16) for name, array in WEIGHTS.items()}
    arrays = {name: array.astype(np.float16) for name, array in port().items()}
    assert compare(golden(), make_trace(arrays, {}, halves), unit="float16").wrong_weights == []
    assert len(compare(golden(), traced(halves)).wrong_weights) > len(WEIGHTS) // 2


def test_the_same_of_many_weights_is_said_once():
    rounded = {name: ROUNDINGS["bfloat16"](array) for name, array in WEIGHTS.items()}
    lines = [line for line in to_text(compare(golden(), traced(rounded))).splitlines() if line.startswith("wrong w")]
    assert len(lines) < len(WEIGHTS) // 2
    assert any("rounded to bfloat16" in line and "; so are" in line for line in lines)


def test_folded_weights_of_a_correct_port_are_told_and_do_not_diverge():
    own = specimen("convnext")
    plan, source = own.parts[0]
    edited = Port(plan, own.golden.params)
    foldings.layer_norm(edited)
    mine = trace_of({source: own.start, **edited.run({source: own.start})}, own)
    mine.params.update({name: array for name, array in edited.params.items() if name in own.golden.params})
    comparison = compare(own.golden, mine)
    assert not comparison.diverges
    folded = {weight.difference.name for weight in comparison.weights if weight.difference.is_island}
    changed = {name for name, array in own.golden.params.items() if not np.array_equal(array, edited.params[name])}
    assert folded == {PARAMETERS + name for name in changed}
    assert "of the parameters (" in to_text(comparison)
    strict = compare(own.golden, mine, strict=True)
    assert {weight.difference.name for weight in strict.wrong_weights} == folded
    cases = {case.get("name"): case for case in ET.fromstring(to_junit(comparison)).findall("testcase")}
    assert all(cases[name].find("system-out") is not None for name in folded)


def test_a_weight_that_differs_is_wrong_unless_what_is_computed_with_it_is_right():
    comparison = compare(golden(), traced({**WEIGHTS, PWCONV1: WEIGHTS[PWCONV1] * 2}, dict(port())))
    assert not comparison.diverges
    arrays = {name: array for name, array in port().items() if not name.startswith(f"{BLOCK}.")}
    del arrays[BLOCK]
    last = f"{P}encoder.stages.1.layers.1"
    kept = {name: array for name, array in arrays.items() if name != "classifier" and not name.startswith(last)}
    kept = {name: array for name, array in kept.items() if name not in (f"{P}pooled", f"{P}layernorm")}
    comparison = compare(golden(), traced({**WEIGHTS, PWCONV1: WEIGHTS[PWCONV1] * 2}, kept))
    assert comparison.first is None
    assert [weight.difference.name for weight in comparison.wrong_weights] == [PARAMETERS + PWCONV1]


def test_on_the_command_line(tmp_path, capsys):
    golden().save(tmp_path / "golden.safetensors")
    wrong = {**WEIGHTS, DWCONV: np.ascontiguousarray(swapped(DWCONV, 2, 3))}
    before = f"{P}embeddings.layernorm"  # right, and not computed with the wrong weight
    traced(wrong, {before: port()[before]}).save(tmp_path / "mine.npz")
    report = tmp_path / "report.xml"
    files = [str(tmp_path / "golden.safetensors"), str(tmp_path / "mine.npz")]
    assert main(["diff", *files, "--junit", str(report)]) == 1
    assert capsys.readouterr().out.startswith(f"first divergence: {PARAMETERS}{DWCONV} ")
    failed = [case for case in ET.parse(report).getroot() if case.find("failure") is not None]
    assert [case.get("name") for case in failed] == [PARAMETERS + DWCONV]
    failure = failed[0].find("failure")
    assert failure is not None
    assert "with axes 2 and 3 exchanged" in str(failure.get("message"))
