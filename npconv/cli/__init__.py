"""The command line: ``npconv``, or ``python -m npconv``.

``program`` parses the call, runs a command and turns every way to fail into one line and an exit status; each command
has a file of its own, named after it. Nothing heavy is imported before a command runs.
"""

from npconv.cli.program import main

__all__ = ["main"]
