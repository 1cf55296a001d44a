"""What ``import npconv`` loads, what it offers, and that imports inside the package run one way."""

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import npconv
from npconv.cli.program import COMMANDS

PACKAGE = Path(npconv.__file__).parent

#: The rooms from the ground up: a room may import those before it, never one after it.
ROOMS = (
    *(
        "_version",
        "startup",
        "errors",
        "messages",
        "html",
        "backend",
        "tensors",
        "cores",
        "forks",
        "zoo",
        "layers",
        "gradients",
        "files",
    ),
    *("weights", "images", "plan", "fast", "models", "workers", "convert", "hub", "api"),
    *("image_utils", "pipelines", "modeling_outputs", "golden", "pictures", "training", "bench", "cli"),
)

#: Arrows that run up and are still to be turned round: module -> room.
TO_BE_TURNED: dict[str, set[str]] = {}


def run_python(code: str, *options: str) -> str:
    """Run `code` in a fresh interpreter and return what it prints; a word on stderr or a failure is an error."""
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_import_loads_numpy_and_the_standard_library_only():
    """Compared with what NumPy loads by itself: it has parts without a file of their own."""
    loaded = run_python(
        "import sys, numpy, numpy.random\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "import npconv\n"
        "after = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(after - before - set(sys.stdlib_module_names)))"
    )
    assert loaded.split() == ["npconv"]


def test_numpy_itself_is_loaded_when_a_name_needs_it():
    """It takes three quarters of the time that both would take: ``npconv --help`` and wrong calls do without."""
    assert run_python("import sys, npconv\nprint('numpy' in sys.modules)") == "False\n"
    assert run_python("import sys, npconv\nnpconv.ConvNextConfig\nprint('numpy' in sys.modules)") == "True\n"


def test_all_public_names_together_load_run_time_dependencies_only():
    loaded = run_python(
        "import sys\n"
        "before = set(sys.modules)\n"
        "import npconv\n"
        "for name in npconv.__all__: getattr(npconv, name)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(*sorted(name for name in new if getattr(sys.modules[name], '__file__', None)))"
    )
    third_party = {name for name in loaded.split() if not name.startswith("_")}  # NumPy's and SciPy's own helpers
    assert third_party <= {"npconv", "numpy", "scipy", "PIL"}


def test_no_library_is_loaded_before_it_is_asked_for():
    """By a call with NumPy alone: the names are looked for among what is loaded in a fresh process."""
    loaded = run_python(
        "import sys, numpy as np, npconv\n"
        "processor = npconv.AutoImageProcessor.from_pretrained('convnextv2-cifar10')\n"
        "inputs = processor(images=np.zeros((40, 30, 3), np.uint8), return_tensors='np').to('cpu', 'float32')\n"
        "model = npconv.AutoModelForImageClassification.from_pretrained('convnextv2-cifar10', device=-1)\n"
        "print(model(**inputs, labels=[3]).logits.shape)\n"
        "print(*{'torch', 'tensorflow', 'jax', 'jaxlib', 'mlx', 'keras', 'ml_dtypes', 'cupy'} & set(sys.modules))"
    )
    assert loaded.split("\n") == ["(1, 10)", "", ""]


def test_a_photo_is_classified_without_what_it_does_not_need():
    """Each takes milliseconds to load: random numbers, the way back, workers, and what other commands need."""
    picture = PACKAGE / "zoo" / "samples" / "ship.png"
    loaded = run_python(
        f"import sys\nfrom npconv.cli import main\nmain(['classify', {str(picture)!r}])\nprint('loaded', *sys.modules)"
    )
    names = set(loaded.partition("\nloaded ")[2].split())
    assert "npconv.cli.classify" in names
    others = {f"npconv.cli.{command}" for command in COMMANDS} - {"npconv.cli.classify"}
    heavy = {"numpy.random", "scipy.optimize", "npconv.gradients", "npconv.plan", "npconv.bench", "npconv.golden"}
    workers = {"npconv.workers.pool", "npconv.workers.process", "npconv.workers.cluster", "npconv.api.folded"}
    assert names & (others | heavy | workers | {"csv", "hashlib", "npconv.training", "npconv.pictures"}) == set()


def test_a_command_line_alone_seldom_looks_for_garbage():
    code = "import gc, sys; usual = gc.get_threshold(); sys.argv[0] = {!r}; import npconv; "
    code += "print(gc.get_threshold() == usual)"
    assert run_python(code.format("/bin/npconv")) == "False\n"
    assert run_python(code.format("program.py")) == "True\n"


def test_import_is_silent_with_warnings_as_errors():
    assert run_python("import npconv", "-W", "error") == ""


@pytest.mark.parametrize("name", npconv.__all__)
def test_every_public_name_resolves(name):
    assert getattr(npconv, name) is not None
    assert name in dir(npconv)


def test_packages_are_reached_through_the_root():
    code = "import npconv; print(npconv.layers.gelu.__module__, npconv.golden.__name__)"
    assert run_python(code).split() == ["npconv.layers.activations", "npconv.golden"]


def test_the_public_face_is_complete():
    families = ["ConvNext", "ConvNextV2", "Cvt"]
    promised = [f"{family}{kind}" for family in families for kind in ("Config", "Model", "ForImageClassification")]
    promised += ["ConvNextBackbone", "ConvNextV2Backbone", "ConvNextImageProcessor", "ConvNextFeatureExtractor"]
    promised += ["AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoBackbone", "AutoImageProcessor"]
    assert {*promised, "pipeline", "__version__", "NpconvError"} <= set(npconv.__all__)
    assert len(set(npconv.__all__)) == len(npconv.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'npconv' has no attribute 'ResNetModel'"):
        _ = npconv.ResNetModel
    assert not hasattr(npconv, "ResNetModel")


def test_every_module_has_the_names_that_it_says():
    """As ``from module import *`` takes them, in a process where nothing else has been imported."""
    names = [name for name in (*MODULES, *OTHERS) if not name.endswith("__main__")]
    run_python(f"for name in {names!r}: exec(f'from {{name}} import *', {{}})")
    told = run_python("from npconv.weights.safetensors import *; print(save_file.__module__, __name__)")
    assert told.split() == ["npconv.files.safetensors", "__main__"]


@pytest.mark.parametrize("name", ["npconv.weights.safetensors", "npconv.files.safetensors"])
def test_the_older_name_of_a_module_has_its_names(name):
    module = importlib.import_module(name)
    assert {"load_file", "save_file", "load", "save", "read_metadata"} <= set(module.__all__)
    assert all(hasattr(module, each) for each in module.__all__)


def test_errors_belong_to_one_family():
    for name in npconv.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(npconv, name), npconv.NpconvError)
    assert issubclass(npconv.InputError, ValueError)


def modules() -> dict[str, Path]:
    """Return the files of the package by module name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()

#: Those beside the package.
OTHERS = [f"weights_tools.{path.stem}" for path in (PACKAGE.parent / "weights_tools").glob("[!_]*.py")]


def room(module: str) -> str:
    """Return the room that a module stands in: the second part of its name."""
    return "__init__" if module == "npconv" else module.split(".")[1]


def without_type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module, but not those under ``if TYPE_CHECKING``, which never run."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield node
            yield from without_type_checking(node)


def imports(module: str) -> Iterator[str]:
    """Yield the modules of the package that `module` imports, anywhere in its file."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in without_type_checking(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "npconv")
        elif isinstance(node, ast.ImportFrom):
            parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (parent, node.module) if part)
            if base.partition(".")[0] == "npconv":
                names = {f"{base}.{alias.name}" for alias in node.names}
                submodules = names & MODULES.keys()
                yield from submodules
                if names - submodules:
                    yield base


#: Texts that are the name of a module of the project.
MODULE_NAME = re.compile(r"(npconv|weights_tools)(\.[a-z_0-9]+)+")


def named(module: str) -> Iterator[str]:
    """Yield the modules that `module` names in a text, as ``importlib.import_module`` takes them."""
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE_NAME.fullmatch(node.value):
            yield node.value


def runs_up(module: str) -> set[str]:
    """Return the rooms above its own that a module imports, by a statement or by a text."""
    if module in ("npconv", "npconv.__main__"):
        return set()
    reached = {
        room(name) if name.startswith("npconv") else "weights_tools" for name in (*imports(module), *named(module))
    }
    below = set(ROOMS[: ROOMS.index(room(module)) + 1])
    return reached - below - {"__init__"}


def test_every_room_has_its_place():
    assert {room(module) for module in MODULES} <= {*ROOMS, "__init__", "__main__"}


def test_arrows_run_down_only():
    found = {module: rooms for module in MODULES if (rooms := runs_up(module))}
    assert found == TO_BE_TURNED


def test_no_module_imports_itself_in_a_circle():
    graph = {module: {name for name in imports(module) if name in MODULES} for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_nothing_optional_is_imported_at_the_top_of_a_module():
    """Extras are imported where they are needed, so that their absence is an error of that call alone."""
    dependencies = {"numpy", "scipy", "PIL", "npconv", *sys.stdlib_module_names}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Import):
                tops = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                tops = {node.module.partition(".")[0]}
            else:
                tops = set()
            assert tops <= dependencies, f"{module} imports {tops - dependencies}"
