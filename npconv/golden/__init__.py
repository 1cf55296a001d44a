"""Golden values for ports: record every named array of a model, compare, and be told which step is wrong and why.

``README.md`` in this folder is for those who use it. Read the code in this order:

- ``npconv.plan``: a model as a list of steps, and what runs them
- ``tracing``, ``truth``, ``preprocessing``: what is recorded, and how far rounding alone may lead
- ``trace_file``, ``formats``: traces in files
- ``compare``, ``inputs``, ``align``, ``output_names``, ``measures``, ``roundings``: two traces side by side
- ``mistakes``, ``kinds``, ``segment``, ``runs``, ``subsets``, ``judge``, ``diagnose``: a part of the model run again
  with every known mistake, in all of its steps, in one or in some, and with kinds of mistakes
- ``report``, ``junit``, ``repro``: what comes out
- ``blocks``, ``case``, ``export``, ``check``, ``pytest_plugin``: single operations and layers

``tests/golden/proof.py`` shows that all of this catches every mistake.
"""

from npconv.golden.case import assert_close, cases, model_trace
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.trace_file import Trace, load_trace
from npconv.golden.tracing import trace
from npconv.golden.truth import record
from npconv.models.plans import make_plan

__all__ = [
    "Trace",
    "assert_close",
    "cases",
    "compare",
    "diagnose",
    "load_trace",
    "make_plan",
    "model_trace",
    "record",
    "trace",
]
