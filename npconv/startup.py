"""What a command line does before it is loaded: end quietly by Ctrl-C, and look for no garbage where there is none.

Ctrl-C is one line and status 130, as later, where it is an exception. ``import npconv`` loads this first. In a program
that only uses npconv it changes nothing.
"""

import _signal  # what ``signal`` is made of; that one takes so long to load that Ctrl-C gets in between
import atexit
import gc
import os
import sys

INTERRUPTED = 130

#: Objects by which their number may grow before Python looks whether some only refer to each other: more than a short
#: call makes. What is loaded stays, and looking through it 70 times took a twentieth of the first answer's time.
OBJECTS = 50_000


def leave(*_: object) -> None:
    """End this process at once; nothing has been begun that would have to be cleared away."""
    os.write(2, b"npconv: interrupted\n")
    os._exit(INTERRUPTED)


def is_command_line() -> bool:
    """Tell whether this process was started as ``npconv`` or ``python -m npconv``."""
    if sys.argv[:1] == ["-m"]:  # what Python says while it looks for the module
        option = sys.orig_argv[sys.orig_argv.index("npconv") - 1] if "npconv" in sys.orig_argv else ""
        return option.startswith("-") and option.endswith("m")  # -Im
    return os.path.splitext(os.path.basename((sys.argv or [""])[0]))[0] in ("npconv", "npconv-script")


def begin() -> None:
    """Let Ctrl-C end a command line quietly from here on, unless it is ignored, and spare it looking for garbage."""
    if not is_command_line():
        return
    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)  # nor at its end, when all is given back anyway
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        try:
            _signal.signal(_signal.SIGINT, leave)
        except ValueError:  # this is not the first thread, and signals do not arrive here
            return


begin()
