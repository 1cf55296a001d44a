"""From files to parameters and back; knows nothing of any model.

In reading order:

- :mod:`~npconv.weights.safetensors`: the four functions that read and write a safetensors file, resting on
  :mod:`~npconv.weights.header` (what a file may say, and every way it can lie),
  :mod:`~npconv.weights.dtypes` (bfloat16 and 8-bit floats, which NumPy lacks),
  :mod:`~npconv.weights.stored` (a tensor that is decoded when it is asked for) and
  :mod:`~npconv.weights.files` (mapping a file, replacing one in a single step)
- :mod:`~npconv.weights.checkpoint`: all the files of one model, sharded or not
- :mod:`~npconv.weights.tree`: ``"a.0.b"`` to ``{"a": [{"b": ...}]}`` and back
- :mod:`~npconv.weights.match`: every tensor used once, every parameter filled once
- :mod:`~npconv.weights.locate`: a model by embedded name, folder, file or hub id, resting on
  :mod:`~npconv.weights.hub` (downloaded once, checked, converted where needed) and
  :mod:`~npconv.weights.catalogue` (what has been published)
"""

from npconv.weights import safetensors
from npconv.weights.checkpoint import load_checkpoint, save_checkpoint
from npconv.weights.locate import embedded_models, locate
from npconv.weights.match import LoadReport, match
from npconv.weights.tree import flatten, map_tree, nest

__all__ = [
    "LoadReport",
    "embedded_models",
    "flatten",
    "load_checkpoint",
    "locate",
    "map_tree",
    "match",
    "nest",
    "safetensors",
    "save_checkpoint",
]
