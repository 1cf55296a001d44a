"""A correct port that folds something, or records it elsewhere, does not diverge; a mistake that does not show does."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from npconv.cli import main
from npconv.errors import GoldenError
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.junit import to_junit
from npconv.golden.mistakes.catalogue import CATALOGUE
from npconv.golden.preprocessing import DECODED
from npconv.golden.report import to_text
from npconv.golden.trace_file import PIXELS, Trace
from npconv.golden.truth import add_noise, record
from npconv.golden.values import to_values
from npconv.layers import gelu_tanh
from npconv.models import FAMILIES
from npconv.plan.step import Plan
from tests.golden import foldings
from tests.golden.foldings import FOLDS
from tests.golden.specimens import Specimen, model_specimen, picture_specimen
from tests.golden.tiny_models import models_of
from tests.golden.tiny_models.pictures import PICTURES
from tests.golden.unlisted.port import Port

CASES = [(family, fold) for fold, (_, families) in FOLDS.items() for family in families]


@cache
def specimen(family: str) -> Specimen:
    """A tiny model of a family with its golden trace."""
    return model_specimen(models_of(family)[0])


def ported(family: str, fold: str) -> tuple[Trace, dict[str, str]]:
    """The trace of a correct port in float32 that folds something, and the kinds of its islands."""
    own = specimen(family)
    plan, source = own.parts[0]
    port = Port(plan, own.golden.params)
    start = foldings.not_normalized(own.start) if fold == "normalization in the stem" else own.start
    kinds = FOLDS[fold][0](port)
    made = {source: start, **port.run({source: start})}
    if fold.startswith("activation"):
        other = {step.name: step.inputs[0] for step in plan if step.operation == "activation"}
        other = other if fold.endswith("before") else {one: name for name, one in other.items()}
        made |= {name: made[taken] for name, taken in other.items()}
    return trace_of(made, own), kinds


def trace_of(arrays: dict[str, np.ndarray], own: Specimen) -> Trace:
    """A trace of the arrays, which says that its input is the same unless that is recorded."""
    trace = Trace({} if PIXELS in arrays else own.about)
    for name in own.golden:
        if name in arrays:
            trace.add(name, arrays[name])
    return trace


@pytest.mark.parametrize(("family", "fold"), CASES)
def test_a_folding_is_an_island(family, fold):
    golden = specimen(family).golden
    mine, kinds = ported(family, fold)
    assert set(kinds) <= set(golden)
    assert kinds
    comparison = compare(golden, mine)
    assert comparison.first is None, to_text(comparison)
    assert not comparison.diverges
    assert {island.names: island.kind for island in comparison.islands} == {(name,): k for name, k in kinds.items()}
    text = to_text(comparison)
    assert text.startswith(
        f"no divergence in {len(mine)} tensors, {len(kinds)} of them folded, or recorded elsewhere\n"
    )
    if PIXELS in kinds:
        with pytest.raises(GoldenError, match="of different inputs"):
            compare(golden, mine, strict=True)
    else:
        strict = compare(golden, mine, strict=True)
        assert strict.first is not None
        assert strict.first.name == next(name for name in golden if name in kinds)


def of(family: str, operation: str, place: int = 0) -> str:
    """The name of a step of an operation in the tiny model of a family."""
    return [step.name for step in specimen(family).parts[0][0] if step.operation == operation][place]


def right(family: str) -> dict[str, np.ndarray]:
    """What a correct port in float32 has."""
    own = specimen(family)
    plan, source = own.parts[0]
    return {source: own.start, **Port(plan, own.golden.params).run({source: own.start})}


@pytest.mark.parametrize(("fold", "operation"), [("layer scale", "layer_scale"), ("batch norm", "batch_norm")])
def test_a_port_that_has_folded_a_step_need_not_record_it(fold, operation):
    family, fold = next((family, whole) for family, whole in CASES if whole.startswith(fold))
    mine, kinds = ported(family, fold)
    plan = specimen(family).parts[0][0]
    left = {name: array for name, array in mine.items() if name not in plan or plan[name].operation != operation}
    comparison = compare(specimen(family).golden, trace_of(left, specimen(family)))
    assert comparison.missing
    assert not comparison.diverges
    assert {name for island in comparison.islands for name in island.names} == set(kinds)


def test_a_chain_that_ends_well_is_one_island():
    """The attention scale is in the query's batch norm: all arrays from there to the scores are scaled."""
    own = specimen("cvt")
    plan, source = own.parts[0]
    port = Port(plan, own.golden.params)
    scores = port.steps[of("cvt", "attention_scores")]
    attention = scores.name.removesuffix(".scores")
    norm = port.steps[f"{attention}.convolution_projection_query.convolution_projection.normalization"]
    names = [*(norm.params[name] for name in ("weight", "bias")), f"{attention}.projection_query.bias"]
    port.params |= {name: port.params[name] * np.float32(0.5) for name in names}
    port.steps[scores.name] = replace(scores, attributes={**scores.attributes, "scale": scores.attributes["scale"] * 2})
    comparison = compare(own.golden, trace_of({source: own.start, **port.run({source: own.start})}, own))
    [island] = comparison.islands
    chain = [norm.name, f"{attention}.convolution_projection_query.linear_projection", f"{attention}.query"]
    assert island.names == (*chain, f"{attention}.projection_query")
    assert island.good == (scores.name,)
    assert (island.kind, island.values) == ("factor", {"factor": 0.5})
    assert not comparison.diverges


def branch_of_nothing(family: str) -> tuple[Specimen, str]:
    """A model in which no branch shows in the sums, as before it is trained, and a step in one that a port may miss."""
    model, pixel_values = models_of(family)[0].make()
    ends = {"convnext": "layer_scale_parameter", "dinov3_convnext": "gamma", "convnextv2": ".grn.weight"}
    tiny = 0.0 if family == "convnextv2" else 1e-9
    params = {n: np.full_like(a, tiny) if n.endswith(ends[family]) else a for n, a in model.state_dict().items()}
    golden = record(type(model)(model.config, params), pixel_values)
    own = replace(specimen(family), golden=golden, start=pixel_values)
    return own, of(family, "grn_strength" if family == "convnextv2" else "activation")


@pytest.mark.parametrize("family", ["convnext", "convnextv2", "dinov3_convnext"])
def test_what_does_not_show_downstream_is_a_divergence(family):
    own, wrong = branch_of_nothing(family)
    plan, source = own.parts[0]
    port = Port(plan, own.golden.params)
    port.functions[wrong] = gelu_like if family != "convnextv2" else (lambda x: np.abs(x).sum((2, 3), keepdims=True))
    made = port.run({source: own.start})
    comparison = compare(own.golden, trace_of({source: own.start, **made}, own))
    assert comparison.first is not None
    assert comparison.first.name == wrong
    assert comparison.islands == []
    after = [found.name for found in comparison.differences if found.diverges]
    block = wrong.partition(".layers.0")[0] + ".layers.0"
    assert block not in after
    assert all(name.startswith(f"{block}.") for name in after)


def gelu_like(x, *, hidden_act):
    """The tanh form of GELU."""
    return gelu_tanh(x)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_mistake_after_foldings_is_the_first_divergence_and_is_named(family):
    own = specimen(family)
    plan, source = own.parts[0]
    port = Port(plan, own.golden.params)
    kinds = foldings.layer_norm(port)
    wrong = of(family, "activation", -1)
    port.functions[wrong] = gelu_like
    comparison = compare(own.golden, trace_of({source: own.start, **port.run({source: own.start})}, own))
    assert comparison.first is not None
    assert comparison.first.name == wrong
    assert comparison.last_good is not None
    assert not comparison.last_good.is_island
    before = {found.name for found in comparison.differences[: comparison.first.index]}
    assert {name for island in comparison.islands for name in island.names} == before & set(kinds)
    best = diagnose(comparison)[0]
    assert (best.says, best.step.name, best.fits) == ("tanh GELU", wrong, True)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_what_a_model_gives_out_is_never_an_island(family):
    own = specimen(family)
    plan, _ = own.parts[0]
    arrays = right(family)
    output = plan.outputs[0]
    comparison = compare(own.golden, trace_of({**arrays, output: arrays[output] * np.float32(2)}, own))
    assert comparison.first is not None
    assert (comparison.first.name, comparison.islands) == (output, [])
    state = plan.hidden_states[1]
    own_names = Trace({})
    for name, array in arrays.items():
        own_names.add("hidden_states.1" if name == state else name, array * 2 if name == state else array)
    first = compare(own.golden, own_names).first
    assert first is not None
    assert first.mine == "hidden_states.1"


def test_without_good_arrays_after_it_nothing_is_an_island():
    golden = specimen("convnext").golden
    mine, kinds = ported("convnext", "LayerNorm in the weights after it")
    last = max(kinds, key=list(golden).index)
    cut = trace_of({name: array for name, array in mine.items() if name != "classifier"}, specimen("convnext"))
    first = compare(golden, cut).first
    assert first is not None
    assert first.name == last
    plain = Trace({name: value for name, value in golden.about.items() if name != "steps"}, golden.params)
    for name, array in golden.items():
        plain.add(name, array)
    first = compare(plain, mine).first
    assert first is not None
    assert first.name == next(name for name in golden if name in kinds)


@pytest.mark.parametrize("broken", [np.nan, np.inf, None])
def test_what_is_not_finite_or_of_another_shape_is_never_an_island(broken):
    arrays = right("convnext")
    name = of("convnext", "layer_norm", 1)
    arrays[name] = arrays[name][..., :-1] if broken is None else np.full_like(arrays[name], broken)
    comparison = compare(specimen("convnext").golden, trace_of(arrays, specimen("convnext")))
    assert comparison.first is not None
    assert (comparison.first.name, comparison.islands) == (name, [])


def test_an_island_that_nothing_explains_is_said_to_be_one():
    arrays = right("convnext")
    name = of("convnext", "activation")
    arrays[name] = arrays[name] + np.random.default_rng(0).normal(size=arrays[name].shape).astype(np.float32)
    comparison = compare(specimen("convnext").golden, trace_of(arrays, specimen("convnext")))
    assert not comparison.diverges
    assert [(island.names, island.kind) for island in comparison.islands] == [((name,), "")]
    assert f"{name} differs, and all that is computed of it is right" in to_text(comparison)


def test_pixel_values_of_another_picture_are_refused_whatever_comes_after():
    arrays = right("convnext")
    arrays[PIXELS] = np.random.default_rng(0).normal(size=arrays[PIXELS].shape).astype(np.float32)
    with pytest.raises(GoldenError, match="different inputs: pixel_values differ"):
        compare(specimen("convnext").golden, trace_of(arrays, specimen("convnext")))


def test_a_stem_that_takes_bgr_pictures():
    own = specimen("convnextv2")
    plan, source = own.parts[0]
    port = Port(plan, own.golden.params)
    stem = f"{of('convnextv2', 'conv2d')}.weight"
    port.params[stem] = np.ascontiguousarray(port.params[stem][:, ::-1])
    start = np.ascontiguousarray(own.start[:, ::-1])
    comparison = compare(own.golden, trace_of({source: start, **port.run({source: start})}, own))
    [island] = comparison.islands
    assert (island.names, island.kind, island.values) == ((PIXELS,), "order", {"axis": 1, "order": [2, 1, 0]})
    assert f"{PIXELS} is the right one reversed along axis 1" in to_text(comparison)


@pytest.mark.parametrize("decoded", [False, True])
def test_pixel_values_that_are_those_before_the_normalization(decoded):
    golden = picture_specimen(PICTURES[0]).golden
    plan = Plan.from_json(golden.about["steps"])
    port = Port(plan, golden.params)
    made = {PIXELS: golden[PIXELS], **port.run({PIXELS: golden[PIXELS]})}
    made[PIXELS] = golden["preprocessing.rescaled"][None]
    mine = Trace({})
    for name in golden:
        if name in made or (decoded and name == DECODED):
            mine.add(name, made.get(name, golden[name]))
    comparison = compare(golden, mine)
    [island] = comparison.islands
    assert (island.names, island.kind) == ((PIXELS,), "elsewhere")
    assert island.values == {"holds": "preprocessing.rescaled"}
    assert not comparison.diverges


def test_maps_that_are_right_in_another_order_of_axes_prove_nothing():
    """Hardly any variance: what follows of a transposed kernel is right with rows and columns exchanged."""
    tiny = next(tiny for tiny in models_of("convnextv2") if tiny.says == "hardly any variance")
    own = model_specimen(tiny)
    comparison = compare(own.golden, own.port(CATALOGUE["depthwise-kernel-transposed"]))
    assert any("read as NCWH" in found.layout for found in comparison.differences)
    assert comparison.islands == []
    assert comparison.diverges


def test_a_port_with_foldings_is_no_noise():
    golden = specimen("convnext").golden
    mine, _ = ported("convnext", "LayerNorm in the weights after it")
    with pytest.raises(GoldenError, match="so it is no noise"):
        add_noise(golden, mine)


def test_a_tolerance_of_nothing_makes_no_islands_of_rounding():
    """A value that is off by its last place is no array that a later one cannot have been computed of."""
    golden = specimen("convnext").golden
    arrays = {name: np.array(array) for name, array in golden.items()}
    name = of("convnext", "layer_norm", 1)
    arrays[name].flat[0] = np.nextafter(arrays[name].flat[0], 9)
    comparison = compare(golden, trace_of(arrays, specimen("convnext")), atol=0)
    assert comparison.first is not None
    assert (comparison.first.name, comparison.islands) == (name, [])


def test_reports_for_programs_hold_islands():
    golden = specimen("convnextv2").golden
    mine, kinds = ported("convnextv2", "the bias of GRN in the weights after it")
    comparison = compare(golden, mine)
    values = to_values(comparison)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert (values["diverges"], values["first"]) == (False, None)
    name = next(iter(kinds))
    block = name.removesuffix(".grn")
    assert values["islands"][0]["names"] == [name]
    assert values["islands"][0]["good"] == [f"{block}.pwconv2"]
    assert values["islands"][0]["values"] == {"parameters": [f"{name}.bias"], "into": f"{block}.pwconv2"}
    assert [t["name"] for t in values["tensors"] if t["is_island"]] == list(kinds)
    suite = ET.fromstring(to_junit(comparison))
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "0")
    said = {case.get("name"): case.findtext("system-out") for case in suite if case.find("system-out") is not None}
    assert list(said) == list(kinds)
    assert said[name] == f"folded, or recorded elsewhere: {name} without its bias, which is in {block}.pwconv2"


def test_on_the_command_line(tmp_path, capsys):
    mine, kinds = ported("convnextv2", "the bias of GRN in the weights after it")
    files = [str(tmp_path / "golden.safetensors"), str(tmp_path / "mine.npz")]
    specimen("convnextv2").golden.save(files[0])
    mine.save(files[1])
    assert main(["diff", *files]) == 0
    assert "folded, or recorded elsewhere: convnextv2.encoder.stages.0.layers.0.grn " in capsys.readouterr().out
    assert main(["diff", *files, "--json"]) == 0
    assert [island["kind"] for island in json.loads(capsys.readouterr().out)["islands"]] == ["folded"] * len(kinds)
    assert main(["diff", *files, "--strict"]) == 1
    assert capsys.readouterr().out.startswith("first divergence: convnextv2.encoder.stages.0.layers.0.grn ")
