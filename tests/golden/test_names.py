"""What a port calls its tensors: spelled otherwise, in the names of a library, or by a map; and which are left over."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from support.checkpoint_shapes import named
from support.compare_samples import golden, make_trace, port
from support.conversion_files import in_dialect

from npconv.convert import translate
from npconv.convert.modules import module_dialects, module_names
from npconv.errors import GoldenError
from npconv.golden import report
from npconv.golden.compare import compare
from npconv.golden.listing import list_tensors
from npconv.golden.naming import family_of, names_in, partners, recognise
from npconv.golden.output_names import output_names
from npconv.golden.pairing import find_targets, pair
from npconv.golden.renaming import rename
from npconv.golden.trace_file import PIXELS, load_trace
from npconv.golden.values import to_values
from npconv.models import FAMILIES
from npconv.models.plans import make_plan
from npconv.plan.step import Plan

P = "convnextv2."
BLOCK = f"{P}encoder.stages.1.layers.0"
NAMES = [PIXELS, f"{P}embeddings.layernorm", f"{BLOCK}.dwconv", f"{BLOCK}.layernorm", BLOCK, f"{P}pooled", "classifier"]
ALIASES = {f"{P}encoder.stages.1": BLOCK}

DIALECTS = [(family, dialect) for family in FAMILIES for dialect in module_dialects(family)]


def paired(*mine: str) -> dict[str, str]:
    """Names of mine by what they were taken for, beside the pixel values."""
    pairs = pair(NAMES, [PIXELS, *mine], ALIASES)
    return {own: name for name, own in pairs.names.items() if name != PIXELS}


@pytest.mark.parametrize(
    "name",
    [
        "encoder/stages/1/layers/0/dwconv",
        "model/encoder/stages_1/layers_0/dwconv",
        "encoder.stages[1].layers[0].dwconv",
        "stages_1_layers_0_dwconv",
        "net.backbone.stages.1.layers.0.dwconv",
        "student/ema_convnextv2_encoder_stages_1_layers_0_dwconv",
    ],
)
def test_separators_and_what_stands_in_front_do_not_matter(name):
    assert paired(name) == {name: f"{BLOCK}.dwconv"}


def test_what_stands_in_front_of_all_names_is_taken_from_all():
    names = [f"tiny_{name}" for name in ("stages_1_layers_0_dwconv", "classifier", "embeddings_layernorm", "stages_1")]
    assert paired(*names) == {
        names[0]: f"{BLOCK}.dwconv",
        names[1]: "classifier",
        names[2]: f"{P}embeddings.layernorm",
        names[3]: BLOCK,
    }
    assert paired("net.classifier") == {"net.classifier": "classifier"}


def test_what_stands_in_front_of_the_names_of_a_checkpoint_is_taken_from_all():
    """The names of a checkpoint begin differently: `convnextv2.encoder`, `convnextv2`, and without either."""
    names = [f"net/{name.replace('.', '/')}" for name in (f"{BLOCK}.dwconv", f"{P}embeddings.layernorm", "classifier")]
    assert list(paired(*names).values()) == [f"{P}embeddings.layernorm", f"{BLOCK}.dwconv", "classifier"]
    assert pair(NAMES, [f"net/{PIXELS}", *names], ALIASES).names[PIXELS] == f"net/{PIXELS}"


@pytest.mark.parametrize(
    ("mine", "found"),
    [
        (["encoder/stages.1/layers.0", "encoder.stages_1.layers_0"], []),
        ([BLOCK, "encoder_stages_1_layers_0"], [BLOCK]),
        (["a.stages.1.layers.0.dwconv", "b.stages.1.layers.0.dwconv"], []),
    ],
)
def test_names_that_come_to_the_same_are_not_guessed(mine, found):
    assert list(paired(*mine, "classifier")) == [*found, "classifier"]


@pytest.mark.parametrize(
    "mine",
    [
        ["block3.conv", "block3.pooled"],  # of a block, not of the model
        ["pre_classifier"],
        ["layers.0.dwconv", "layers.1.dwconv"],  # counted through all stages, perhaps
        ["stages.7.layers.0.layernorm", "stages.7.layers.0.act"],
        ["stages.11.layers.0.dwconv"],
    ],
)
def test_the_end_of_another_name_is_no_name(mine):
    assert paired("classifier", *mine) == {"classifier": "classifier"}


def test_a_map_may_name_an_alias():
    renamed = {"s1": f"{P}encoder.stages.1", "head": "classifier"}
    assert pair(NAMES, ["s1", "head"], ALIASES, renamed).names == {BLOCK: "s1", "classifier": "head"}
    both = pair(NAMES, ["s1", "b"], ALIASES, {"s1": f"{P}encoder.stages.1", "b": BLOCK})
    assert (both.names, both.second) == ({BLOCK: "s1"}, {BLOCK: ["b"]})


@cache
def plan_of(family: str, task: str = "") -> Plan:
    """The plan of a family's default model."""
    return make_plan(FAMILIES[family].config_class(), task or FAMILIES[family].main_task)


@pytest.mark.parametrize(("family", "dialect"), DIALECTS)
def test_no_name_of_a_library_is_ours_for_something_else(family, dialect):
    for task in FAMILIES[family].tasks:
        plan = plan_of(family, task)
        ours = {name: step.name for step in plan for name in (step.name, *step.aliases)}
        for kind in module_names(family, dialect, list(ours)):
            as_ours = find_targets(list(kind), ours)
            assert {name: target for name, target in as_ours.items() if ours[kind[name]] != target} == {}


@pytest.mark.parametrize(
    ("family", "dialect"), [pair for pair in DIALECTS if pair[0] in ("convnext", "convnextv2", "cvt")]
)
def test_a_module_is_called_as_its_weight_is(family, dialect):
    """In a checkpoint of the library, as the converter writes and reads it."""
    tensors = in_dialect(family, dialect) if family == "cvt" else named(dialect, family=family)
    spoken = translate.detect(tensors, family)
    ours = {name for step in plan_of(family) for name in (step.name, *step.aliases)}
    told = module_names(family, dialect, sorted(ours))[0]
    modules = 0
    for name in tensors:
        rule, values = spoken.find(name)
        module = rule.ours.fill(values).removesuffix(".weight")
        if rule.ours.text.endswith(".weight") and module in ours:
            path = name[: max(name.rfind("."), name.rfind("/"))]
            assert told[path] == module
            modules += 1
    assert modules > 20


@pytest.mark.parametrize(("family", "dialect"), [pair for pair in DIALECTS if pair[0] in ("convnextv2", "cvt")])
def test_a_trace_in_the_names_of_a_library(family, dialect, tmp_path):
    """It is the same against the golden one, either way round; a port that has these names alone is recognised."""
    truth, mine = golden(family), make_trace(port(family), golden(family).about)
    theirs, own = rename(truth, dialect), rename(mine, dialect)
    own.save(tmp_path / "own.npz")
    for reference, other in ((truth, load_trace(tmp_path / "own.npz")), (theirs, mine), (theirs, own)):
        comparison = compare(reference, other)
        assert (comparison.first, comparison.missing, comparison.extra) == (None, [], [])
    assert theirs.plan.is_in_order()
    bare = make_trace(own)
    assert recognise(truth, bare) == dialect
    comparison = compare(truth, bare)
    assert (comparison.first, comparison.extra) == (None, [])
    assert any(note.startswith("names: those in MINE are taken for") for note in comparison.notes)
    assert compare(truth, bare, names=dialect).named == (dialect, len(bare) - 1, len(bare) - 1)


def test_a_trace_in_the_names_of_a_map():
    truth = golden()
    theirs = rename(truth, {"head": "classifier", "input": PIXELS, "last": f"{P}encoder.stages.1", "end": "classifier"})
    last = golden().plan.resolve(f"{P}encoder.stages.1")
    assert set(theirs) == set(truth) - {"classifier", last} | {"head", "last"}
    assert theirs.about["aliases"]["end"] == theirs.about["aliases"]["classifier"] == "head"
    assert theirs.about["aliases"]["input"] == PIXELS
    assert theirs.about["noise"]["head"] == truth.about["noise"]["classifier"]
    assert theirs.plan.outputs == ("head",)
    assert compare(theirs, {"input": truth[PIXELS], "head": truth["classifier"]}).first is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"head": "clasifier"}, r"'clasifier' \(for 'head'\), which the trace lacks; did you mean 'classifier'"),
        (
            {"classifier": f"{P}pooled"},
            "'classifier', for 'convnextv2.pooled', is the name of another tensor",
        ),
        ("torchvision", "expected as names one of the libraries that have ConvNeXt V2: timm, facebook"),
    ],
)
def test_a_map_that_cannot_be(names, said):
    with pytest.raises(GoldenError, match=said):
        rename(golden(), names)


@pytest.mark.parametrize(
    "name", ["hidden_states.1", "Hidden_State_01", "outputs/hidden_state[1]", "output.HIDDEN_STATE(1)"]
)
def test_an_output_is_known_however_its_number_is_written(name):
    model = golden()
    outputs = output_names(model)
    names = pair(model, [PIXELS, name]).names
    assert names == {PIXELS: PIXELS, outputs["hidden_states.1"]: name}


def test_an_output_that_is_there_twice_is_no_tensor_of_its_own():
    model = golden()
    target = output_names(model)["hidden_states.1"]
    pairs = pair(model, [PIXELS, "Hidden_State_1", "outputs/hidden_state[1]"])
    assert (pairs.names[target], pairs.second[target]) == ("Hidden_State_1", ["outputs/hidden_state[1]"])
    assert pairs.extra == []


def test_what_is_advised_for_a_name_that_another_tensor_has():
    theirs = rename(golden(), {"classifier": f"{P}pooled", "logits": "classifier"})
    np.testing.assert_array_equal(theirs["classifier"], golden()[f"{P}pooled"])


def test_a_library_is_recognised_by_what_none_contradicts():
    truth = golden()
    own = {name: array for name, array in rename(truth, "timm").items() if not name.startswith(P)}
    assert recognise(truth, own) == "timm"
    assert recognise(truth, {f"module.{name}": array for name, array in own.items()}) == "timm"
    assert recognise(truth, dict(truth)) is None
    few = {name: own[name] for name in (PIXELS, "head.fc", "stages.0.blocks.0")}
    assert recognise(truth, few) is None
    strange = {f"x{number}": np.zeros(1) for number in range(len(own) + 1)}
    assert recognise(truth, own | strange) is None
    # One name that is as it stands another tensor's of the reference.
    mixed = make_trace({**truth, "stem.0": truth[f"{P}pooled"]}, truth.about)
    assert recognise(mixed, own) is None
    assert recognise({name: truth[name] for name in (PIXELS, "classifier")}, own) is None


def test_of_several_modules_the_layer_is_compared_first():
    own = {name: array for name, array in rename(golden(), "timm").items()}
    mine = {"stages.0.blocks.0.mlp": own["stages.0.blocks.0.mlp.fc2"], "stem": own["stem.1"], **own}
    comparison = compare(golden(), mine, names="timm")
    assert comparison[f"{P}embeddings.layernorm"].mine == "stem.1"
    assert comparison[f"{P}encoder.stages.0.layers.0.pwconv2"].mine == "stages.0.blocks.0.mlp.fc2"


def test_the_family_must_be_known_to_take_names_of_a_library():
    assert family_of({f"{BLOCK}.dwconv": np.zeros(1)}) == "convnextv2"
    with pytest.raises(GoldenError, match=r"does not say of which family its model is.*a JSON file of"):
        names_in({"classifier": np.zeros(1)}, "timm")
    with pytest.raises(GoldenError, match=r"expected as names one of .* or a map; got 'tim'"):
        compare(golden(), port(), names="tim")


def few_names() -> dict[str, np.ndarray]:
    """The pixel values, three tensors by their names, and all others by names of no library."""
    mine = dict(port())
    return {name if number < 4 else f"t{number}": array for number, (name, array) in enumerate(mine.items())}


def test_most_names_strange_is_no_comparison():
    mine = few_names()
    with pytest.raises(GoldenError, match=r"only 3 of \d+ names of MINE .*'t4' may be .*timm, .*a JSON file of"):
        compare(golden(), mine)
    # What is advised: a map; as before, it may name some alone.
    comparison = compare(golden(), mine, names={"t4": list(golden())[4]})
    assert (comparison.first, comparison.named.paired) == (None, 4)
    # Who records little has chosen what to compare.
    assert compare({name: golden()[name] for name in list(golden())[:4]}, mine).first is None
    assert compare(golden(), {name: mine[name] for name in list(mine)[:6]}).first is None
    with pytest.raises(GoldenError, match="only 1 of 3 names"):
        compare(golden(), {"classifier": mine[list(mine)[-1]], "t5": mine["t5"], "t6": mine["t6"]})


def test_a_report_tells_how_many_names_are_paired_and_the_likeliest_partners():
    mine = dict(port())
    mine["stages.1.layers.0.dw"] = mine.pop(f"{BLOCK}.dwconv")
    comparison = compare(golden(), mine)
    total = len(golden()) - 1
    text = report.to_text(comparison)
    assert f"names: {total - 1} of {total} of MINE are paired" in text
    assert f"missing in MINE: 1 ({BLOCK}.dwconv, stages.1.layers.0.dw?)" in text
    assert f"only in MINE: 1 (stages.1.layers.0.dw, {BLOCK}.dwconv?)" in text
    values = json.loads(json.dumps(to_values(comparison)["names"]))
    assert (values["paired"], values["total"], values["dialect"]) == (total - 1, total, "")
    assert values["likely_in_reference"] == {"stages.1.layers.0.dw": f"{BLOCK}.dwconv"}
    assert values["likely_in_mine"] == {f"{BLOCK}.dwconv": "stages.1.layers.0.dw"}
    assert "are paired" not in report.to_text(compare(golden(), port()))


def test_a_partner_is_found_by_its_shape_first():
    arrays = {"a.norm": np.zeros((2, 3, 4, 4)), "b.conv": np.zeros((2, 5))}
    found = partners(["x.norm", "y"], list(arrays), {"x.norm": np.zeros((5, 2)), "y": np.zeros(7)}, arrays)
    assert found == {"x.norm": "b.conv", "y": None}


def test_names_are_listed_without_running():
    found = list_tensors("convnextv2-cifar10")
    plan = plan_of("convnextv2")
    assert (found[0].name, found[0].shape) == (PIXELS, (1, 3, 32, 32))
    assert {one.layout for one in found} <= {"NCHW", "NC", "NK"}
    first = next(one for one in found if one.name == f"{P}embeddings.layernorm")
    assert (first.shape, first.operation, first.aliases) == ((1, 40, 16, 16), "layer_norm", (f"{P}embeddings",))
    assert first.name in plan
    [stem] = list_tensors("convnextv2-cifar10", names="timm", only="embeddings.layernorm", size=(64, 32))[1:]
    assert (stem.name, stem.shape, stem.aliases[0]) == ("stem.1", (1, 40, 32, 16), "stem")
