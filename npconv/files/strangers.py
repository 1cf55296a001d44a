"""What holds no weights that are read here: named as what it is, with what to do, by its first bytes or its name."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: Bytes of a file that `what_begins` looks at.
BEGINNING = 512

_UNPACK = "unpack it and give what is inside"
_EXPORT = "convert the original weights that it was made of"
_BEGINNINGS = (
    (rb"version https://git-lfs", "a Git LFS pointer in the place of the file; fetch the file itself: git lfs pull"),
    (rb"\s*<", "a web page or XML; download the file itself"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", f"packed; {_UNPACK}"),
    (rb"GGUF|lmgg|tjgg|fmgg", f"a GGUF file, made for llama.cpp, which is not read; {_EXPORT}"),
    (rb".{4}TFL3", f"a TensorFlow Lite model, which is not read; {_EXPORT}"),
    (rb"\x08\x01\x12", "a SavedModel of TensorFlow, which is not read; save the model's weights as .h5"),
    (rb"\x08[\x02-\x0f][\x12\x1a\x22\x2a\x32\x3a\x42]", f"an ONNX model, which is not read; {_EXPORT}"),
    (
        rb"[\x81-\x8f][\xa0-\xbf\xd9]|\xde..[\xa0-\xbf\xd9]",
        "msgpack, as Flax writes, which is not read; save it as PyTorch's",
    ),
    (rb"\x12\x01\0\0\0\0\0\0", "a file of MXNet, which is not read; save its arrays with numpy.savez"),
    (rb"\x93NUMPY", "a single array without a name; save it with numpy.savez"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF", "a picture; expected weights"),
    (rb".{257}ustar", "a tar file, as PyTorch wrote before version 0.2; load and save it with a newer one"),
)

_ADAPTER_CONFIG = "adapter_config.json"
_MERGE = "merge it into the model that it was made for (peft: merge_and_unload, then save_pretrained) and take that"


def what_begins(start: bytes) -> str:
    """Return what a file is by its first `BEGINNING` bytes, and what to do; empty if that is unknown."""
    return next((what for pattern, what in _BEGINNINGS if re.match(pattern, start, re.DOTALL)), "")


def what_is_called(name: str) -> str:
    """Return what a file is by its name, and what to do; empty if that is unknown."""
    if re.search(r"\.data-\d{5}-of-\d{5}$|\.ckpt\.(index|meta)$", name):
        return "a part of a checkpoint of TensorFlow, which is not read; save the model's weights as .h5"
    if name.endswith((".pdparams", ".pdopt", ".pdmodel")):
        return "a file of PaddlePaddle, which is not read; save its arrays as PyTorch's"
    return ""


def what_is_in(folder: Path) -> str:
    """Return what a folder without weights of a model is, and what to do; empty if that is unknown."""
    if os.path.lexists(folder / _ADAPTER_CONFIG):
        return f"a LoRA adapter ({_ADAPTER_CONFIG}), which only changes another model; {_MERGE}"
    if os.path.lexists(folder / "saved_model.pb"):
        return "a SavedModel of TensorFlow, which is not read; save the model's weights as .h5"
    return ""
