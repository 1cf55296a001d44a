"""Small networks of the three families, for pictures of about 32 x 32 pixels."""

from __future__ import annotations

from typing import Any

from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    CvtConfig,
    CvtForImageClassification,
    PreTrainedModel,
)

from npconv.errors import InputError
from weights_tools.training.fast_grn import use_fast_grn

#: Standard deviation of the first weights. The usual 0.02 is meant for wide networks and long training; with 32 to 160
#: channels the first epochs learn markedly faster from larger weights.
INITIAL_SPREAD = 0.1


def build(family: str, classes: list[str], size: int, widths: list[int], depths: list[int]) -> PreTrainedModel:
    """Return an untrained network.

    Parameters
    ----------
    family : str
        ``"convnextv2"``, ``"convnext"`` or ``"cvt"``.
    classes : list of str
        Names of the classes, in the order of the outputs.
    size : int
        Edge of the pictures in pixels, written into the configuration.
    widths, depths : list of int
        Channels and blocks of each stage.

    Raises
    ------
    InputError
        If transformers cannot build a CvT of these depths.
    """
    labels: dict[str, Any] = {"id2label": dict(enumerate(classes)), "label2id": {c: i for i, c in enumerate(classes)}}
    if family == "cvt":
        _check_cvt_depths(depths)
        return CvtForImageClassification(CvtConfig(**labels, **_cvt_fields(widths, depths)))
    fields: dict[str, Any] = {
        "num_stages": len(widths),
        "hidden_sizes": widths,
        "depths": depths,
        "patch_size": 2,
        "image_size": size,
        "initializer_range": INITIAL_SPREAD,
    }
    if family == "convnext":
        # At 1e-6, the default for deep networks, a short training would hardly reach the blocks.
        return ConvNextForImageClassification(ConvNextConfig(**labels, **fields, layer_scale_init_value=0.1))
    model = ConvNextV2ForImageClassification(ConvNextV2Config(**labels, **fields))
    use_fast_grn(model)
    return model


def _check_cvt_depths(depths: list[int]) -> None:
    """Check the depths against a limit of CvT in transformers: each stage has more blocks than stages lie before it."""
    if any(depth <= stage for stage, depth in enumerate(depths)):
        raise InputError(f"expected depths of at least 1,2,3 and so on for CvT, got {depths}; try 1,2,3")


def _cvt_fields(widths: list[int], depths: list[int]) -> dict[str, Any]:
    """Return the configuration of a CvT: heads of about 32 channels, a class token in the last stage."""
    stages = len(widths)
    return {
        "patch_sizes": [3] * stages,
        "patch_stride": [2] * stages,
        "patch_padding": [1] * stages,
        "embed_dim": widths,
        "num_heads": [max(1, width // 32) for width in widths],
        "depth": depths,
        "mlp_ratio": [2.0] * stages,
        "attention_drop_rate": [0.0] * stages,
        "drop_rate": [0.0] * stages,
        "drop_path_rate": [0.0] * stages,
        "qkv_bias": [True] * stages,
        "cls_token": [False] * (stages - 1) + [True],
        "qkv_projection_method": ["dw_bn"] * stages,
        "kernel_qkv": [3] * stages,
        "padding_kv": [1] * stages,
        "stride_kv": [2] * stages,
        "padding_q": [1] * stages,
        "stride_q": [1] * stages,
        "initializer_range": INITIAL_SPREAD,
    }
