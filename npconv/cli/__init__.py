"""The command line: ``npconv``, or ``python -m npconv``.

``program`` chooses the command, and each command has a file of its own, named after it. Nothing heavy is imported
before a command runs. What several of them share:

- ``frame``: statuses, and one line for every way to fail; ``output``: text that any terminal can take
- ``signals``: those that end a command
- ``photos``, ``sharing``, ``progress``: the photos of a call, who works on them, and how far it has come; ``problems``:
  what is wrong with labelled ones
- ``formats``, ``features_file``: the files that results are written to, and what earlier runs have written there;
  ``overwriting``: what may be replaced
- ``facts``, ``info_text``, ``bench_text``, ``evaluate_formats``: what is found out, and the text of it
- ``weights``: how a weight file is to be read; ``names``: what a port calls its tensors;
  ``trace_call``: the arguments of ``trace``, and which go together
"""

from npconv.cli.program import main

__all__ = ["main"]
