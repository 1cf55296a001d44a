"""A trained network as a directory in Hugging Face layout, with weights in float16."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save
from transformers import PreTrainedModel

from npconv.images import ConvNextImageProcessor


def rounded_to_float16(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the state dict on the CPU with floating-point tensors in float16; counters keep their type."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous().clone()
        for name, tensor in model.state_dict().items()
    }


def save_model(model: PreTrainedModel, folder: Path, processor: ConvNextImageProcessor, card: str) -> None:
    """Write ``config.json``, ``model.safetensors`` (float16), ``preprocessor_config.json`` and ``README.md``.

    The configuration says float32: whoever loads the weights computes in float32, from values rounded to float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    weights = save(rounded_to_float16(model), metadata={"format": "pt"})
    (folder / "model.safetensors").write_bytes(weights)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
