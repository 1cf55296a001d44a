"""The golden cases of DINOv3's ConvNeXt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weights_tools.goldens.cases import EXTREMES, ModelCase

FOUR_STAGES = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 2, 1]}
THREE_STAGES = {"hidden_sizes": [4, 6, 8], "depths": [1, 1, 1]}
TWO_STAGES = {"hidden_sizes": [4, 6], "depths": [1, 1]}

#: Bare models (pictures are small: each is a hidden state as well): name -> (shape, fields).
BARE: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "default": ((1, 1, 34, 37), {**FOUR_STAGES, "num_channels": 1, "drop_path_rate": 0.3}),
    "one_stage": ((1, 3, 9, 14), {"hidden_sizes": [7], "depths": [2]}),
    "stages_without_blocks": ((1, 3, 13, 18), {**TWO_STAGES, "depths": [0, 1]}),
    "smallest_picture": ((2, 3, 8, 8), {**TWO_STAGES, "depths": [1, 2]}),
    "eps": ((1, 3, 13, 18), {**TWO_STAGES, "layer_norm_eps": 0.05}),
    "layer_scale_negative": ((1, 3, 13, 18), {**TWO_STAGES, "layer_scale_init_value": -1.0}),
}

#: Backbones: which stages they return; the stem is the picture.
BACKBONES: dict[str, dict[str, Any]] = {
    "last_stage": {},
    "some_stages": {"out_features": ["stem", "stage2", "stage3"]},
}


def models() -> Iterator[ModelCase]:
    """Yield the golden models."""
    for name, (shape, fields) in BARE.items():
        yield ModelCase(name, "model", shape, fields)
    for name, extremes in EXTREMES.items():
        yield ModelCase(name, "model", (1, 3, 9, 14), TWO_STAGES, **extremes)
    for name, fields in BACKBONES.items():
        yield ModelCase(f"backbone_{name}", "backbone", (1, 3, 16, 18), {**THREE_STAGES, **fields})


def named_as_in_files(model: Any) -> Any:
    """Return a model of transformers with the names of its files in place of those that it has once it is loaded."""
    state, load = model.state_dict, model.load_state_dict
    model.state_dict = lambda: {name.removeprefix("model."): tensor for name, tensor in state().items()}
    model.load_state_dict = lambda tensors: load(
        {f"model.{name}" if name.startswith("stages.") else name: tensor for name, tensor in tensors.items()}
    )
    return model
