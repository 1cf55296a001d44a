"""What makes the files that npconv ships: golden files and cases, the embedded models, sample pictures, types.

``python -m weights_tools convert|export|inspect|verify`` are other names of commands of ``npconv``. An installation has
these alone; ``train``, ``make_goldens``, ``make_cases``, ``make_types`` and ``draw_samples`` need the
source tree, and some of them an extra (``train``, ``reference``), which they name when it is missing. The package
`npconv` imports nothing from here.
"""
