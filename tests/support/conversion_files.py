"""Small checkpoints of every dialect without PyTorch, and a function that runs the command line on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import npconv
from npconv.convert import configuring, dialects, translate
from npconv.models.naming import lines
from support.container_files import group, mapping, number, storage, streamed, tensor, text, zipped
from support.families import MODULES
from weights_tools.__main__ import main

STAGED = {"hidden_sizes": [3, 5, 7], "depths": [1, 2, 1], "num_stages": 3, "num_labels": 4}
CONFIGS = {
    "convnext": npconv.ConvNextConfig(**STAGED),
    "convnextv2": npconv.ConvNextV2Config(**STAGED),
    "cvt": npconv.CvtConfig(embed_dim=[4, 6, 6], num_heads=[2, 3, 1], depth=[1, 2, 1], num_labels=4),
}

ROOT = Path(__file__).parents[2]
#: What a conversion writes.
FILES = ["config.json", "model.safetensors", "npconv_manifest.json", "preprocessor_config.json"]

#: What the shapes of the CvT do not say.
STEPS = {
    "num_heads": [2, 3, 1],
    "patch_stride": [4, 2, 2],
    "patch_padding": [2, 1, 1],
    "stride_kv": [2, 2, 2],
    "padding_kv": [1, 1, 1],
}


def state_of(family, seed=0):
    """Return random parameters in Hugging Face names, in float32."""
    shapes = MODULES[family].image_classification_shapes(CONFIGS[family])
    rng = np.random.default_rng(seed)
    return {
        name: np.array(7, np.int64) if name.endswith("num_batches_tracked") else rng.standard_normal(shape, np.float32)
        for name, shape in shapes.items()
    }


def in_dialect(family, name, prefix=None):
    """Return the same in the names of another library."""
    state = state_of(family)
    return translate.from_hugging_face(state, dialects.dialect(name, state, prefix=prefix))


def infer_config(tensors, **options):
    """Return the configuration of a model, and what was decided as lines of text."""
    config, decisions = configuring.infer_config(tensors, **options)
    return config, lines(decisions)


def pickled_tensors(tensors, wrapping=None, stream=False):
    """Return the bytes of a file of torch.save, made without PyTorch."""
    kinds = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}
    items, stored = [], {}
    for key, (name, value) in enumerate(tensors.items()):
        strides = np.cumprod([1, *value.shape[:0:-1]])[::-1].tolist() if value.ndim else []
        kept = storage(str(key), value.size, kinds[str(value.dtype)])
        items.append(text(name) + tensor(kept, value.shape, strides))
        stored[str(key)] = np.ascontiguousarray(value).reshape(-1)
    body = b"}(" + b"".join(items) + b"u"
    if wrapping is not None:
        body = mapping(**{wrapping: body, "epoch": number(3), "args": group()})
    return (streamed if stream else zipped)(body, stored)


def run(capsys, *words):
    """Run the command line; return exit status, lines of stdout and lines of stderr."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out.splitlines(), err.splitlines()


def refusal(capsys, *words):
    """Run the command line, which must fail with one line and status 2; return the line."""
    status, out, err = run(capsys, *words)
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].startswith("weights_tools: error: ")
    assert "unexpected" not in err[0]
    return err[0]


def logits(directory, seed=0):
    model = npconv.AutoModelForImageClassification.from_pretrained(directory, dtype="float64")
    return model(np.random.default_rng(seed).standard_normal((2, 3, 33, 37))).logits


def nested(tensors):
    """Return a file of torch.save with the tensors in two dicts."""
    stored, groups = {}, {}
    for index, (key, value) in enumerate(tensors.items()):
        place, _, rest = key.partition(".")
        strides = np.cumprod([1, *value.shape[:0:-1]])[::-1].tolist()
        made = tensor(storage(str(index), value.size), value.shape, strides)
        groups.setdefault(place, {})[rest] = made
        stored[str(index)] = np.ascontiguousarray(value).reshape(-1)
    return zipped(mapping(**{place: mapping(**group) for place, group in groups.items()}), stored)
