"""Checkers of lesson 07."""

from __future__ import annotations

from typing import Any

from exercises import exercise


@exercise(
    "How many weights does one channel of one block lose? How many channels are there in all the blocks?",
    "Each channel of each block loses 49 - 25 weights: 96 channels in 3 blocks, 192 in 3, 384 in 9, 768 in 3.",
)
def check_1(answer: Any) -> bool:
    """Check the number of parameters of ConvNeXt-T with 5x5 kernels."""
    lost = 24 * (3 * 96 + 3 * 192 + 9 * 384 + 3 * 768)
    return float(answer) == 28_589_128 - lost


@exercise("Try widths: layer_table(ConvNextConfig(depths=..., hidden_sizes=[w, 2 * w, 4 * w, 8 * w], ...), 224, 224).")
def check_2(answer: Any) -> bool:
    """Check the first width of ConvNeXt-L."""
    return float(answer) == 192
