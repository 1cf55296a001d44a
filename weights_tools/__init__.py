"""What makes the files that npconv loads: convert, train, goldens, sample pictures.

``python -m weights_tools`` converts, exports, inspects and verifies checkpoints. The package `npconv` imports nothing
from here but the conversion, by name, when a model of the hub has no safetensors. Single modules may need an extra
(``train``, ``reference``, ``h5``); they say so when it is missing.
"""
