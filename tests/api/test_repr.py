"""What is printed fits on a screen: 24 lines of 120 characters."""

import numpy as np
import pytest
from support.builders import CLASSIFIERS, CONFIGS, FAMILIES, filled_model, pictures
from support.families import CLASSES

from npconv.api import outputs
from npconv.models import FAMILIES as EVERY_FAMILY
from npconv.models.tree import Tree, TreeList


def assert_fits(text):
    lines = text.splitlines() or [""]
    assert len(lines) <= 24, text
    assert max(map(len, lines)) <= 120, text


@pytest.mark.parametrize(("family", "task"), CLASSES)
def test_models_and_all_that_is_in_them(family, task):
    kind, config = CLASSES[family, task], EVERY_FAMILY[family].config_class()  # of a published size, as by default
    state = {name: np.zeros(shape, np.float16) for name, shape in kind.parameter_shapes(config).items()}
    model = kind(config, state, dtype="float16")
    assert_fits(repr(model))
    assert_fits(repr(model.params))
    assert_fits(repr(model.state_dict()))
    for _, part in model.named_children():
        for inner in part.modules():
            title, _, rows = repr(inner).partition("\n")
            assert len(title) < 160  # what is typed for it, and in CvT is long
            assert_fits(rows)
            assert_fits(repr(inner._tree()))


def test_a_model_names_its_parts():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    assert repr(model) == str(model)
    assert repr(model).splitlines()[1:] == [
        "  convnext: 50 arrays, 6,750 numbers",
        "  classifier: weight float32 (4, 14), bias float32 (4,)",
    ]
    assert repr(model.classifier).splitlines() == [
        "ConvNextForImageClassification.classifier",
        "  weight: float32 (4, 14)",
        "  bias: float32 (4,)",
    ]
    layers = repr(model.convnext.encoder.stages[1].layers)
    assert layers.startswith("ConvNextModel.encoder.stages[1].layers\n  0: 9 arrays, ")


def test_the_fast_engine_prints_without_reading_its_parameters():
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"], engine="fast")
    assert "classifier: weight float32 (4, 14), bias float32 (4,)" in repr(model)
    assert "params" not in model.__dict__


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_show_shapes_and_the_loss(family):
    model = filled_model(CLASSIFIERS[family], CONFIGS[family])
    output = model(pictures(batch=3), labels=[0, 1, 2], output_hidden_states=True)
    lines = repr(output).splitlines()
    assert lines[0] == f"{type(output).__name__}("
    assert lines[1] == f"  loss=float32 {float(output.loss):.6g}"
    assert lines[2] == "  logits=float32 (3, 4)"
    assert lines[3:5] == ["  hidden_states=(", f"    0: float32 {output.hidden_states[0].shape}"]
    assert lines[-2:] == ["  )", ")"]
    assert_fits(repr(output))
    assert "hidden_states=(\n    0: None\n    1: float32 (2, " in repr(model(pictures(), output_hidden_states=[1]))


def test_every_kind_of_output_prints_so():
    kinds = [
        kind for kind in vars(outputs).values() if isinstance(kind, type) and issubclass(kind, outputs.ModelOutput)
    ]
    assert len(kinds) > 3
    for kind in kinds:
        assert kind.__repr__ is outputs.ModelOutput.__repr__


def test_many_stages_and_many_parts_are_cut():
    array = np.zeros((8, 1024, 128, 128), np.float16)[:, :, :1]
    assert_fits(repr(outputs.BackboneOutput(feature_maps=(array,) * 50, hidden_states=(array,) * 50)))
    assert_fits(repr(Tree({f"part{i}": array for i in range(300)})))
    assert repr(TreeList([{"weight": array}] * 30)).endswith("\n  ... and 10 more\n]")
    assert "\n" not in repr(Tree({"a\nb": 1})).removeprefix("{\n").removesuffix("\n}")
