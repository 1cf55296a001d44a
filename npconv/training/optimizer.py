"""AdamW, with a learning rate that is lower the further a block is from the head."""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backend import Array
from npconv.training.weights import Part

#: How much of the running averages of gradients and of their squares stays in a step.
BETAS = (0.9, 0.99)
#: Added to the root of the average of squares.
EPS = 1e-8
#: The length of the gradient of all parameters is at most this.
LONGEST = 1.0
#: As PyTorch adds to the length, so that one of 0 divides nothing.
LEAST = 1e-6


class AdamW:
    """Adam with decoupled weight decay, https://arxiv.org/abs/1711.05101, in place.

    Written with operators alone, so that vectors of NumPy, CuPy and PyTorch pass.

    Parameters
    ----------
    vector : array (P,)
        The parameters.
    parts : sequence of Part
        Its parts: how far each is from the head, and whether it decays.
    weight_decay, layer_decay : float
        See :class:`npconv.training.recipe.Recipe`.

    Attributes
    ----------
    mean, square : array (P,)
        Running averages of the gradient and of its square.
    steps : int
        How many there were.
    """

    def __init__(self, vector: Array, parts: Sequence[Part], weight_decay: float, layer_decay: float) -> None:
        self.mean, self.square = vector * 0, vector * 0
        self.steps = 0
        self._parts, self._weight_decay, self._layer_decay = parts, weight_decay, layer_decay

    def step(self, vector: Array, gradient: Array, rate: float) -> None:
        """Move the parameters, (P,), against a gradient, (P,), with a learning rate."""
        self.steps += 1
        self.mean += (1 - BETAS[0]) * (gradient - self.mean)
        self.square += (1 - BETAS[1]) * (gradient * gradient - self.square)
        mean = self.mean / (1 - BETAS[0] ** self.steps)  # as both averages begin with 0
        square = self.square / (1 - BETAS[1] ** self.steps)
        move = mean / (square**0.5 + EPS)
        for part in self._parts:
            own_rate = rate * self._layer_decay**part.depth
            if part.decays:
                vector[part.place] *= 1 - own_rate * self._weight_decay
            vector[part.place] -= own_rate * move[part.place]


def clipped(gradient: Array) -> Array:
    """Return a gradient (P,) with a length of at most `LONGEST`, in the same direction."""
    length = (gradient * gradient).sum() ** 0.5
    return gradient * (LONGEST / (length + LEAST)).clip(max=1)
