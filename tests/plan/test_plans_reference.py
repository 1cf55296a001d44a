"""The names of plans against forward hooks on the transformers models: each module has its step, with its values."""

import numpy as np
import pytest

from npconv.golden.tracing import trace

pytestmark = pytest.mark.reference

#: Modules that give out what they take; CvT's ``drop_path`` is even called twice in a block.
NOT_COMPUTING = ("Dropout", "Identity", "CvtDropPath")

#: Modules of a ConvNeXt block whose outputs are channels last.
CHANNELS_LAST = ("layernorm", "pwconv1", "act", "grn", "pwconv2")

#: Endings of the names of steps that are no modules.
NO_MODULES = (
    *("pixel_values", "pooled", "tokens", "class_token", "grn.strength", "grn.relative", "layer_scale"),
    *(f"attention.attention.{name}" for name in ("map", "query", "key", "value", "scores")),
    "attention_residual",
)

#: The farthest of these arrays came to 1.8e-15.
BOUND = 1e-12

STAGED = {"num_stages": 3, "hidden_sizes": [5, 8, 12], "depths": [1, 2, 1], "patch_size": 2, "num_labels": 4}
CVT = {
    "embed_dim": [6, 8, 8],
    "num_heads": [2, 4, 1],
    "depth": [1, 2, 3],
    "cls_token": [False, True, True],
    "num_labels": 4,
}
MODELS = [
    ("convnext", "image_classification", {**STAGED, "layer_scale_init_value": 0.5}),
    ("convnext", "image_classification", {**STAGED, "drop_path_rate": 0.1, "num_labels": 0}),
    ("convnext", "model", {**STAGED, "layer_scale_init_value": 0.0, "depths": [0, 1, 0]}),
    ("convnext", "backbone", {**STAGED, "out_features": ["stem", "stage2"]}),
    ("convnextv2", "image_classification", {**STAGED, "drop_path_rate": 0.1}),
    ("convnextv2", "model", STAGED),
    ("convnextv2", "backbone", {**STAGED, "out_features": ["stage1", "stage3"]}),
    ("cvt", "image_classification", CVT),
    ("cvt", "image_classification", {**CVT, "cls_token": [False, True, False], "num_labels": 0}),
    ("cvt", "image_classification", {**CVT, "qkv_projection_method": ["avg", "linear", "avg"]}),
    ("cvt", "model", {**CVT, "depth": [1, 0, 2], "qkv_bias": [False, True, False]}),
]


@pytest.fixture(scope="module")
def parity():
    """What makes pairs of models; it imports torch and transformers."""
    for name in ("torch", "transformers"):
        pytest.importorskip(name)
    from reference import parity

    return parity


def outputs_of_modules(model, pixel_values, run):
    """Return the first tensor that each module gives out by the module's name, and the names of the modules' classes.

    Also the names of modules that are called more than once.
    """
    outputs, kinds, repeated = {}, {}, set()

    def record(name):
        def hook(module, inputs, output):
            if name in outputs:
                repeated.add(name)
            found = output
            while not hasattr(found, "numpy"):
                found = found[0]
            outputs[name], kinds[name] = found.numpy().copy(), type(module).__name__

        return hook

    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(record(name))
    run(model, pixel_values)
    return outputs, kinds, repeated


def is_channels_last(name):
    block, _, last = name.rpartition(".")
    return block.split(".")[-2:-1] == ["layers"] and last in CHANNELS_LAST


@pytest.mark.parametrize(("family", "task", "fields"), MODELS)
def test_every_module_has_its_step(parity, family, task, fields):
    pair = parity.make_pair(family, task, fields, (2, 3, 29, 34))
    outputs, kinds, repeated = outputs_of_modules(pair.theirs, pair.pixel_values, parity.reference.run)
    with trace() as recorded:
        pair.ours(pair.pixel_values)
    aliases = recorded.about["aliases"]
    assert all(name.endswith(".drop_path") for name in repeated)

    farthest = 0.0
    for name, theirs in outputs.items():
        step = aliases.get(name, name)
        if step in recorded and name not in repeated:
            theirs = np.moveaxis(theirs, -1, 1) if family != "cvt" and is_channels_last(name) else theirs
            assert recorded[step].shape == theirs.shape, name
            distance = np.abs(recorded[step] - theirs).max() / np.abs(theirs).max()
            farthest = max(farthest, distance)
            assert distance <= BOUND, name
        else:
            assert kinds[name] in NOT_COMPUTING, name
    print(f"\n{family}, {task}: {len(outputs)} modules, at most {farthest:.1e} apart")

    modules = {aliases.get(name, name) for name in outputs}
    assert all(name.endswith(NO_MODULES) for name in set(recorded) - modules)
    assert len(modules & set(recorded)) > 10


@pytest.mark.parametrize(("family", "task", "fields"), MODELS)
def test_no_step_takes_the_name_of_another_module(parity, family, task, fields):
    """Names that are no module's are not by chance those of one that the model has and does not call."""
    model = parity.reference.build(family, task, fields)
    names = {name for name, _ in model.named_modules()}
    pair = parity.make_pair(family, task, fields, (1, 3, 29, 34))
    with trace() as recorded:
        pair.ours(pair.pixel_values)
    taken = {name for name in recorded if name.endswith(NO_MODULES)} & names
    assert not taken
