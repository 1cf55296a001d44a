"""Weight files of any framework into folders that npconv and transformers load, and back.

Read in this order:

- ``convert``: `convert`, from a file to a folder; ``source``: what is to be converted, and what lies beside it
- ``dialects``, ``translate``: names and layouts of other libraries, in both directions; what is peculiar to a family,
  its ``names`` say; ``respelling``: names that no table can list; ``modules``: those of modules, for arrays in traces
- ``leftovers``: what a tensor is that is no part of the model; ``strangers``: files that hold no weights as they are
- ``side_files``: what becomes of each key of the small files beside weights (``npconv/convert/README.md`` shows it);
  ``stated``: what those of timm and open_clip say
- ``configuring``, ``preprocessing``: what goes into the small files
- ``writing``: tensors that are read when they are written, a folder that appears whole or not at all, and the manifest
  of where its files came from
- ``export``: `export`, back into the names of another library
- ``inspect``: `inspect`, what a file is; ``verify``: `verify`, whether a folder is what it says
"""

from npconv.convert.configuring import OpenFieldsError
from npconv.convert.convert import Conversion, convert
from npconv.convert.export import Export, export
from npconv.convert.inspect import Inspection, inspect
from npconv.convert.verify import Check, verify

__all__ = ["Check", "Conversion", "Export", "Inspection", "OpenFieldsError", "convert", "export", "inspect", "verify"]
