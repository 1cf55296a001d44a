"""Exchanged names, an array under the name of another, and a second array of one that is right are said to be so."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.compare_samples import BLOCK, P, golden, make_trace, port

from npconv.golden.compare import compare
from npconv.golden.exchanged import Exchange
from npconv.golden.report import to_text
from npconv.golden.values import to_values
from tests.golden.test_islands import of, right, specimen, trace_of
from tests.golden.unlisted.port import Port


def exchanged(arrays, one, other):
    return {**arrays, one: arrays[other], other: arrays[one]}


def names(family):
    """Pairs of arrays of one shape, recorded under each other's name."""
    if family == "cvt":
        attention = of(family, "attention_scores").removesuffix(".scores")
        return f"{attention}.projection_key", f"{attention}.projection_value"
    return of(family, "pointwise_conv2d", 1), of(family, "layer_scale")


@pytest.mark.parametrize("family", ["cvt", "convnext", "dinov3_convnext"])
@pytest.mark.parametrize("turned", [False, True])
def test_arrays_recorded_under_each_others_names(family, turned):
    pair = names(family)
    mine = trace_of(exchanged(right(family), *(reversed(pair) if turned else pair)), specimen(family))
    comparison = compare(specimen(family).golden, mine)
    assert comparison.exchanged == [Exchange(*pair)]
    [island] = comparison.islands
    assert (island.names, island.kind, island.values) == (pair, "exchanged", {"pairs": [list(pair)]})
    assert not comparison.diverges
    strict = compare(specimen(family).golden, mine, strict=True)
    assert strict.exchanged == [Exchange(*pair)]
    assert strict.first is not None
    assert strict.first.name == pair[0]
    for found in (comparison, strict):
        assert f"exchanged: {pair[0]} and {pair[1]} are exchanged in MINE" in to_text(found).splitlines()
        values = json.loads(json.dumps(to_values(found)))
        assert values["exchanged"] == [list(pair)]


def test_key_and_value_that_are_exchanged_in_what_follows_diverge_and_are_said_to_be():
    own = specimen("cvt")
    plan, source = own.parts[0]
    key, value = names("cvt")
    port = Port(plan, own.golden.params)
    for name, taken in ((key, value), (value, key)):
        port.steps[name] = replace(plan[taken], name=name)
    made = port.run({source: own.start})
    comparison = compare(own.golden, trace_of({source: own.start, **made}, own))
    assert comparison.first is not None
    assert comparison.first.name == key
    assert comparison.exchanged == [Exchange(key, value)]


def test_two_stages_of_one_shape_are_exchanged():
    """What is exchanged is found among many, and of several pairs each is said."""
    rng = np.random.default_rng(0)
    arrays = {f"stage{place}": rng.normal(size=(2, 5, 4, 4)) for place in range(6)}
    arrays["logits"] = rng.normal(size=(2, 7))
    mine = exchanged(exchanged(arrays, "stage1", "stage4"), "stage0", "stage2")
    comparison = compare(arrays, mine)
    assert comparison.exchanged == [Exchange("stage0", "stage2"), Exchange("stage1", "stage4")]
    assert comparison.first is not None


def test_arrays_of_one_number_are_not_told_apart():
    """Zeros are under every name what they are under their own."""
    arrays = {"a": np.zeros((2, 3)), "b": np.ones((2, 3)), "c": np.ones((2, 2))}
    comparison = compare(arrays, {"a": np.ones((2, 3)), "b": np.zeros((2, 3)), "c": np.ones((2, 2))})
    assert comparison.exchanged == []
    assert comparison.held is None


def test_an_array_in_a_circle_of_three_is_said_to_be_held():
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=(2, 6)) for _ in range(3))
    comparison = compare({"a": a, "b": b, "c": c}, {"a": b, "b": c, "c": a})
    assert comparison.exchanged == []
    assert comparison.held == "b"
    assert "names: a holds b" in to_text(comparison).splitlines()
    assert to_values(comparison)["held"] == "b"


@pytest.mark.parametrize("last", [False, True])
def test_axes_in_another_order_are_read_before_arrays_are_told_apart(last):
    one, other = f"{BLOCK}.dwconv", f"{BLOCK}.layernorm"
    arrays = exchanged(dict(port()), one, other)
    if last:
        arrays = {name: np.moveaxis(a, 1, -1) if a.ndim == 4 else a for name, a in arrays.items()}
    assert compare(golden(), make_trace(arrays)).exchanged == [Exchange(one, other)]


ALIAS, CANONICAL = f"{P}embeddings", f"{P}embeddings.layernorm"


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("before", [False, True])
def test_an_alias_that_differs_does_not_hide_the_array_that_agrees(prefix, before):
    arrays = {f"{prefix}{name}" if prefix else name: array for name, array in port().items()}
    alias = {f"{prefix}{ALIAS}": port()[CANONICAL] + np.float32(1)}
    mine = make_trace({**alias, **arrays} if before else {**arrays, **alias})
    comparison = compare(golden(), mine)
    assert not comparison.diverges
    assert comparison[CANONICAL].mine == f"{prefix}{CANONICAL}"
    assert [(found.name, found.mine) for found in comparison.aliases] == [(CANONICAL, f"{prefix}{ALIAS}")]
    said = f"names: {prefix}{ALIAS} stands for {CANONICAL}, which is right, and differs from it"
    assert said in to_text(comparison).splitlines()
    assert [found["mine"] for found in to_values(comparison)["aliases"]] == [f"{prefix}{ALIAS}"]
    strict = compare(golden(), mine, strict=True)
    assert strict.first is not None
    assert (strict.first.mine, strict.aliases) == (f"{prefix}{ALIAS}", [])


def test_the_array_itself_is_wrong_whatever_its_alias_is():
    arrays = {**port(), CANONICAL: port()[CANONICAL] + np.float32(1), ALIAS: port()[CANONICAL]}
    wrong = make_trace({name: array for name, array in arrays.items() if "layers" not in name})
    first = compare(golden(), wrong, strict=True).first
    assert first is not None
    assert first.mine == CANONICAL


def test_of_two_aliases_the_wrong_one_counts():
    arrays = {name: array for name, array in port().items() if name != CANONICAL}
    arrays |= {ALIAS: port()[CANONICAL], "hidden_states.0": port()[CANONICAL] + np.float32(1)}
    comparison = compare(golden(), make_trace(arrays))
    assert comparison.first is not None
    assert (comparison.first.mine, comparison.aliases) == ("hidden_states.0", [])
