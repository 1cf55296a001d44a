"""What other libraries call the modules of DINOv3's ConvNeXt that have no parameters: as in ConvNeXt.

timm normalizes the pooled vector alone, which is no array here.
"""

from __future__ import annotations

from npconv.models.convnext import modules as convnext
from npconv.models.convnext import names
from npconv.models.dinov3_convnext.names import BLOCK, renamed
from npconv.models.naming_modules import Modules

#: What begins with the one in ConvNeXt begins with the other here, beside what has parameters.
OURS = {
    names.BLOCK: BLOCK,
    convnext.STAGE: "stages.{i}",
    convnext.ENCODER: "model",
    convnext.POOLED: "pool",
    f"{names.BLOCK}.act": f"{BLOCK}.activation_fn",
    f"{names.BLOCK}.drop_path": f"model.{BLOCK}.drop_path",
}


def _here(modules: Modules) -> Modules:
    """Return modules of ConvNeXt by our names here, without those that give out what this family has not."""
    found: dict[str, tuple[str, ...]] = {}
    for theirs, said in modules.items():
        several = (said,) if isinstance(said, str) else said
        ours = tuple(OURS.get(one) or renamed(one) or "" for one in several if one != names.MAP_NORM)
        if names.HEAD_NORM not in several and all(ours):
            found[theirs] = ours
    return found


MODULES: dict[str, tuple[Modules, ...]] = {
    "timm": tuple({**_here(modules), "{p}head.norm": ()} for modules in convnext.TIMM),
    "facebook": ({**_here(convnext.FACEBOOK), "{p}norms.{n}": ()},),
}
