"""The program ``npconv``: arguments in, exit status out, every error one line on stderr.

Exit status: 0 done; 1 done, but something in the input failed; 2 the call or the model is unusable; 130 interrupted;
141 the reader of the output went away, as with ``| head``; 143 ended by SIGTERM, 129 by SIGHUP.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from npconv._version import __version__
from npconv.cli.frame import DONE, UNUSABLE, Parser, UsageError, run_program
from npconv.cli.output import write

#: What is said when a command is interrupted that can go on.
GOES_ON = "the same call with --resume goes on from here"

#: Each is the name of a module beside this one, which is loaded for its own calls only.
COMMANDS = (
    "classify",
    "features",
    "look",
    "finetune",
    "evaluate",
    "info",
    "models",
    "convert",
    "export",
    "inspect",
    "verify",
    "bench",
    "trace",
    "diff",
    "golden",
)

DESCRIPTION = "Classify pictures with ConvNeXt, ConvNeXt V2 and CvT, in plain NumPy."
EPILOG = """\
Every command has a --help of its own. Exit status: 0 done; 1 done, but
something in the input failed; 2 the call or the model is unusable.

Weights of other libraries (.bin, .pth, .h5, .npz, the names of timm and
others) are converted by npconv convert.
"""


def make_parser(chosen: str = "") -> Parser:
    """Return the parser of one command; of all, unless `chosen` is the name of one.

    ``run`` of what it parses is the function of the chosen command, and ``can_resume`` tells from the arguments whether
    another call can go on where this one is interrupted.
    """
    parser = Parser(prog="npconv", description=DESCRIPTION, epilog=EPILOG)
    parser.set_defaults(can_resume=lambda args: False)
    parser.add_argument("--version", action="version", version=f"npconv {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog)  # else it writes a help
    for name in [chosen] if chosen in COMMANDS else COMMANDS:
        load_command(name).add_parser(subparsers)
    return parser


def load_command(name: str) -> ModuleType:
    """Return the module of a command."""
    return importlib.import_module(f"npconv.cli.{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, the words after ``npconv``; return the exit status, see the top of this module."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in _without_separator(words)
    return run_program("npconv", lambda: _run(words, debug), debug=debug)


def _run(words: list[str], debug: bool) -> int:
    """Parse the words and run the command; without one, print the help."""
    parser = make_parser(*words[:1])
    try:
        args, rest = parser.parse_known_args(_without_separator(words))
    except SystemExit as done:  # after --help and --version
        return DONE if done.code is None else int(done.code)
    takes_more = hasattr(args, "photos")
    unknown = [word for word in rest if not takes_more or (word.startswith("-") and word != "-")]
    if unknown:
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)}; see npconv --help")
    if not hasattr(args, "run"):
        write(sys.stdout, parser.format_help())
        return UNUSABLE
    if rest:
        args.photos += rest  # argparse itself takes no photos after an option that follows the first ones
    args.debug = debug
    try:
        return args.run(args)
    except KeyboardInterrupt as interruption:
        if not args.can_resume(args):
            raise
        raise KeyboardInterrupt(GOES_ON) from interruption


def _without_separator(words: list[str]) -> list[str]:
    """Return the words without ``--``; what follows it is no option, so a name with a dash in front gets a folder."""
    if "--" not in words:
        return words
    place = words.index("--")
    names = [os.path.join(os.curdir, word) if word.startswith("-") else word for word in words[place + 1 :]]
    return words[:place] + names
