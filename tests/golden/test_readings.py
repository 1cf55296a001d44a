"""Arrays with other axes than the reference: maps as tokens tokens as maps, heads apart; no wrong order is hidden."""

from __future__ import annotations

import numpy as np
import pytest
from support.compare_samples import golden, make_trace, port

from npconv.golden.align import read
from npconv.golden.compare import compare
from npconv.golden.readings import readings

#: The class token's stage of the small CvT: 2 heads, and a map of 4 x 6.
STAGE = "cvt.encoder.stages.1"
ATTENTION = f"{STAGE}.layers.0.attention.attention"


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape)


def heads(x: np.ndarray, count: int) -> np.ndarray:
    """Tokens (N, T, D) with their heads on an axis of their own: (N, h, T, d)."""
    n, t, d = x.shape
    return x.reshape(n, t, count, d // count).transpose(0, 2, 1, 3)


FORMS = {
    "NCHW as (N, H*W, C)": ("NCHW", (2, 5, 3, 4), lambda x: x.reshape(2, 5, 12).transpose(0, 2, 1), "(N, H*W, C)"),
    "NCHW as (N, C, H*W)": ("NCHW", (2, 5, 3, 4), lambda x: x.reshape(2, 5, 12), "(N, C, H*W)"),
    "one map as (H*W, C)": ("NCHW", (1, 5, 3, 4), lambda x: x.reshape(5, 12).T, "(H*W, C)"),
    "tokens as NCHW": ("NTD", (2, 12, 5), lambda x: x.transpose(0, 2, 1).reshape(2, 5, 3, 4), "a map, rows first"),
    "tokens as NHWC": ("NTD", (2, 12, 5), lambda x: x.reshape(2, 3, 4, 5), "a map, rows first"),
    "heads apart": ("NTD", (2, 7, 6), lambda x: heads(x, 3), "(N, h, T, d)"),
    "heads last but one": ("NTD", (2, 7, 6), lambda x: x.reshape(2, 7, 3, 2), "(N, T, h, d)"),
    "heads with the samples": ("NTD", (2, 7, 6), lambda x: heads(x, 3).reshape(6, 7, 2), "(N, h, T, d)"),
    "heads of one picture": ("NTD", (1, 7, 6), lambda x: heads(x, 3)[0], "(h, T, d)"),
    "scores with the samples": ("NhTS", (2, 3, 7, 4), lambda x: x.reshape(6, 7, 4), "(N*h, T, S)"),
}


@pytest.mark.parametrize("form", FORMS)
def test_other_axes_are_read(form):
    letters, shape, make, says = FORMS[form]
    reference = values(*shape)
    mine = np.ascontiguousarray(make(reference))
    reading, measures = read(reference, mine, 1e-12, letters=letters)
    assert (measures.max_abs, reading.says) == (0, f"read as {says}")
    np.testing.assert_array_equal(reading.of(mine, shape), reference)
    assert read(reference, mine, 1e-12, letters=letters, layout="strict") is None
    unknown = read(reference, mine, 1e-12)  # without letters, what the axes are is not known
    assert unknown is None or unknown[1].max_abs > 0.1


WRONG = {
    "columns before rows": ("NCHW", (2, 5, 3, 4), lambda x: x.transpose(0, 3, 2, 1).reshape(2, 12, 5)),
    "a square map, columns before rows": ("NCHW", (2, 5, 4, 4), lambda x: x.transpose(0, 3, 2, 1).reshape(2, 16, 5)),
    "a map of tokens, columns first": ("NTD", (2, 16, 5), lambda x: x.reshape(2, 4, 4, 5).transpose(0, 2, 1, 3)),
    "what is in a head before heads": ("NTD", (2, 7, 9), lambda x: x.reshape(2, 7, 3, 3).transpose(0, 3, 1, 2)),
    "heads not moved": ("NTD", (2, 6, 6), lambda x: x.reshape(2, 3, 6, 2)),
}


@pytest.mark.parametrize("form", WRONG)
def test_a_wrong_order_is_not_read_away(form):
    letters, shape, make = WRONG[form]
    reference = values(*shape)
    found = read(reference, np.ascontiguousarray(make(reference)), 1e-12, letters=letters)
    assert found is not None
    assert found[1].max_abs > 0.1


@pytest.mark.parametrize(
    ("shape", "mine", "letters"),
    [
        ((2, 5, 3, 4), (2, 11, 5), "NCHW"),
        ((2, 12, 5), (2, 5, 3, 5), "NTD"),
        ((2, 12, 5), (2, 12, 2, 2), "NTD"),
        ((0, 12, 6), (0, 2, 12, 3), "NTD"),
        ((2, 12, 6), (0, 2, 12, 3), "NTD"),
        ((0, 5, 3, 4), (12, 5), "NCHW"),
        ((2, 12, 5), (1,) * 9 + (2, 12, 5, 2), "NTD"),
    ],
)
def test_shapes_that_do_not_fit(shape, mine, letters):
    assert all(reading.split is not None and 0 in reading.split for reading in readings(shape, mine, letters))


def test_a_port_with_tokens_for_maps_and_heads_apart():
    mine = dict(port("cvt"))
    for step in golden("cvt").plan:
        if step.layout == "NCHW":
            n, c, *_ = mine[step.name].shape
            mine[step.name] = np.ascontiguousarray(mine[step.name].reshape(n, c, -1).transpose(0, 2, 1))
    for part in ("query", "key", "value"):
        mine[f"{ATTENTION}.projection_{part}"] = heads(mine[f"{ATTENTION}.projection_{part}"], 2)
    mine[f"{ATTENTION}.scores"] = mine[f"{ATTENTION}.scores"].reshape(-1, *mine[f"{ATTENTION}.scores"].shape[2:])
    comparison = compare(golden("cvt"), make_trace(mine))
    assert comparison.first is None
    [note] = [note for note in comparison.notes if note.startswith("layout: ")]
    assert "read as (N, H*W, C)" in note
    assert "read as (N*h, T, S)" in note
    strict = compare(golden("cvt"), make_trace(mine), layout="strict")
    assert strict.first is not None
    assert strict.first.whereabouts == "the shapes do not fit"


def test_one_map_of_as_many_channels_as_positions_is_not_read_in_an_order_of_its_own():
    """(N, C, H*W) and (N, H*W, C) have one shape then; that others are the one speaks for it here too."""
    name, other = f"{STAGE}.first", f"{STAGE}.second"
    reference = {name: values(2, 12, 3, 4), other: values(2, 5, 3, 4)}
    about = {"layouts": {name: "NCHW", other: "NCHW"}}
    tokens = {key: array.reshape(*array.shape[:2], -1).transpose(0, 2, 1) for key, array in reference.items()}
    assert compare(make_trace(reference, about), tokens).first is None
    plain = {key: array.reshape(*array.shape[:2], -1) for key, array in reference.items()}
    assert compare(make_trace(reference, about), plain).first is None
    assert compare(make_trace(reference, about), {**plain, name: tokens[name]}).first.name == name
