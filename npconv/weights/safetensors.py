"""The older name of :mod:`npconv.files.safetensors`."""

from npconv.files.safetensors import *  # noqa: F403
from npconv.files.safetensors import __all__ as __all__
