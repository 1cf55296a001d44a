"""Checkpoints as people have them: converted with the same numbers, or one line with the options that go on."""

from __future__ import annotations

import re
import shlex
from typing import Any

import numpy as np
import pytest
from support.checkpoint_shapes import CONFIGS, SHAPES, TIMM, Shape, Tensors, named, stage_norms, state, zeros

import npconv
from npconv.convert import convert, leftovers
from npconv.errors import WeightsError
from npconv.files import safetensors

pytestmark = pytest.mark.long

PIXELS = np.random.default_rng(1).standard_normal((2, 3, 64, 72))


def converted(shape: Shape, tmp_path, tensors: Tensors, **options: Any) -> Any:
    path = tmp_path / "x.safetensors"
    safetensors.save_file(tensors, path)
    return convert(path, tmp_path / f"out{len(list(tmp_path.iterdir()))}", **shape.options, **options)


def truth(shape: Shape, seed: int) -> Any:
    """Return the model that the file was made of."""
    classes = {"convnext": npconv.ConvNextForImageClassification, "convnextv2": npconv.ConvNextV2ForImageClassification}
    return classes[shape.family](CONFIGS[shape.family], state(shape.family, seed), dtype="float64")


def outputs(shape: Shape, seed: int) -> list[np.ndarray]:
    """Return what a model computes that was in the file."""
    expected = truth(shape, seed)(PIXELS, output_hidden_states=True)
    if shape.gives == "logits":
        return [expected.logits]
    if shape.gives == "stages":
        return list(expected.hidden_states)
    if shape.gives == "maps":
        norms = stage_norms("{0}")
        pairs = [(norms[f"{stage}.weight"], norms[f"{stage}.bias"]) for stage in range(4)]
        maps = zip(expected.hidden_states[1:], pairs, strict=True)
        return [normalized(x, weight[:, None, None], bias[:, None, None]) for x, (weight, bias) in maps]
    weight, bias = (state(shape.family)[f"{shape.family}.layernorm.{word}"] for word in ("weight", "bias"))
    if shape.gives == "last map":
        return [normalized(expected.hidden_states[-1], weight[:, None, None], bias[:, None, None])]
    return [normalized(expected.hidden_states[-1].mean((2, 3)), weight, bias)]


def normalized(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6) * weight + bias


def found_in(shape: Shape, made: Any) -> list[np.ndarray]:
    """Return what the converted model computes."""
    kinds = {
        "logits": npconv.AutoModelForImageClassification,
        "maps": npconv.AutoBackbone,
        "last map": npconv.AutoBackbone,
    }
    model = kinds.get(shape.gives, npconv.AutoModel).from_pretrained(made.directory, dtype="float64")
    if shape.gives == "logits":
        return [model(PIXELS).logits]
    if shape.gives in ("maps", "last map"):
        return list(model(PIXELS).feature_maps)
    output = model(PIXELS, output_hidden_states=True)
    return list(output.hidden_states) if shape.gives == "stages" else [output.pooler_output]


def compare(shape: Shape, made: Any) -> int:
    """Return the seed of the model that the converted one is: their outputs are those of the same code in float64."""
    found = found_in(shape, made)
    for seed in shape.seeds:
        wanted = outputs(shape, seed)
        assert len(found) == len(wanted)
        if all(np.abs(a - b).max() <= 1e-10 * np.abs(b).max() for a, b in zip(found, wanted, strict=True)):
            return seed
    raise AssertionError(f"{shape.name}: the numbers are those of no model in the file")


def options_in(line: str) -> list[dict[str, Any]]:
    """Return the ways that a line advises, as options of convert."""
    ways = []
    for words in map(shlex.split, re.findall(r"(?:--(?:prefix|leave) (?:'[^']*'|\S+) ?)+", line)):
        options: dict[str, Any] = {}
        for option, value in zip(words[::2], words[1::2], strict=True):
            if option == "--prefix":
                options["prefix"] = value
            else:
                options.setdefault("leave", []).append(value)
        ways.append(options)
    return ways


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_checkpoint(tmp_path, shape):
    tensors = shape.make()
    if not shape.refused:
        made = converted(shape, tmp_path, tensors)
        compare(shape, made)
        assert re.search(shape.says, "\n".join(map(str, made.decisions)))
        return
    with pytest.raises(WeightsError, match=shape.refused) as caught:
        converted(shape, tmp_path, tensors)
    line = str(caught.value)
    assert "\n" not in line
    ways = options_in(line)
    seeds = [compare(shape, converted(shape, tmp_path, tensors, **options)) for options in ways]
    if ways:  # each takes another one of the models
        assert sorted(seeds) == sorted(shape.seeds)


def test_only_a_model_of_mmpretrain_without_a_head_leaves_the_place_of_its_last_norm_open(tmp_path):
    by_name = {shape.name: shape for shape in SHAPES}
    for name, is_open in {
        "mmpretrain": False,
        "mmpretrain without a head (ConvNeXt#126)": True,
        "the last norm twice, as DINOv3 has it": False,
    }.items():
        decisions = converted(by_name[name], tmp_path, by_name[name].make()).decisions
        assert [decision.field for decision in decisions].count("last norm") == is_open


def test_copies_are_looked_for_up_to_a_number(tmp_path, monkeypatch):
    shape = Shape("a classifier under two names", lambda: named(TIMM))
    tensors = shape.make()
    tensors |= {f"second.{word}": tensors[f"head.fc.{word}"] for word in ("weight", "bias")}
    tensors |= zeros("z.criterion.weight", shape=(5,))
    monkeypatch.setattr(leftovers, "MOST_NAMES", 2)
    said = "\n".join(map(str, converted(shape, tmp_path, tensors).decisions))
    assert "the same tensor under a second name: 'second.bias', 'second.weight'" in said
    assert "of a loss: 'z.criterion.weight'" in said
    monkeypatch.setattr(leftovers, "MOST_NAMES", 1)
    with pytest.raises(WeightsError, match=r"no place for tensor 'second\.bias'"):
        converted(shape, tmp_path, tensors)


def test_ones_are_no_copy_of_other_ones(tmp_path):
    """A tensor is known again by its values, however near they are to each other, but not by none."""
    shape = Shape("a norm under two names", lambda: named(TIMM, "model."))
    tensors = shape.make()
    norm = tensors["model.head.norm.weight"]
    for values, is_known in ((np.linspace(1, 1.1, norm.size), True), (np.ones(norm.size), False)):
        norm[:] = values
        both = {**tensors, "second.weight": norm.copy()}
        if is_known:
            said = "\n".join(map(str, converted(shape, tmp_path, both).decisions))
            assert "the same tensor under a second name: 'second.weight'" in said
        else:
            with pytest.raises(WeightsError, match=r"no place for tensor 'second\.weight'"):
                converted(shape, tmp_path, both)


def test_numbers_in_a_name():
    assert leftovers.numbers_in("a.12345.b/123456.7.c1") == {"i": 12345, "j": 7}


def test_there_are_enough_shapes():
    assert len(SHAPES) >= 55
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
