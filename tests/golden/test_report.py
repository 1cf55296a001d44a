"""What a comparison says, as text, as values and as JUnit XML."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support.compare_samples import BLOCK, TANH, P, golden, make_trace, port

from npconv.errors import GoldenError
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.junit import to_junit, write_junit
from npconv.golden.origin import origin
from npconv.golden.report import BAD, GOOD, shown, to_text, verdict
from npconv.golden.values import to_values

ACT = f"{P}encoder.stages.0.layers.0.act"


def texts(reference, mine, mistakes=(TANH,), **settings):
    comparison = compare(reference, mine, **settings)
    return to_text(comparison, origin(comparison), diagnose(comparison, mistakes), names=("a.npz", "b.npz"))


def test_the_order_of_a_report():
    lines = texts(golden(), port(mistake=TANH)).splitlines()
    assert lines[0] == f"first divergence: {ACT} (7 of {len(golden())})"
    starts = ["reference  a.npz: convnextv2, float64, input ", "mine       b.npz: input ", "input: the same"]
    starts += ["      place", "good", "good", "bad", "bad", "bad", "where from born here", "where ", "why "]
    places = []
    for start in starts:
        after = places[-1] + 1 if places else 1
        places.append(next(i for i in range(after, len(lines)) if lines[i].startswith(start)))
    table = [line.split() for line in lines if line.startswith(("good", "bad"))]
    assert len(table) == GOOD + BAD
    assert table[GOOD][-1] == ACT
    assert " ".join(lines[places[-1] :]).startswith(f"why        fits tanh GELU ({ACT}): ")


def test_a_report_of_no_divergence_shows_what_came_nearest():
    text = texts(golden(), port())
    assert text.startswith(f"no divergence in {len(golden())} tensors\n")
    assert "nearest to their tolerance:" in text
    assert "why" not in text
    assert verdict(compare({"a": np.ones(2)}, {"a": np.ones(2)})) == "no divergence in 1 tensor"


def test_of_what_has_no_tolerance_nothing_came_near_to_it():
    reference = {"zeros": np.zeros(2), **{name: np.ones(2) for name in ("a", "b", "c")}}
    mine = {**reference, "b": np.full(2, 1.01), "a": np.full(2, 1.02)}
    assert [found.name for found in shown(compare(reference, mine, rtol=0.1))] == ["a", "b"]
    mine = {**reference, "b": np.full(2, 1.01)}
    assert [found.name for found in shown(compare(reference, mine, rtol=0.1))] == ["b", "c"]  # of equals, the last


def test_what_is_not_finite_comes_right_after_the_verdict():
    arrays = dict(port(mistake=TANH))
    arrays["classifier"] = np.full_like(arrays["classifier"], np.nan)
    lines = texts(golden(), make_trace(arrays)).splitlines()
    assert lines[0].startswith(f"first divergence: {ACT}")
    assert lines[1] == "not finite: classifier (10 NaN of 10 values of mine)"


def test_names_without_a_counterpart_are_counted():
    arrays = {name: array for name, array in port().items() if "stages.1" not in name}
    text = texts(golden(), make_trace({**arrays, "loss": np.ones(1)}))
    missing = [name for name in golden() if "stages.1" in name]
    assert f"missing in MINE: {len(missing)} ({', '.join(missing[:3])} and {len(missing) - 3} more)" in text
    assert "only in MINE: 1 (loss)" in text


def test_an_unknown_mistake_is_said_to_be_unknown():
    noise = np.random.default_rng(3).normal(size=port()[f"{BLOCK}.act"].shape).astype(np.float32)
    arrays = {**port(), f"{BLOCK}.act": port()[f"{BLOCK}.act"] + noise}
    assert "no known mistake fits" in texts(golden(), make_trace(arrays), strict=True)
    plain = make_trace(dict(golden()))
    assert "no known mistake fits" in texts(plain, make_trace({**arrays}))
    assert "why        not known" in texts({"a": np.ones(3)}, {"a": np.zeros(3)})


def test_shapes_that_do_not_fit():
    arrays = {**port(), f"{BLOCK}.act": port()[f"{BLOCK}.act"][..., :-1]}
    text = texts(golden(), make_trace(arrays))
    assert "where      the shapes do not fit" in text
    assert "2x40x5x7 / 2x40x5x6" in text
    assert "should give other values; what" in text


def test_names_from_files_stay_on_their_line():
    name = "a\nb\x1b[31m"
    text = texts({name: np.ones(2), "z": np.ones(2)}, {name: np.zeros(2), "z": np.ones(2)})
    assert "\x1b" not in text
    assert text.splitlines()[0] == r"first divergence: a\nb\x1b[31m (1 of 2)"


def test_values_are_json():
    comparison = compare(golden(), port(mistake=TANH))
    values = to_values(comparison, origin(comparison), diagnose(comparison, [TANH]))
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert (values["first"], values["diverges"], values["suspects"][0]["mistake"]) == (ACT, True, "gelu-tanh")
    assert values["last_good"] == ACT.replace("act", "pwconv1")
    assert values["origin"]["born_here"] is True
    tensors = {tensor["name"]: tensor for tensor in values["tensors"]}
    assert list(tensors) == list(golden())
    assert tensors[ACT]["diverges"] is True
    assert tensors[ACT]["shape_mine"] == list(golden()[ACT].shape)
    good = to_values(compare(golden(), port()))
    assert (good["first"], good["origin"], good["why"]) == (None, None, [])


def test_a_reason_comes_with_its_margin():
    comparison = compare(golden(), port(mistake=TANH))
    suspects = diagnose(comparison)
    nearest = suspects.runner_up
    assert nearest is not None
    text = " ".join(to_text(comparison, None, suspects, width=10_000).split())
    assert f"of {suspects.tried - 1} other explanations the nearest leaves {nearest.residual:.0e}" in text
    [best, *others] = to_values(comparison, None, suspects)["suspects"]
    assert (best["kind"], best["values"], best["alternatives"]) == ("catalogue", {}, suspects.tried - 1)
    assert best["runner_up"]["residual"] == min(other["residual"] for other in others) > 2 * best["residual"]


def test_junit_is_xml_with_a_test_for_each_tensor():
    arrays = {name: array for name, array in port(mistake=TANH).items() if name != "classifier"}
    comparison = compare(golden(), make_trace(arrays))
    suite = ET.fromstring(to_junit(comparison, "fits <tanh> & more\x00"))
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == list(golden())
    failures = [case.get("name") for case in cases if case.find("failure") is not None]
    assert failures == [d.name for d in comparison.differences if d.diverges]
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), str(len(failures)))
    assert suite.get("skipped") == "1"
    assert cases[-1].find("skipped") is not None
    first = next(case for case in cases if case.get("name") == ACT).find("failure")
    assert first is not None
    assert first.text == f"{verdict(comparison)}\nfits <tanh> & more\\x00"


def test_a_junit_file_that_cannot_be_written(tmp_path):
    with pytest.raises(GoldenError, match="check --junit"):
        write_junit(tmp_path / "no" / "folder.xml", b"")


def test_few_values_outside_are_counted_not_rounded_to_none():
    ones = np.ones(20480)
    other = ones.copy()
    other[7] = 2
    text = texts({"a": ones}, {"a": other})
    assert " 1 of 20480 " in text
    assert "0.00%" not in text
