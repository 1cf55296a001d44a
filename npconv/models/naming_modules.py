"""What the ``modules.py`` of a family is made of: names of its modules in other libraries, for arrays in traces.

The output of a module goes by the module's path. Where a module has parameters, the tables of ``names.py`` tell its
path: it is that of its weight without the last part. A ``modules.py`` holds what these do not tell:

- ``MODULES``: by the name of a dialect, one :data:`Modules` or several for libraries that have several modules in one
  place, called differently in parts. Those of a trace tell which it is. A path that stands there as that of a module
  with parameters does too is taken from there.

Names are written as in ``names.py``; ``{j+1}`` is the block after ``{j}``. Our names are those of the steps of the
family's plan and of their aliases.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Their path of a module -> our name of what it gives out, or several: the first that a model has. None at all: what it
#: gives out is no array of ours, or not always the same.
Modules = Mapping[str, str | tuple[str, ...]]
