"""The golden cases of ConvNeXt V2: those of ConvNeXt that do not name its layer scale or an activation."""

from __future__ import annotations

from collections.abc import Iterator

from tests.golden_cases.convnext import TRACED, staged_models, staged_operations
from weights_tools.goldens.cases import ModelCase, OperationCase

__all__ = ["TRACED", "models", "operations"]


def models() -> Iterator[ModelCase]:
    """Yield the golden models."""
    yield from staged_models()


def operations() -> Iterator[OperationCase]:
    """Yield the golden cases of the block and the classifier."""
    yield from staged_operations("convnextv2")
