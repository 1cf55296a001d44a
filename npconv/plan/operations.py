"""The operations that a plan may hold, forwards and backwards.

``operations_forward`` has those of models, ``operations_backward`` the way back through each. As a step makes one
array, a backward operation makes one of the gradients that its function gives: ``layer_norm_backward`` with the
attribute ``wrt="weight"`` that of the weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npconv.plan.operations_backward import BACKWARD, single
from npconv.plan.operations_forward import FORWARD

#: Every operation by the name that steps call it by.
OPERATIONS: dict[str, Callable[..., Any]] = FORWARD | {f"{name}_backward": single(name) for name in BACKWARD}
