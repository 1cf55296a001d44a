"""Ports with gradients: the first wrong backward function is named, and right ones are no divergence."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support.compare_samples import pixels, small, tanh
from support.gradient_samples import (
    forwards,
    golden,
    layer_norm_without_means,
    of_modules,
    of_parameters,
    port,
    summed_loss,
)

from npconv.convert.modules import module_dialects
from npconv.errors import GoldenError
from npconv.golden.births import also_born
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.junit import to_junit
from npconv.golden.likely import Costs
from npconv.golden.origin import origin
from npconv.golden.renaming import rename
from npconv.golden.report import to_text, why
from npconv.golden.repro import save_repro
from npconv.golden.segment import make_segment
from npconv.golden.truth import record
from npconv.golden.values import to_values
from npconv.plan.gradient_steps import is_gradient
from npconv.plan.operations import OPERATIONS

pytestmark = pytest.mark.long

FAMILIES = ["convnextv2", "cvt"]
P = "convnextv2."
BLOCK = f"{P}encoder.stages.1.layers.1"
WITHOUT_MEANS = {"layer_norm_backward": layer_norm_without_means}


def told(comparison):
    """The report of a comparison, its lines unbroken."""
    suspects = diagnose(comparison)
    also = also_born(comparison, suspects)
    return to_text(comparison, origin(comparison), suspects, also=also, width=10_000).splitlines()


def line(report, beginning):
    return next(text for text in report if text.startswith(beginning))


@pytest.mark.parametrize("keep", [of_modules, of_parameters, lambda name: True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_port_is_no_divergence(family, keep):
    mine = port(family, keep=keep if family != "cvt" or keep is not of_parameters else is_gradient)
    comparison = compare(golden(family), mine)
    assert comparison.first is None
    assert comparison.extra == []
    assert {found.name for found in comparison.differences} == set(mine)


def test_gradients_that_are_0_in_exact_arithmetic_are_held_to_measured_noise():
    found = golden("cvt")
    name = "cvt.encoder.stages.1.layers.1.attention.attention.projection_key.bias.grad"
    assert np.abs(found[name]).max() < 1e-12
    mine = port("cvt")
    comparison = compare(found, mine)
    assert 0 < comparison[name].max_abs <= comparison[name].tolerance
    assert any(note.startswith("noise: ") and "cannot be told from noise" in note for note in comparison.notes)
    wrong = {**mine, name: mine[name] + np.float32(1e-3)}
    assert compare(found, wrong).first.name == name


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_wrong_backward_function_is_named_with_its_reason(family):
    comparison = compare(golden(family), port(family, WITHOUT_MEANS, keep=lambda name: True))
    steps = [step for step in golden(family).plan if step.operation == "layer_norm_backward"]
    assert comparison.first.name == next(step.name for step in steps if step.attributes["wrt"] == "x")
    report = told(comparison)
    assert "(layer_norm_backward), run again on your own" in line(report, "where from")
    assert "fits gradient with mean and variance taken for constants (layer_norm_backward, " in line(report, "why")
    births = [text for text in report if text.startswith("also born")]
    assert len(births) == 1
    assert births[0].endswith("the same again")


def test_a_port_of_modules_and_one_of_parameters_are_told_the_same_reason():
    for keep in (of_modules, of_parameters):
        comparison = compare(golden(), port(wrong=WITHOUT_MEANS, keep=keep))
        [suspect] = diagnose(comparison).fitting
        assert (suspect.step.operation, suspect.step.name) == ("layer_norm_backward", f"{P}pooled.grad")


def test_right_gradients_of_weights_tell_where_those_of_parameters_part():
    wrong = {f"{P}encoder.stages.0.layers.0.dwconv.grad": layer_norm_without_means}
    comparison = compare(golden(), port(wrong=wrong, keep=lambda name: forwards(name) or of_parameters(name)))
    assert comparison.first.name == f"{P}encoder.stages.0.layers.0.dwconv.weight.grad"
    found = origin(comparison)
    # From the first linear layer behind the norm on: its weight's gradient is right, and so what that is made of.
    assert f"{P}encoder.stages.0.layers.0.pwconv1.grad" in found.start
    assert len(found.steps) == 3
    [suspect] = diagnose(comparison).fitting
    assert suspect.step.name == f"{P}encoder.stages.0.layers.0.dwconv.grad"
    assert also_born(comparison, [suspect]) == []


def test_mistakes_forwards_come_first_and_those_on_the_way_back_after_them():
    comparison = compare(golden(), port(wrong={**WITHOUT_MEANS, "activation": tanh}))
    assert comparison.first.name == f"{P}encoder.stages.0.layers.0.act"
    report = told(comparison)
    assert "fits tanh GELU" in line(report, "why")
    births = [text for text in report if text.startswith("also born")]
    assert any("the same again" in text for text in births)
    assert any("mean and variance taken for constants (layer_norm_backward" in text for text in births)


@pytest.mark.parametrize("keep", [of_modules, of_parameters])
def test_a_loss_that_is_summed_is_said_at_the_start(keep):
    comparison = compare(golden(), port(wrong={"cross_entropy_backward": summed_loss}, keep=keep))
    assert comparison.notes[0] == (
        f"gradients: all {sum(map(is_gradient, comparison.mine))} that diverge are 2 times those of REFERENCE, as of a "
        "loss that is summed over 2 pictures, not averaged"
    )
    report = told(comparison)
    assert "fits summed over samples, not averaged (cross_entropy_backward, classifier.grad)" in line(report, "why")
    assert not any(text.startswith("also born") for text in report)


def test_a_factor_is_said_of_the_gradients_before_the_next_mistake():
    scale = np.float32(1024)
    scaled = {"cross_entropy_backward": lambda *a, **k: scale * OPERATIONS["cross_entropy_backward"](*a, **k)}
    comparison = compare(golden(), port(wrong={**scaled, f"{BLOCK}.dwconv.grad": layer_norm_without_means}))
    note = comparison.notes[0]
    assert note.startswith("gradients: the first ")
    assert "1024 times" in note
    assert "another multiple of the loss" in note
    births = also_born(comparison, diagnose(comparison))
    assert [birth.places for birth in births] == [(f"{BLOCK}.dwconv.grad",)]


@pytest.mark.parametrize(
    ("family", "dialect"), [("convnextv2", name) for name in module_dialects("convnextv2")] + [("cvt", "microsoft")]
)
def test_names_and_layouts_of_libraries(family, dialect):
    found, mine = golden(family), port(family)
    theirs = dict(zip(found, rename(found, dialect), strict=True))
    last = {theirs[name]: channels_last(found, name, array) for name, array in mine.items()}
    for names in (dialect, None):
        comparison = compare(found, last, names=names)
        assert comparison.first is None
        assert comparison.extra == []
        assert comparison.named == (dialect, len(mine) - 1, len(mine) - 1)
    wrong = f"{theirs[f'{P}encoder.stages.0.layers.0.pwconv1']}.weight.grad" if family != "cvt" else None
    if wrong:
        assert wrong in last
        assert compare(found, {**last, wrong: last[wrong] * 2}).first.mine == wrong


def channels_last(found, name, array):
    """An array of a port whose channels are last, and whose weights are of the layouts of TensorFlow."""
    if found.about["layouts"].get(name) == "NCHW":
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    if name.removesuffix(".grad") in found.params and name.endswith("weight.grad") and array.ndim in (2, 4):
        return np.ascontiguousarray(array.transpose((2, 3, 1, 0) if array.ndim == 4 else (1, 0)))
    return array


def test_a_map_of_names_goes_for_gradients_too():
    mine = port()
    names = {f"my/{place}": name for place, name in enumerate(mine) if not is_gradient(name)}
    params = {f"w{place}": name for place, name in enumerate(golden().params)}
    new = {name: own for own, name in (names | params).items()}
    renamed = {f"{new[name.removesuffix('.grad')]}{'.grad' * is_gradient(name)}": array for name, array in mine.items()}
    comparison = compare(golden(), renamed, names=names | {f"parameters.{own}": name for own, name in params.items()})
    assert comparison.first is None
    assert len(comparison.differences) == len(mine)


def test_names_of_outputs_and_separators_of_gradients():
    mine = port()
    given = {
        **{name.replace(".", "/"): array for name, array in mine.items() if name != "classifier.grad"},
        "outputs.logits.grad": mine["classifier.grad"],
    }
    comparison = compare(golden(), given)
    assert comparison.first is None
    assert comparison.extra == []
    assert comparison["classifier.grad"].mine == "outputs.logits.grad"


def test_a_trace_without_gradients_is_compared_forwards():
    mine = port(keep=lambda name: of_modules(name) and forwards(name))
    comparison = compare(golden(), mine)
    assert comparison.first is None
    assert "gradients: MINE has none; compared is what is computed forwards" in comparison.notes
    assert not any(map(is_gradient, comparison.missing))
    only = {name: array for name, array in golden().items() if forwards(name) and name not in ("labels", "loss")}
    turned = compare(only, port())
    assert turned.first is None
    assert not any(map(is_gradient, turned.extra))
    assert any(note.startswith("gradients: REFERENCE has none") for note in turned.notes)


@pytest.mark.parametrize("with_gradients", [False, True])
def test_what_is_folded_forwards_stays_an_island(with_gradients):
    found = golden()
    name = f"{P}encoder.stages.0.layers.0.layernorm"
    mine = port(keep=of_modules if with_gradients else lambda name: of_modules(name) and forwards(name))
    weight, bias = (np.asarray(found.params[f"{name}.{kind}"])[:, None, None] for kind in ("weight", "bias"))
    mine[name] = (mine[name] - bias) / weight
    comparison = compare(found, mine)
    assert [island.names for island in comparison.islands] == [(name,)]
    assert comparison.first is None


def test_a_gradient_that_is_recorded_elsewhere_is_an_island_and_two_may_be_exchanged():
    mine = port()
    one, other = f"{BLOCK}.grn.grad", f"{BLOCK}.pwconv1.grad"
    comparison = compare(golden(), {**mine, one: mine[other]})
    assert comparison.first is None
    assert [(island.names, island.kind, island.values) for island in comparison.islands] == [
        ((one,), "elsewhere", {"holds": other})
    ]
    both = compare(golden(), {**mine, one: mine[other], other: mine[one]})
    assert [(pair.one, pair.other) for pair in both.exchanged] == [(one, other)]


def test_labels_must_be_the_same():
    mine = {**port(), "labels": np.array([1, 2])}
    with pytest.raises(GoldenError, match=r"different labels: \[1, 0\] and \[1, 2\]"):
        compare(golden(), mine)
    mine["labels"] = np.array([[1], [0]], np.int32)
    assert compare(golden(), mine).first is None


def test_what_is_given_to_both_is_nothing_to_compare():
    given = {name: golden()[name] for name in ("pixel_values", "labels", "loss.grad")}
    with pytest.raises(GoldenError, match="nothing was compared"):
        compare(golden(), given)


def test_values_reports_and_scripts(tmp_path):
    comparison = compare(golden(), port(wrong=WITHOUT_MEANS, keep=lambda name: True))
    suspects, found = diagnose(comparison), origin(comparison)
    values = to_values(comparison, found, suspects, also=also_born(comparison, suspects))
    assert values["first"] == f"{P}pooled.grad"
    assert values["origin"]["operation"] == "layer_norm_backward"
    assert values["why"] == why(comparison.first, suspects, found)
    json.dumps(values)
    junit = to_junit(comparison, "because").decode()
    [case] = [case for case in ET.fromstring(junit) if case.get("name") == f"{P}pooled.grad"]
    assert "because" in case.find("failure").text
    script = save_repro(comparison, tmp_path / "repro")
    about = json.loads((script.parent / "repro.json").read_text())
    assert [step["operation"] for step in about["plan"]["steps"]] == ["layer_norm_backward"]
    printed = {}
    exec(script.read_text(), {"__file__": str(script), "print": lambda text: printed.update([text.split(": ")])})
    reference, mine = (float(printed[whose].split()[0]) for whose in ("reference", "mine"))
    assert reference < comparison.first.tolerance < mine


@pytest.mark.parametrize("unit", ["float16", "bfloat16", "tf32"])
def test_noise_in_fewer_bits_is_measured_of_gradients(unit):
    comparison = compare(golden(), port(), unit=unit)
    assert comparison.first is None
    assert not any(note.startswith("noise: that of") for note in comparison.notes)
    wrong = compare(golden(), port(wrong=WITHOUT_MEANS), unit=unit)
    assert wrong.first is not None
    assert is_gradient(wrong.first.name)


def test_a_trace_in_training_is_compared_as_others_are():
    found = record(small("cvt"), pixels("cvt"), gradients=True, labels=[1, 0], training=True)
    mine = {name: array.astype(np.float32) for name, array in found.items() if array.dtype.kind == "f"}
    assert compare(found, mine).first is None


def test_a_gradient_of_a_bias_costs_what_its_backward_function_does():
    """Which makes those of the input and of the weight as well: the budget of the search counts them."""
    names = [f"{BLOCK}.dwconv.{kind}.grad" for kind in ("weight", "bias")]
    wrong = {
        name: lambda *inputs, **settings: OPERATIONS["depthwise_conv2d_backward"](*inputs, **settings) * 2
        for name in names
    }
    comparison = compare(golden(), port(wrong=wrong, keep=lambda name: True))
    segments = [make_segment(comparison, comparison[name]) for name in names]
    weight, bias = (Costs(segment).after(segment.target) for segment in segments)
    assert bias >= 0.9 * weight
