"""What other libraries call the modules of a CvT that have no parameters; see ``npconv/models/naming_modules.py``.

Source: the modules of microsoft/CvT. Two of a block are called twice, ``drop_path`` and ``mlp.drop``: no one array has
their names.
"""

from __future__ import annotations

from npconv.models.cvt.names import ATTENTION, BLOCK, EMBEDDING, STAGE
from npconv.models.naming_modules import Modules

_BLOCK = "{p}stage{i}.blocks.{j}"

#: The tokens that a convolution gives; ``rearrage`` is how it is written there.
_PROJECTIONS: Modules = {
    f"{_BLOCK}.attn.conv_proj_{part[0]}{theirs}": f"{ATTENTION}.convolution_projection_{part}{ours}"
    for part in ("query", "key", "value")
    for theirs, ours in (("", ""), (".rearrage", ""), (".avg", ".convolution_projection"))
}

MICROSOFT: Modules = {
    "{p}stage{i}.patch_embed": EMBEDDING,
    "{p}stage{i}.pos_drop": f"{STAGE}.tokens",
    **_PROJECTIONS,
    f"{_BLOCK}.attn.attn_drop": f"{ATTENTION}.dropout",
    f"{_BLOCK}.attn.proj_drop": f"{BLOCK}.attention",
    f"{_BLOCK}.attn": f"{BLOCK}.attention",
    f"{_BLOCK}.mlp.act": f"{BLOCK}.intermediate",
    f"{_BLOCK}.mlp": f"{BLOCK}.output.dense",
    _BLOCK: BLOCK,
    "{p}stage{i}": STAGE,
}

MODULES = {"microsoft": (MICROSOFT,)}
