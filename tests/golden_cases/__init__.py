"""The golden cases of each family, a file for each ``model_type``, found by this name.

A file holds

- ``models()``: the cases of ``tests/goldens``, small models that together reach every branch of the family;
- ``operations()``, where the family has them: the cases of its block and its classifier in ``npconv/golden/cases``;
- ``TRACED``, likewise: the configuration of the small model whose whole trace lies there;
- ``named_as_in_files(model)``, where a model of transformers calls its parameters otherwise than its files do;
- ``build(task, fields)`` and ``patched(fields)``, where transformers lacks something that npconv has: the reference
  model with that added, and the names of the fields that need it.

Widths, sizes and depths are distinct wherever that is possible, so that swapped axes are seen.
"""
