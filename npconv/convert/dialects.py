"""The names and layouts in which weights of ConvNeXt, ConvNeXt V2 and CvT are published, in both directions.

``detect(tensors)`` says which dialect a file is in, ``to_hugging_face(tensors, dialect)`` renames and lays out,
``infer_config(tensors, dialect=dialect)`` finds the configuration, and ``from_hugging_face(tensors, dialect)`` goes
back. All of it works on plain dicts of NumPy arrays. The dialects themselves are the data in ``tables.py``.
"""

from npconv.convert.detect import UnsupportedError, detect
from npconv.convert.dialect import DIALECT_NAMES, Dialect, dialect
from npconv.convert.infer import infer_config
from npconv.convert.translate import from_hugging_face, skipped, to_hugging_face

__all__ = [
    "DIALECT_NAMES",
    "Dialect",
    "UnsupportedError",
    "detect",
    "dialect",
    "from_hugging_face",
    "infer_config",
    "skipped",
    "to_hugging_face",
]
