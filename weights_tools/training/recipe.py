"""How to train a network from nothing: what is chosen before, beside what every training chooses."""

from __future__ import annotations

from dataclasses import dataclass, field

from npconv.errors import InputError
from npconv.training.recipe import Recipe


@dataclass(frozen=True)
class EmbeddedRecipe(Recipe):
    """How to train an embedded model.

    Pictures have edges of `size` pixels. Of them, the share `cover` has a part covered, and the share `exchange` a part
    of another picture and of its class. `mean` and `std` are those of the three colours on the scale 0 to 1. With
    `bfloat16` products are computed in it; weights stay in float32. `device` is ``"cpu"`` or ``"cuda"``; with `compile`
    PyTorch compiles the blocks of the network.
    """

    size: int = 32
    cover: float = 0.0
    exchange: float = 0.0
    mean: list[float] = field(default_factory=lambda: [0.5] * 3)
    std: list[float] = field(default_factory=lambda: [0.5] * 3)
    bfloat16: bool = False
    device: str = "cpu"
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1:
            raise InputError(f"expected size to be at least 1, got {self.size}")
        for name in ("cover", "exchange"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected a share from 0 to 1 for {name}, got {getattr(self, name)}")
