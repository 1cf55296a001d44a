"""Weight files of any framework into folders that npconv and transformers load, and back.

In reading order:

- :mod:`~npconv.convert.convert`: `convert`, resting on
  :mod:`~npconv.convert.source` (what is to be converted, and what lies beside it),
  :mod:`~npconv.convert.configuring` and :mod:`~npconv.convert.preprocessing` (what to write into
  the small files), :mod:`~npconv.convert.tensors` (tensors that are read only when they are written) and
  :mod:`~npconv.convert.writing` (a folder that appears whole or not at all)
- :mod:`~npconv.convert.export`: `export`, back into the names of another library
- :mod:`~npconv.convert.inspect`: `inspect`, what a file is
- :mod:`~npconv.convert.verify`: `verify`, whether a folder is what it says
"""

from npconv.convert.convert import Conversion, convert
from npconv.convert.export import Export, export
from npconv.convert.infer import OpenFieldsError
from npconv.convert.inspect import Inspection, inspect
from npconv.convert.verify import Check, verify

__all__ = ["Check", "Conversion", "Export", "Inspection", "OpenFieldsError", "convert", "export", "inspect", "verify"]
