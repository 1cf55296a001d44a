"""What a file of tensors is whose numbers are not the weights of a model as they are: it is named, and refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from npconv.messages import LONGEST_NAME, quoted

#: No model has so many tensors; a hostile file must not make a search slow.
MOST_NAMES = 5000

_QUANTISED = "quantised weights, which need their scales; take the weights as they were before quantisation"
_PARTS = "a weight stored as parts that a hook of PyTorch puts together; {}, then save again"

#: Names that only such files have -> what the file holds, and what to do.
_SIGNS = (
    (
        r"(^|\.)(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|lora_(up|down)|hada_w[12]_[ab])(\.|$)",
        "changes to a model's weights (LoRA), not the weights; merge them first: merge_and_unload() of peft, then save",
    ),
    (
        r"(^|\.)(base_layer|modules_to_save|original_module)\.",
        "a model wrapped by peft; unwrap it first: merge_and_unload(), then save",
    ),
    (r"\.(qweight|qzeros|g_idx|SCB|(nested_)?absmax|quant_map|quant_state\..*|weight_format)$", _QUANTISED),
    (r"\.(weight_packed|weight_shape|W_q)$", _QUANTISED),
    (
        r"[._](scales?|weight_scale(_inv)?|weight_scale_2|weight_scales?|zero_points?|_packed_params(\..*)?|scale_inv)$",
        "",
    ),
    (r"\.parametrizations\.", _PARTS.format("torch.nn.utils.parametrize.remove_parametrizations")),
    (r"\.weight_[gv]$", _PARTS.format("torch.nn.utils.remove_weight_norm")),
    (r"\.weight_(u|orig)$", _PARTS.format("prune.remove or remove_spectral_norm of torch.nn.utils")),
    (
        r"(^|\.)(_flat_param|flat_param)(\.|$)",
        "one long tensor of many parameters (FSDP); save with FullStateDictConfig",
    ),
)
_PATTERNS = [(re.compile(pattern), what) for pattern, what in _SIGNS]


def what_else(tensors: Mapping[str, Any]) -> str:
    """Return what a file holds in the place of a model's weights, and what to do; an empty text if nothing says so.

    Only names and dtypes are looked at.
    """
    for name in islice(tensors, MOST_NAMES):
        if len(name) > LONGEST_NAME:
            continue
        for pattern, what in _PATTERNS:
            if pattern.search(name) is None:
                continue
            if what:
                return f"{quoted(name)} says that these are {what}"
            if _has_small_integers(tensors):  # a learned scale has such a name, too
                return f"{quoted(name)} says that these are {_QUANTISED}"
    return ""


def _has_small_integers(tensors: Mapping[str, Any]) -> bool:
    """Say whether weights are stored in so few bits that something else must scale them."""
    return any(
        len(tensor.shape) > 1 and (tensor.dtype.kind in "iu" or getattr(tensor, "stored", "").startswith("F8"))
        for tensor in islice(tensors.values(), MOST_NAMES)
    )
