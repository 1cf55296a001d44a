"""The configuration of ConvNeXt V2: that of ConvNeXt without a layer scale."""

from __future__ import annotations

from npconv.models.convnext.configuration import StagedConfig


class ConvNextV2Config(StagedConfig):
    """The configuration of a ConvNeXt V2 model; the defaults are V2-T (``facebook/convnextv2-tiny-1k-224``)."""

    model_type = "convnextv2"

    @property
    def first_values(self) -> dict[str, float]:
        """GRN does nothing at first."""
        return {".grn.weight": 0.0, ".grn.bias": 0.0}
