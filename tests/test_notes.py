"""What a notebook shows of models, configurations, outputs, traces and comparisons."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from support.builders import BACKBONES, BARE_MODELS, CLASSIFIERS, CONFIGS, pictures
from support.fast_models import weights
from test_import import run_python

import npconv
from npconv.golden import trace
from npconv.golden.compare import compare
from npconv.golden.trace_file import Trace
from npconv.html import folded, note, note_table
from npconv.models.tree import spread

EVIL = '<script>alert("x")</script>\'\x1b[31m\u202e&amp;'

#: All that a note is made of.
TAGS = {"div", "strong", "table", "tr", "th", "td", "details", "summary"}


class Note(HTMLParser):
    """The rows of the tables of a note, its text and its elements, each of which must end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.text, self.tags, self.attributes = "", [], []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self._open.append(tag)
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        """Return the rest of the row that begins with a text."""
        return next(row[1:] for row in self.rows if row[0] == first)


def read(thing) -> Note:
    """Return the note of an object, which asks for nothing and has no colours of its own."""
    text = thing._repr_html_()
    found = Note(text)
    assert set(found.tags) <= TAGS
    assert {name for name, _ in found.attributes} <= {"style", "scope", "open"}
    styles = " ".join(value for name, value in found.attributes if name == "style")
    assert not re.search(r"color|background|url|#[0-9a-f]{3}|expression|position", styles)
    assert not re.search(r"https?:|src=|href=| on\w+=", text.replace(found.text, ""))
    return found


def made(model_class, config, **options):
    """Return a model with random parameters."""
    return model_class(config, weights(model_class, config), **options)


@pytest.mark.parametrize("engine", ["explicit", "fast"])
@pytest.mark.parametrize("classes", [CLASSIFIERS, BARE_MODELS, BACKBONES])
@pytest.mark.parametrize("family", CONFIGS)
def test_a_model_says_its_size_and_that_of_each_stage(family, classes, engine):
    if family not in classes:
        pytest.skip(f"{family} has no such model")
    config = CONFIGS[family]
    model = made(classes[family], config, engine=engine)
    found = read(model)
    assert (
        f"{type(model).__name__} {model.num_parameters():,} parameters, float32, cpu, engine='{engine}'" in found.text
    )
    assert ("image classification, 4 classes" in found.text) == (classes is CLASSIFIERS)
    depths = config.depth if family == "cvt" else config.depths
    widths = config.embed_dim if family == "cvt" else config.hidden_sizes
    counted = 0
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), 1):
        blocks, shape, parameters = found.row(f"stage {stage}")
        assert blocks == str(depth)
        assert shape.startswith(f"{width} x ")
        prefix = f"{model.base_model_prefix}." if classes is CLASSIFIERS else ""
        own = {n: a for n, a in model.state_dict().items() if n.startswith(f"{prefix}encoder.stages.{stage - 1}.")}
        trained = sum(a.size for n, a in own.items() if not re.search(r"running_|num_batches", n))
        assert parameters == f"{trained:,}"
        counted += trained
    around = [int(row[3].replace(",", "")) for row in found.rows if row[0] in ("before", "after")]
    assert counted + sum(around) == model.num_parameters()


def test_the_map_of_a_stage_is_that_which_a_picture_of_the_size_has():
    config = npconv.ConvNextConfig(**{**CONFIGS["convnext"].to_dict(), "image_size": 36})
    model = made(CLASSIFIERS["convnext"], config)
    found = read(model)
    assert "map of 36 x 36 pixels" in found.rows[0]
    maps = model(np.zeros((1, 3, 36, 36), np.float32), output_hidden_states=True).hidden_states[1:]
    assert [found.row(f"stage {n}")[1] for n in (1, 2, 3)] == [" x ".join(map(str, one.shape[1:])) for one in maps]


def test_a_model_that_such_a_picture_does_not_pass_is_shown_without_maps():
    config = npconv.ConvNextConfig(**{**CONFIGS["convnext"].to_dict(), "image_size": 1})
    assert read(made(CLASSIFIERS["convnext"], config)).row("stage 1")[1] == ""
    config = npconv.ConvNextConfig(**CONFIGS["convnext"].to_dict())
    config.hidden_act = np.tanh
    assert read(made(CLASSIFIERS["convnext"], config)).row("stage 2")[1] == ""


def test_of_a_configuration_the_fields_that_differ_come_first():
    config = npconv.ConvNextV2Config(hidden_act="silu", hidden_sizes=[8, 16, 32, 64])
    found = read(config)
    assert found.rows[0][0] == "other than the default"
    assert found.row("hidden_act") == ["'silu'", "'gelu'"]
    assert found.row("hidden_sizes") == ["[8, 16, 32, 64]", "[96, 192, 384, 768]"]
    assert found.text.index("hidden_sizes") < found.text.index("as the defaults") < found.text.index("num_channels")
    assert "ConvNextV2Config convnextv2" in found.text
    assert "other than" not in read(npconv.CvtConfig()).text


def test_of_very_many_classes_the_first_are_shown():
    config = npconv.CvtConfig(num_labels=1000)
    found = read(config)
    assert "1,000 classes, the first 50" in found.text
    assert found.row("49") == ["LABEL_49"]
    assert "LABEL_50" not in found.text


def test_a_processor_shows_what_is_set():
    found = read(npconv.ConvNextImageProcessor(size={"shortest_edge": 40}, image_mean=[0.5, 0.25, 0.125]))
    assert found.row("size") == ["{'shortest_edge': 40}"]
    assert found.row("image_mean") == ["(0.5, 0.25, 0.125)"]
    assert re.search(r"\d+ left open.*crop_fill", found.text)


def test_an_output_shows_shapes_dtypes_and_ranges():
    model = made(CLASSIFIERS["convnext"], CONFIGS["convnext"], dtype="float64")
    output = model(pictures(dtype="float64"), output_hidden_states=True, labels=[0, 1])
    found = read(output)
    low, high = output.logits.min(), output.logits.max()
    assert found.row("logits") == ["float64 (2, 4)", f"{low:.4g} to {high:.4g}"]
    assert found.row("loss")[0] == f"float64 {float(output.loss):.6g}"
    assert found.row("hidden_states[3]")[0] == f"float64 {output.hidden_states[3].shape}"
    output.hidden_states = output.hidden_states * 5
    assert "8 more of hidden_states" in read(output).text
    output.logits[0, 0] = np.nan
    assert read(output).row("logits")[1].endswith("1 not finite")


def test_ranges_of_odd_arrays():
    assert spread(np.array([3, -2])) == "-2 to 3"
    assert spread(np.array([True, False])) == "0 to 1"
    assert spread(np.array([np.nan])) == "1 not finite"
    assert spread(np.array([np.inf, 2.0, 1.0])) == "1 to 2, 1 not finite"
    assert spread(np.zeros((0, 2))) == spread("text") == spread(None) == spread(np.array(["a"])) == ""


def test_outputs_of_a_device_are_shown(device_stub):
    model = made(CLASSIFIERS["convnext"], CONFIGS["convnext"], device="stub")
    assert read(model(device_stub.asarray(pictures()))).row("logits")[0] == "float32 (2, 4)"
    assert "stub" in read(model).text


def test_a_trace_shows_what_made_each_array():
    model = made(CLASSIFIERS["cvt"], CONFIGS["cvt"])
    with trace() as arrays:
        model(pictures())
    found = read(arrays)
    assert found.row("family") == ["cvt"]
    name = "cvt.encoder.stages.0.layers.0.attention.attention.scores"
    operation, what, values = found.row(name)
    assert operation == "attention_scores"
    assert what == f"float32 {arrays[name].shape}"
    assert values == f"{arrays[name].min():.4g} to {arrays[name].max():.4g}"
    assert [row[0] for row in found.rows if row[0] in arrays] == list(arrays)
    assert "details" in found.tags


def test_a_trace_of_another_program_is_shown_whatever_it_says():
    for about in ({}, {"steps": 3}, {"steps": {"steps": [{"name": "a"}]}}, {"steps": {}}, {"family": [EVIL]}):
        foreign = Trace(about)
        foreign.add("conv1", np.arange(3.0))
        assert read(foreign).row("conv1") == ["", "float64 (3,)", "0 to 2"]
    assert "0 tensors" in read(Trace()).text


def test_a_comparison_opens_at_the_first_divergence():
    model = made(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    x = pictures()
    with trace() as right:
        model(x)
    name = "convnext.encoder.stages.1.layers.0.dwconv"
    model.state_dict()[f"{name}.weight"][:] *= 1.5
    with trace() as wrong:
        model(x)
    comparison = compare(right, wrong)
    found = read(comparison)
    assert comparison.first.name == name
    assert f"first divergence: {name}" in found.text
    near = [row[:2] for row in found.rows[1:7]]
    assert near[2] == ["diverges", name]
    assert [verdict for verdict, _ in near[:3]] == ["agrees", "agrees", "diverges"]
    good = read(compare(right, right))
    assert "first divergence" not in good.text
    assert "0 diverge" in good.text


def test_whatever_stands_in_a_label_or_a_name_does_nothing():
    said = EVIL.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    config = npconv.ConvNextConfig(**{**CONFIGS["convnext"].to_dict(), "id2label": {0: EVIL, 1: "b"}, EVIL: EVIL})
    assert said in read(config).text
    assert "script" not in read(config).tags
    model = made(CLASSIFIERS["convnext"], config)
    model.name_or_path = EVIL
    assert said in read(model).text
    foreign, other = (Trace({"family": EVIL}) for _ in range(2))
    for one, values in ((foreign, np.zeros(3)), (other, np.ones(3))):
        one.add(EVIL, values)
    assert said in read(foreign).text
    assert said in read(compare(foreign, other)).text
    assert said in Note(note(EVIL, EVIL, note_table([(EVIL, 3)], (EVIL,)), folded(EVIL, note_table([])))).text


def test_nothing_is_loaded_for_notes_before_one_is_asked_for():
    loaded = run_python(
        "import sys, npconv\n"
        "model = npconv.AutoModelForImageClassification.from_pretrained('convnextv2-cifar10')\n"
        "print('npconv.html' in sys.modules, 'npconv.api.notebook' in sys.modules)\n"
        "model._repr_html_()\n"
        "print('npconv.html' in sys.modules, 'npconv.pictures' in sys.modules)"
    )
    assert loaded.split() == ["False", "False", "True", "False"]
