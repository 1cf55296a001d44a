"""Tensors whose numbers are not the weights of a model are told by their names and dtypes."""

import numpy as np
import pytest

from npconv.convert.strangers import what_else
from npconv.files.dtypes import DeferredArray

F = np.zeros((2, 2), np.float32)
I8 = np.zeros((2, 2), np.int8)
F8 = DeferredArray(np.zeros((2, 2), np.uint8), "F8_E4M3")
NAMES = {
    "bitsandbytes, 4 bits": {"a.weight": I8, "a.weight.absmax": F, "a.weight.quant_map": F},
    "bitsandbytes, 4 bits, its state alone": {"a.weight.quant_state.bitsandbytes__nf4": I8},
    "bitsandbytes, 8 bits": {"a.weight": I8, "a.SCB": F},
    "GPTQ": {"a.qweight": I8, "a.qzeros": I8, "a.scales": F, "a.g_idx": I8},
    "AWQ": {"a.qweight": I8, "a.qzeros": I8, "a.scales": F},
    "compressed-tensors": {"a.weight_packed": I8, "a.weight_scale": F},
    "8-bit floats with scales": {"a.weight": F8, "a.weight_scale_inv": F},
    "PyTorch": {"a.scale": F, "a.zero_point": I8, "a._packed_params._packed_params": F},
    "HQQ": {"a.W_q": I8, "a.meta": F},
    "scales beside whole numbers": {"a.weight": I8, "a.scale": F},
    "scales of whole numbers": {"a.weight": I8, "a.weight.scales": F},
}


@pytest.mark.parametrize("tensors", NAMES.values(), ids=NAMES)
def test_quantised_weights(tensors):
    assert "quantised weights, which need their scales" in what_else({"b.bias": F, **tensors})


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.stages.0.lora_A.weight",
        "base_model.model.stages.0.lora_B.default.weight",
        "lora_unet_x.lora_down.weight",
        "a.lora_magnitude_vector.default.weight",
        "a.hada_w1_a",
    ],
)
def test_adapters(name):
    assert "(LoRA), not the weights; merge them first" in what_else({"b.bias": F, name: F})


def test_names_of_models_are_none_of_these():
    names = ["stages.0.weight", "layer_scale", "a.scale", "gamma", "explora.weight"]
    counts = {"norm.num_batches_tracked": np.array(3), "steps": np.arange(3, dtype=np.int8)}  # no weights
    assert what_else({name: F for name in names} | counts) == ""
