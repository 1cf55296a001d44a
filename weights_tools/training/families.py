"""Small networks of the families that classify, for pictures of about 32 x 32 pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from npconv.errors import InputError
from npconv.models import find_family

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Standard deviation of the first weights. The usual 0.02 is meant for wide networks and long training; with 32 to 160
#: channels the first epochs learn markedly faster from larger weights.
INITIAL_SPREAD = 0.1


def build(family: str, classes: list[str], size: int, widths: list[int], depths: list[int]) -> PreTrainedModel:
    """Return an untrained network for pictures of `size` x `size` pixels, with these channels and blocks a stage."""
    import transformers

    from weights_tools.training.fast_grn import use_fast_grn

    found = find_family(family)
    config = getattr(transformers, found.config_name)(
        id2label=dict(enumerate(classes)),
        label2id={name: number for number, name in enumerate(classes)},
        initializer_range=INITIAL_SPREAD,
        **FIELDS[family](size, widths, depths),
    )
    model = getattr(transformers, found.class_names["image_classification"])(config)
    use_fast_grn(model)
    return model


def _convnextv2(size: int, widths: list[int], depths: list[int]) -> dict[str, Any]:
    return {"num_stages": len(widths), "hidden_sizes": widths, "depths": depths, "patch_size": 2, "image_size": size}


def _convnext(size: int, widths: list[int], depths: list[int]) -> dict[str, Any]:
    # At 1e-6, the default for deep networks, a short training would hardly reach the blocks.
    return {**_convnextv2(size, widths, depths), "layer_scale_init_value": 0.1}


def _cvt(size: int, widths: list[int], depths: list[int]) -> dict[str, Any]:
    """Heads of about 32 channels, a class token in the last stage."""
    if any(depth <= stage for stage, depth in enumerate(depths)):  # which transformers cannot make
        raise InputError(f"expected depths of at least 1,2,3 and so on for CvT, got {depths}; try 1,2,3")
    stages = len(widths)
    alike = {
        "patch_sizes": 3, "patch_padding": 1, "mlp_ratio": 2.0, "qkv_bias": True,
        "attention_drop_rate": 0.0, "drop_rate": 0.0, "drop_path_rate": 0.0, "qkv_projection_method": "dw_bn",
        "kernel_qkv": 3, "padding_kv": 1, "stride_kv": 2, "padding_q": 1, "stride_q": 1,
    }  # fmt: skip
    return {
        **{name: [value] * stages for name, value in alike.items()},
        "patch_stride": [2, 1, *[2] * (stages - 2)][:stages],  # the second stage keeps the size of the first
        "embed_dim": widths,
        "num_heads": [max(1, width // 32) for width in widths],
        "depth": depths,
        "cls_token": [False] * (stages - 1) + [True],
    }


#: The fields of a configuration, by ``model_type``; the first is the usual choice.
FIELDS = {"convnextv2": _convnextv2, "convnext": _convnext, "cvt": _cvt}
