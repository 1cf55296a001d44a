"""The table of ``tests/api/README.md``: each class, argument and field is there, and each test that is named exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from support import readmes, typed
from support.builders import CONFIGS, pictures

import npconv
from npconv.errors import ConfigError
from npconv.models import FAMILIES


class Row(NamedTuple):
    cls: str
    kind: str
    name: str
    said: str
    test: str

    def __str__(self):
        return f"{self.cls}-{self.kind}-{self.name}"

    @property
    def default(self):
        """The default that the documents say, or None where they say none."""
        literal = re.match(r"`(.+?)`(;|$)", self.said)
        return None if literal is None else ast.literal_eval(literal[1])


def read_rows() -> list[Row]:
    """Return the rows of the table."""
    cells = readmes.table(readmes.read("tests/api/README.md"), "The table")
    return [Row(*(cell.strip("`") if number != 3 else cell for number, cell in enumerate(row))) for row in cells]


ROWS = read_rows()

#: A value for each argument of a call.
CALLED_WITH = {
    "labels": np.array([1, 2]),
    "output_hidden_states": True,
    "return_dict": True,
    "training": False,
}
MODELS = sorted({row.cls for row in ROWS if row.kind == "call"})


def rows(*kinds: str):
    return pytest.mark.parametrize("row", [row for row in ROWS if row.kind in kinds], ids=str)


def config_of(name: str):
    """Return a small configuration for a model class."""
    return next(
        CONFIGS[family.model_type]
        for family in sorted(FAMILIES.values(), key=lambda family: -len(family.name))
        if family.model_type in CONFIGS and name.removeprefix("TF").startswith(family.name)
    )


def make(name: str, **arguments):
    return getattr(npconv, name)(config_of(name), **arguments)


def test_the_table_names_every_class_of_the_documents():
    classes = {row.cls for row in ROWS if row.kind == "class"}
    assert len(classes) == 18
    assert classes == {row.cls for row in ROWS}
    assert len({row[:3] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("test", sorted({row.test for row in ROWS}))
def test_the_test_that_is_named_exists(test):
    path, *names = re.sub(r"\[.*", "", test).split("::")
    source = (readmes.ROOT / path).read_text("utf-8")
    assert re.search(rf"^ *def {names[-1]}\(", source, re.MULTILINE)
    if len(names) == 2:
        assert re.search(rf"^class {names[0]}\b", source, re.MULTILINE)
    if case := re.search(r"\[(\w+)-(\w+)-stand-in\]", test):
        assert (Path(__file__).parent / "examples" / case[1] / f"{case[2]}.py").is_file()


@rows("class")
def test_a_class_can_be_imported(row):
    assert row.cls in npconv.__all__
    assert isinstance(getattr(npconv, row.cls), type)


@rows("configuration")
def test_arguments_of_a_configuration_are_taken_with_the_documented_default(row):
    config_class = getattr(npconv, row.cls)
    if row.name == "**kwargs":
        assert config_class(of_another_program=1).to_dict()["of_another_program"] == 1
    elif row.name != "mlp_ratios":
        assert row.name in config_class.field_names()
        value = getattr(config_class(), row.name)
        assert row.default is None or value == row.default
        assert getattr(config_class(**{row.name: value}), row.name) == value


def test_the_other_spelling_of_mlp_ratio_is_used_or_refused():
    ratios = [2.0, 3.0, 5.0]
    try:
        config = npconv.CvtConfig(mlp_ratios=ratios)
    except ConfigError:
        return
    assert config.mlp_ratio == ratios


@rows("processor")
def test_arguments_of_an_image_processor_are_taken_with_the_documented_default(row):
    kind = getattr(npconv, row.cls)
    if row.name == "**kwargs":
        assert kind(of_another_program=1).to_dict()["of_another_program"] == 1
    else:
        value = getattr(kind(), row.name)
        assert row.default is None or value == row.default
        assert getattr(kind(**{row.name: value}), row.name) == value


@rows("preprocess")
def test_arguments_of_preprocess_are_taken(row):
    processor = getattr(npconv, row.cls)(size={"shortest_edge": 8})
    picture = np.asarray(Image.new("RGB", (9, 9)))
    own = getattr(processor, row.name, None)
    values = {"images": picture, "return_tensors": "np", "data_format": "channels_last"}
    values |= {"input_data_format": "channels_last", "**kwargs": None}
    given = {"images": picture, row.name.replace("**kwargs", "device"): values.get(row.name, own)}
    shape = (1, 8, 8, 3) if row.name == "data_format" else (1, 3, 8, 8)
    assert np.shape(processor.preprocess(**given)["pixel_values"]) == shape


@pytest.mark.parametrize(
    ("return_tensors", "library"),
    [
        (None, "numpy"),
        ("np", "numpy"),
        ("pt", "torch"),
        ("tf", "tensorflow.python.framework.ops"),
        ("jax", "jaxlib._jax"),
    ],
)
def test_tensors_of_every_library_that_is_named(return_tensors, library, tmp_path, monkeypatch):
    typed.install(monkeypatch, tmp_path, tmp_path, cuda=False, torch=True)
    inputs = npconv.ConvNextImageProcessor(size={"shortest_edge": 8})(typed.cat(), return_tensors=return_tensors)
    assert type(inputs["pixel_values"]).__module__ == library
    assert tuple(inputs["pixel_values"].shape) == (1, 3, 8, 8)


@rows("model")
def test_arguments_of_a_model_are_taken(row):
    given = {"config": config_of(row.cls)} | ({"add_pooling_layer": True} if row.name == "add_pooling_layer" else {})
    model = getattr(npconv, row.cls)(**given)
    assert model.config == config_of(row.cls)


@rows("call")
def test_arguments_of_a_call_are_taken(row):
    x = pictures()
    output = make(row.cls)(
        **{"pixel_values": x, **({row.name: CALLED_WITH[row.name]} if row.name in CALLED_WITH else {})}
    )
    assert len(output[-1]) >= 1


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("TF")])
def test_a_tf_class_gives_what_the_other_gives(name):
    x, labels = pictures(), CALLED_WITH["labels"]
    tensors = {"pixel_values": x} | ({"labels": labels} if "Classification" in name else {})
    model = make(name)
    expected = make(name.removeprefix("TF"))(**tensors, output_hidden_states=True)
    for output in (
        model(**tensors, output_hidden_states=True, training=False),
        model(list(tensors.values()), output_hidden_states=True),
        model(tuple(tensors.values()), output_hidden_states=True),
        model(tensors, output_hidden_states=True),
        model({**tensors, "output_hidden_states": True}),
    ):
        assert set(expected) <= set(output)
        for key in set(expected) - {"loss", "hidden_states"}:
            np.testing.assert_array_equal(output[key], expected[key])
        for a, b in zip(output["hidden_states"], expected["hidden_states"], strict=True):
            np.testing.assert_array_equal(a, b)
        if "loss" in expected:  # the mean is the same whether a loss is one number or one a sample
            np.testing.assert_allclose(np.mean(output["loss"]), expected["loss"], rtol=1e-6)
    assert isinstance(model(**tensors, return_dict=False), tuple)


@rows("output")
def test_fields_of_an_output_have_their_shapes(row):
    x = pictures()
    labels = {"labels": CALLED_WITH["labels"]} if "Classification" in row.cls else {}
    output = make(row.cls)(pixel_values=x, output_hidden_states=True, **labels)
    value = getattr(output, row.name)
    config = config_of(row.cls)
    widths = getattr(config, "hidden_sizes", None) or config.embed_dim
    if row.name == "attentions":
        assert value is None
    elif row.name == "hidden_states":
        assert [maps.shape[1] for maps in value][-len(widths) :] == list(widths)
        assert all(maps.ndim == 4 and len(maps) == len(x) for maps in value)
    elif row.name == "loss":
        shapes = {"(N,)": {(2,)}, "(1,)": {(1,)}}
        assert value.shape in shapes.get(row.said, {()})
    else:
        letters = re.findall(r"\w", row.said)
        fixed = {"N": len(x), "K": config.num_labels, "C": widths[-1], "1": 1}
        assert value.ndim == len(letters)
        for letter, size in zip(letters, value.shape, strict=True):
            assert size == fixed.get(letter, size)
