"""What other libraries call the modules of a ConvNeXt V2 without parameters: as in ConvNeXt, where they have it."""

from __future__ import annotations

from npconv.models.convnext import modules as convnext

MODULES = {name: convnext.MODULES[name] for name in ("timm", "facebook", "open_clip", "mmpretrain")}
