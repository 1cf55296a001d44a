"""Golden values for ports: record every named array of a model, compare, and be told which step is wrong and why.

``README.md`` in this folder is for those who use it. Read the code in this order:

- ``npconv.plan``: a model as a list of steps, and what runs them
- ``course``, ``tracing``, ``truth``, ``preprocessing``: what is recorded, and how far rounding alone may lead
- ``made``, ``hidden``: models and pictures that hide no mistake, and what does
- ``trace_file``, ``formats``: traces in files
- ``listing``, ``renaming``: names without numbers; a trace in the names of a port
- ``compare``, ``inputs``, ``pairing``, ``spelling``, ``output_names``, ``naming``, ``align``, ``readings``,
  ``measures``, ``whereabouts``, ``roundings``, ``notes``, ``gradients``: two traces side by side
- ``units``, ``elementwise``: the noise of float16, bfloat16 and TF32, and GELU in them
- ``islands``, ``foldings``, ``exchanged``, ``weights``: what differs and is right, or stands elsewhere; wrong weights
- ``mistakes``, ``kinds``, ``segment``, ``runs``, ``likely``, ``subsets``, ``judge``, ``layouts``, ``diagnose``,
  ``origin``: a part of the model run again with every known mistake, in all of its steps, in one or in some, and with
  kinds of mistakes
- ``own``, ``births``: the mistakes after the first, by mine's own arrays
- ``report``, ``sentences``, ``values``, ``junit``, ``repro``: what comes out
- ``notebook``: what a notebook shows of traces and comparisons
- ``blocks``, ``case``, ``export``, ``check``, ``pytest_plugin``: single operations and layers

``tests/golden/proof.py`` shows that all of this catches every mistake.
"""

from npconv.golden.births import also_born
from npconv.golden.case import assert_close, cases, model_trace
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.listing import list_tensors
from npconv.golden.renaming import rename
from npconv.golden.trace_file import Trace, load_trace
from npconv.golden.tracing import trace
from npconv.golden.truth import record
from npconv.models.plans import make_plan

__all__ = [
    "Trace",
    "also_born",
    "assert_close",
    "cases",
    "compare",
    "diagnose",
    "list_tensors",
    "load_trace",
    "make_plan",
    "model_trace",
    "record",
    "rename",
    "trace",
]
