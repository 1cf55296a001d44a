"""Small changes of what ships, one at a time, each of which must make a test fail.

    python -m tests.mutation                           prints each mutant of a sample and the share that was killed
    python -m tests.mutation --sample 210 --seed 1     the same of a new sample; --keep takes it for the one above

The sample is kept in :data:`KEPT`, so that a change somewhere draws no other; what is not in the code any more is left
out.

A mutant turns a comparison, ``and`` for ``or``, ``any`` for ``all``, a number, or leaves out a keyword or a statement.
The tests run in a copy of the project: first the files that name the module, and the first failure ends it. With
coverage.py, which costs one run of all tests, those of them that run the changed line, then all others that do; of a
line that runs on import, those that run anything of its module, or of those that import it. Without, the rest of its
room and of those in :data:`ALSO`, then all that is fast. The exit status is 1 if fewer than :data:`ENOUGH` are killed;
those in :data:`SURVIVORS` are no bugs and do not count.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.reach import Reach, find_reach

ROOT = Path(__file__).parents[1]

#: The sample that is tried, a mutant a line; and the share of it that must still be in the code.
KEPT, THERE = ROOT / "tests" / "data" / "mutants.txt", 0.8

#: The share that must be killed, the seconds that tests of one mutant may take, and how many are tried at a time.
ENOUGH, LIMIT, TOGETHER = 0.95, 600, 2

#: What porters copy, models, and what is wrong on purpose: of another mistake than meant it is asked as well that it
#: shows (``tests/golden/proof.py``).
LEFT_OUT = ("npconv/golden/recorders/", "npconv/zoo/", "npconv/golden/mistakes/")

#: Keywords that are words for people, or keep programmers from what no program does.
WORDS = {
    *("help", "metavar", "description", "epilog", "title", "stacklevel", "daemon", "name", "prefix"),
    *("frozen", "repr", "compare", "strict"),
}

#: Constants that bound time and memory: of so many, nobody could tell one more.
BUDGET, MANY = re.compile(r"_?(MOST|MAX|LONGEST|LARGEST|PIECE|BUDGET)(_|$)"), 300

#: Rooms whose tests also stand elsewhere.
ALSO = {"models": ["tests/api"], "layers": ["tests/models"], "plan": ["tests/golden"], "weights": ["tests/files"]}

#: Mutants that no test can kill, or none should: how they read, and why; a line each, with a tab between.
LISTED = ROOT / "tests" / "data" / "survivors.txt"
SURVIVORS = dict(line.split("\t") for line in LISTED.read_text("utf-8").splitlines())

COMPARISONS = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """A change of one file: the lines and columns that are replaced, and by what."""

    path: str
    start: tuple[int, int]
    end: tuple[int, int]
    before: str
    after: str
    lines: range = range(0)  #: of the statement that it is in; none where that runs on import

    def __str__(self) -> str:
        return f"{self.path}: {' '.join(self.before.split())} -> {self.after}"

    def apply(self, text: str) -> str:
        """Return the text of the file with the change in it."""
        lines = text.encode().splitlines(keepends=True)
        first, last = self.start[0] - 1, self.end[0] - 1
        head, tail = lines[first][: self.start[1]], lines[last][self.end[1] :]
        return b"".join([*lines[:first], head, self.after.encode(), tail, *lines[last + 1 :]]).decode()


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node may become."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _with(node, ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not _is_text(node) and not _is_zero(node.right):
        yield _with(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Continue | ast.Break):
        is_said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom)
        if not is_said and ast.unparse(node) != "raise NotImplementedError":  # which no program meets
            yield ast.Pass()
    elif isinstance(node, ast.Call):
        yield from _calls(node)


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """Yield what a call may become: of its opposite, or without one keyword."""
    if isinstance(node.func, ast.Attribute) and node.func.attr in NAMES:
        yield _with(node, func=_with(node.func, attr=NAMES[node.func.attr]))
    elif isinstance(node.func, ast.Name) and node.func.id in NAMES:
        yield _with(node, func=ast.Name(NAMES[node.func.id]))
    for keyword in node.keywords:
        if keyword.arg is not None and not _is_of_no_effect(keyword, node):
            yield _with(node, keywords=[other for other in node.keywords if other is not keyword])


def _is_of_no_effect(keyword: ast.keyword, node: ast.Call) -> bool:
    """Tell whether a keyword is words for people, or the copy that ``astype(..., copy=False)`` saves."""
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    return keyword.arg in WORDS or (method, keyword.arg) == ("astype", "copy")


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """Return a node with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _is_text(node: ast.BinOp) -> bool:
    """Tell whether a sum is one of texts."""
    parts = (node.left, node.right)
    return any(isinstance(part, ast.JoinedStr) or _constant(part) is str for part in parts)


def _is_zero(node: ast.AST) -> bool:
    """Tell whether it makes no difference whether this is added or subtracted."""
    return isinstance(node, ast.Constant) and node.value == 0


def _constant(node: ast.AST) -> type | None:
    return type(node.value) if isinstance(node, ast.Constant) else None


def mutants(path: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a file."""
    lines = text.encode().splitlines(keepends=True)
    todo: list[tuple[ast.AST, range]] = [(ast.parse(text), range(0))]
    while todo:
        node, run = todo.pop()
        for after in changes(node):
            start, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
            part = lines[start[0] - 1 : end[0]]
            part[-1] = part[-1][: end[1]]
            part[0] = part[0][start[1] :]
            said = ast.unparse(after)
            before = b"".join(part).decode()
            yield Mutant(path, start, end, before, said if isinstance(node, ast.stmt) else f"({said})", run)
        is_function = isinstance(node, ast.FunctionDef)
        for inner in _inside(node):
            todo.append((inner, _lines(inner, run, in_function=bool(run) or (is_function and inner in node.body))))


def _lines(node: ast.AST, run: range, *, in_function: bool) -> range:
    """Return the lines of a node's own statement, without those of a body; `run` are those around it."""
    if not in_function:
        return range(0)
    if not isinstance(node, ast.stmt):
        return run
    body = getattr(node, "body", None)
    return range(node.lineno, max(node.lineno, body[0].lineno - 1 if body else node.end_lineno or 0) + 1)


def _inside(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a node, without annotations, texts for people, and what only a type checker reads."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.arg | ast.Import | ast.ImportFrom):
        return []
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return []
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    if isinstance(node, ast.Assign):
        parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        return [*node.targets, *(part for part in parts if part not in _budgets(node))]
    if isinstance(node, ast.FunctionDef):
        return [*node.body, *node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
        return [
            node.func,
            *(arg for arg in node.args if ast.unparse(arg) != "-1"),
        ]  # or -2
    if isinstance(node, ast.Call):
        return [node.func, *node.args, *(k.value for k in node.keywords if not _is_of_no_effect(k, node))]
    return list(ast.iter_child_nodes(node))


def _budgets(node: ast.Assign) -> list[ast.AST]:
    """Return the large numbers in an assignment that only bound time and memory, by their names."""
    target, value = node.targets[0], node.value
    both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
    pairs = zip(target.elts, value.elts, strict=False) if both else [(target, value)]  # type: ignore[attr-defined]
    return [
        number
        for name, number in pairs
        if isinstance(name, ast.Name) and BUDGET.match(name.id) and _constant(number) is int and number.value >= MANY
    ]


def every_mutant(root: Path = ROOT) -> list[Mutant]:
    """Return the mutants of all that ships, in order."""
    names = sorted(path.relative_to(root).as_posix() for path in (root / "npconv").rglob("*.py"))
    kept = [name for name in names if not name.startswith(LEFT_OUT)]
    return [mutant for name in kept for mutant in mutants(name, (root / name).read_text("utf-8"))]


def names_of(mutants: Sequence[Mutant], root: Path = ROOT) -> dict[str, Mutant]:
    """Return some mutants by what they are and the line they are in: of several that are alike, by their number."""
    lines = {path: (root / path).read_text("utf-8").splitlines() for path in {mutant.path for mutant in mutants}}
    found: dict[str, Mutant] = {}
    alike: Counter[str] = Counter()
    for mutant in mutants:
        name = f"{mutant}  # {lines[mutant.path][mutant.start[0] - 1].strip()}"
        alike[name] += 1
        found[f"{name}  # {alike[name]}" if alike[name] > 1 else name] = mutant
    return found


def kept(found: Mapping[str, Mutant]) -> list[str]:
    """Return the names in the kept sample that are still there; RuntimeError if too few are."""
    names = KEPT.read_text("utf-8").splitlines()
    there = [name for name in names if name in found]
    if len(there) < THERE * len(names):
        raise RuntimeError(
            f"expected most of the mutants in {KEPT.name}, got {len(there)} of {len(names)}; keep others"
        )
    return there


def groups_of(mutant: Mutant, root: Path = ROOT, reach: Reach | None = None) -> list[list[str]]:
    """Return the tests to run, group by group: those that name a module, then those that run the line, or may."""
    texts = {file.relative_to(root).as_posix(): file.read_text("utf-8") for file in (root / "tests").rglob("test_*.py")}
    naming = _naming(mutant.path)
    first = [file for file in sorted(texts) if naming.search(texts[file])]
    if reach is not None and (reaching := reach.of(mutant.path, mutant.lines) or _of_importers(mutant, root, reach)):
        groups = [file for file in reaching if file in first], [file for file in reaching if file not in first]
        return [group for group in groups if group]
    room = Path(mutant.path).parts[1]
    folders = [folder for folder in (f"tests/{room}", *ALSO.get(room, ())) if (root / folder).is_dir()]
    rest = [f for f in sorted(texts) if f not in first and f.startswith(tuple(f"{folder}/" for folder in folders))]
    return [group for group in (first, rest) if group] + [["tests", "-m", "fast"]]


def _naming(path: str) -> re.Pattern[str]:
    """Return the expression of what a file contains that imports a module."""
    parts = Path(path).with_suffix("").parts
    module = ".".join(parts).removesuffix(".__init__")
    named, package = re.escape(module), re.escape(module.rpartition(".")[0])
    return re.compile(rf"{named}\b|from {package} import [^\n]*\b{parts[-1]}\b")


def _of_importers(mutant: Mutant, root: Path, reach: Reach) -> list[str]:
    """Return the tests that run anything of a module, then those of the modules that import it, or import one of them.

    So a table is tried by the tests of what works with it, whichever modules hand it on.
    """
    texts = {path: (root / path).read_text("utf-8") for path in sorted(reach.files)}
    paths = [mutant.path]
    for _ in range(2):
        naming = [_naming(path) for path in paths]
        paths += [path for path, text in texts.items() if path not in paths and any(n.search(text) for n in naming)]
    return list(dict.fromkeys(file for path in paths for file in reach.of(path)))


def survives(mutant: Mutant, root: Path, reach: Reach | None = None) -> bool:
    """Tell whether all tests pass with a mutant in the copy at `root`; TimeoutExpired if they do not end."""
    file = root / mutant.path
    right = file.read_text("utf-8")
    file.write_text(mutant.apply(right), "utf-8")
    try:
        return all(_passes(group, root) for group in groups_of(mutant, root, reach))
    finally:
        file.write_text(right, "utf-8")


def _passes(group: Sequence[str], root: Path) -> bool:
    """Run tests up to the first failure."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_ADDOPTS", None)  # of the run that this one is a part of
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *group]
    with tempfile.TemporaryFile() as said:
        program = subprocess.Popen(words, cwd=root, env=environment, stdout=said, stderr=said, start_new_session=True)
        try:
            return program.wait(LIMIT) in (0, 5)  # 5: none of these tests is to be run
        finally:
            if program.poll() is None:
                os.killpg(program.pid, 9)
                program.wait()


def run(chosen: Mapping[str, Mutant], root: Path = ROOT, *, reaching: bool = False) -> list[str]:
    """Return the names of those that survive, but for the known ones; print each. RuntimeError if tests fail anyway.

    `reaching` has all tests run once before, to know which lines each file of them runs.
    """
    alive = []
    with tempfile.TemporaryDirectory(prefix="npconv-mutants-") as folder:
        places = [_copy(root, Path(folder) / f"project{number}") for number in range(TOGETHER)]
        first = groups_of(next(iter(chosen.values())), places[0])[0]
        if not _passes(first, places[0]):  # then every mutant would seem to be killed
            raise RuntimeError(f"expected tests that pass in a copy of the project; {first[0]} fails without a mutant")
        reach = find_reach(places[0], Path(folder)) if reaching else None
        free: SimpleQueue[Path] = SimpleQueue()
        for place in places:
            free.put(place)
        with ThreadPoolExecutor(TOGETHER) as pool:
            fates = pool.map(lambda mutant: _fate(mutant, free, reach), chosen.values())
            for number, (name, fate) in enumerate(zip(chosen, fates, strict=True), 1):
                reason = SURVIVORS.get(name, "") if fate == "survives" else ""
                print(f"{number:4} {fate:8} {name}{reason and '; ' + reason}", flush=True)
                if fate == "survives" and not reason:
                    alive.append(name)
    return alive


def _copy(root: Path, place: Path) -> Path:
    """Copy what the tests need."""
    left = shutil.ignore_patterns(".git", "build", "__pycache__", ".*_cache")
    return Path(shutil.copytree(root, place, ignore=left, symlinks=True))


def _fate(mutant: Mutant, free: SimpleQueue[Path], reach: Reach | None) -> str:
    """Return what becomes of a mutant in one of the copies that are free."""
    place = free.get()
    try:
        return "survives" if survives(mutant, place, reach) else "killed"
    except subprocess.TimeoutExpired:  # a loop without end, or a busy machine
        return "no end"
    finally:
        free.put(place)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sample."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, metavar="N", help="a new sample of so many mutants")
    parser.add_argument("--seed", type=int, default=0, help="which (default 0)")
    parser.add_argument("--room", default="", help="of one room only, such as golden")
    parser.add_argument("--keep", action="store_true", help="keep the new sample, and try none")
    args = parser.parse_args(argv)
    found = names_of(every_mutant())
    if args.sample is None:
        names = kept(found)
    else:
        able = [name for name, mutant in found.items() if mutant.path.startswith(f"npconv/{args.room}")]
        names = random.Random(args.seed).sample(able, min(args.sample, len(able)))
    if args.keep:
        KEPT.write_text("".join(f"{name}\n" for name in names), "utf-8")
        return 0
    chosen = {name: found[name] for name in names}
    alive = run(chosen, reaching=importlib.util.find_spec("coverage") is not None)
    share = 1 - len(alive) / len(chosen)
    print(f"{share:.1%} of {len(chosen)} mutants killed, of {len(found)}; expected at least {ENOUGH:.0%}")
    return 0 if share >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
