"""The weight files of other frameworks, read without any of them.

A pickle is a program. Here it is not run but read: a small machine of the opcodes that ``torch.save`` writes, which
knows no function, no class and no module, only a closed table of names and what each stands for.

In reading order:

- :mod:`~weights_tools.containers.checkpoint`: `open_checkpoint`, which looks at the content to see what a file is
- :mod:`~weights_tools.containers.pytorch`: the zip files and the older single-stream files of ``torch.save``, resting
  on :mod:`~weights_tools.containers.pickles` (the machine), :mod:`~weights_tools.containers.names` (the closed table),
  :mod:`~weights_tools.containers.storages` (from storage, offset and strides to an array) and
  :mod:`~weights_tools.containers.archive` (zip files, mapped)
- :mod:`~weights_tools.containers.other`: ``.npz`` and ``.h5``
- :mod:`~weights_tools.containers.shards`: an index and the files it names
- :mod:`~weights_tools.containers.wrappings`: the state dict inside ``{"model": ..., "optimizer": ...}``
"""

from weights_tools.containers.checkpoint import Checkpoint, open_checkpoint
from weights_tools.containers.wrappings import Found, find_tensors

__all__ = ["Checkpoint", "Found", "find_tensors", "open_checkpoint"]
