"""The older name of :mod:`npconv.files.safetensors`."""

from npconv.files.safetensors import *  # noqa: F403
