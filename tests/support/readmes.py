"""The READMEs as tests read them: their code, commands, names of files and modules, and the map of the rooms.

    python -m tests.support.readmes

writes anew what is made from the code: after a line ``<!-- code: NAME -->`` the source of the object of that name,
after ``<!-- rooms -->`` the map of the package, from the first sentence of each room, and after ``<!-- side files -->``
the table of what becomes of their keys.
"""

from __future__ import annotations

import importlib
import inspect
import re
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from npconv.convert import side_files
from tests.test_import import ROOMS

ROOT = Path(__file__).parents[2]

#: All that is written for readers, but not the cards of the models and the history.
FILES = (
    *("README.md", "CONTRIBUTING.md", "npconv/README.md", "npconv/golden/README.md", "tests/goldens/README.md"),
    *("npconv/convert/README.md", "tutorials/README.md", "tests/api/README.md"),
)

FENCE = re.compile(
    r"(?:<!-- (?:code: (?P<object>\S+)|port: (?P<port>\S+)|(?P<rooms>rooms)) -->\n)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)```\n",
    re.DOTALL,
)

SIDE_FILES = re.compile(r"<!-- side files -->\n.*?<!-- end -->\n", re.DOTALL)

COMMAND = re.compile(r"^\s*(?:\$ )?(?P<program>npconv(?!\S)|python -m [\w.]+)(?P<words>[^#\n]*)", re.MULTILINE)

#: Programs whose commands and options are checked, and where their parsers are made.
PROGRAMS = {"npconv": "npconv.cli.program", "python -m weights_tools": "weights_tools.__main__"} | {
    f"python -m weights_tools.{name}": f"weights_tools.{name}"
    for name in ("train", "make_goldens", "make_cases", "draw_samples")
}

#: The room that is a folder of files and no package.
ZOO = "The embedded models, each with its model card, and a sample picture"

#: Looks like a file of the project and is none: what others have, and what a command writes.
OTHERS = {"facebook/convnextv2-tiny-1k-224", "tutorials/build/index.html", "cls_cvt.py"}


def read(name: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def find(name: str) -> Any:
    """Return the module, class, function or constant of a dotted name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        parent, _, last = name.rpartition(".")
        if not parent:
            raise
        return getattr(find(parent), last)


def written_anew(text: str) -> str:
    """Return a text whose marked blocks show the code and the rooms as they are now."""

    def fresh(match: re.Match[str]) -> str:
        if name := match["object"]:
            return f"<!-- code: {name} -->\n```python\n{inspect.getsource(find(name))}```\n"
        return f"<!-- rooms -->\n```\n{rooms()}```\n" if match["rooms"] else match[0]

    return SIDE_FILES.sub(lambda _: f"<!-- side files -->\n{side_files.table()}<!-- end -->\n", FENCE.sub(fresh, text))


def rooms() -> str:
    """Return the map of the package: each room and its first sentence, from the ground up."""
    lines = []
    for room in ROOMS:
        folder = (ROOT / "npconv" / room).is_dir()
        if room.startswith("_") or not (folder or (ROOT / "npconv" / f"{room}.py").exists()):
            continue
        says = (find(f"npconv.{room}").__doc__ or ZOO).partition("\n")[0].partition(". ")[0].rstrip(".")
        lines.append(f"{room + '/' if folder else room + '.py':<12} {says.replace('``', '')}\n")
    return "".join(lines)


def unmarked_code(text: str) -> list[str]:
    """Return the blocks that show a definition without saying of what it is the code."""
    return [match["text"] for match in examples(text) if re.match(r"(@|def |class )", match["text"])]


def examples(text: str) -> list[re.Match[str]]:
    """Return the blocks of Python that npconv alone can run: not those marked as code of the package or as ports."""
    blocks = [match for match in FENCE.finditer(text) if match["language"] == "python"]
    return [match for match in blocks if not (match["object"] or match["port"])]


def ports(text: str) -> dict[str, str]:
    """Return the programs of porters by the library that they need."""
    return {match["port"]: match["text"] for match in FENCE.finditer(text) if match["port"]}


def quoted(text: str) -> list[str]:
    """Return what stands in backticks outside of blocks, and the targets of links in the project."""
    prose = FENCE.sub("", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)", prose) if "://" not in link]
    return [*re.findall(r"`([^`\n]+)`", prose), *links]


def table(text: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, as lists of cells."""
    lines = text.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [line.strip().strip("|") for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


def changes(text: str) -> list[tuple[list[str], list[str], str]]:
    """Return the rows of "What to change besides the import": what was typed, what to write here, and why."""
    rows = table(text, "What to change besides the import")
    return [(re.findall(r"`([^`]+)`", wrote), re.findall(r"`([^`]+)`", write), why) for wrote, write, why in rows]


def missing_files(name: str, text: str) -> list[str]:
    """Return the files and folders that a README names and that are not there."""
    bases = (ROOT, (ROOT / name).parent, ROOT / "npconv")
    named = {word for word in quoted(text) if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word)}
    files = {word for word in named if "/" in word or word.endswith((".py", ".md"))} - OTHERS
    return sorted(word for word in files if not any((base / word).exists() for base in bases))


def missing_names(text: str) -> list[str]:
    """Return the modules, classes and functions that a README names and that are not there."""
    names = set()
    for word in quoted(text):
        match = re.match(r"(?:python -m )?((?:npconv|weights_tools|tests|tutorials)(?:\.\w+)*)(?:\(.*\))?$", word)
        names |= {match[1]} if match else set()
    return sorted(name for name in names if not _is_found(name))


def _is_found(name: str) -> bool:
    try:
        find(name)
    except (ImportError, AttributeError):
        return False
    return True


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield program and words of each call in blocks and in backticks."""
    blocks = [match["text"] for match in FENCE.finditer(text) if match["language"] in ("", "bash")]
    indented = re.findall(r"^ {4,}((?:npconv|python -m) .*)$", FENCE.sub("", text), re.MULTILINE)
    for match in COMMAND.finditer("\n".join([*blocks, *indented, *quoted(text)])):
        yield match["program"], match["words"].replace("[", " ").replace("]", " ").split()


def wrong_commands(text: str) -> list[str]:
    """Return the calls whose command, option or choice the program does not have."""
    wrong = []
    for program, words in commands(text):
        if program not in PROGRAMS:
            continue
        parser, said = parser_of(program), " ".join([program, *words])
        below = subparsers(parser)
        if below and words:
            if words[0].startswith("-") or not re.fullmatch(r"[a-z]+", words[0]):
                continue
            if words[0] not in below:
                wrong.append(f"{said}: no command {words[0]}")
                continue
            own = f"{program}.{words[0]}"
            parser = parser_of(own) if own in PROGRAMS else below[words[0]]
        known = options(parser)
        for word, after in pairwise([*words, ""]):
            if word.startswith("--"):
                choices = known.get(word, ())
                asked = set(after.split("|")) if "|" in after else set()
                if word not in known or (choices and not asked <= set(choices)):
                    wrong.append(f"{said}: {word} {after}")
    return wrong


def parser_of(program: str) -> ArgumentParser:
    """Return the parser of a program."""
    parser: ArgumentParser = find(PROGRAMS[program]).make_parser()
    return parser


def subparsers(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """Return the parsers of a program's commands."""
    found: dict[str, ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            found |= action.choices
    return found


def options(parser: ArgumentParser) -> dict[str, tuple[str, ...]]:
    """Return the options of a command, those of the commands below it too, with their choices."""
    found = {
        option: tuple(map(str, action.choices or ())) for action in parser._actions for option in action.option_strings
    }
    for below in subparsers(parser).values():
        found |= options(below)
    return found


def all_options(program: str) -> set[str]:
    """Return every option of a program."""
    return set(options(parser_of(program)))


def main() -> None:
    """Write the marked blocks anew."""
    for name in FILES:
        (ROOT / name).write_text(written_anew(read(name)), encoding="utf-8")


if __name__ == "__main__":
    main()
