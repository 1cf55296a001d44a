"""Weight files of any framework into folders that npconv and transformers load, and back.

In reading order:

- :mod:`~weights_tools.conversion.convert`: `convert`, resting on
  :mod:`~weights_tools.conversion.source` (what is to be converted, and what lies beside it),
  :mod:`~weights_tools.conversion.configuring` and :mod:`~weights_tools.conversion.preprocessing` (what to write into
  the small files), :mod:`~weights_tools.conversion.tensors` (tensors that are read only when they are written) and
  :mod:`~weights_tools.conversion.writing` (a folder that appears whole or not at all)
- :mod:`~weights_tools.conversion.export`: `export`, back into the names of another library
- :mod:`~weights_tools.conversion.inspect`: `inspect`, what a file is
- :mod:`~weights_tools.conversion.verify`: `verify`, whether a folder is what it says
"""

from weights_tools.conversion.convert import Conversion, convert
from weights_tools.conversion.export import Export, export
from weights_tools.conversion.inspect import Inspection, inspect
from weights_tools.conversion.verify import Check, verify

__all__ = ["Check", "Conversion", "Export", "Inspection", "convert", "export", "inspect", "verify"]
