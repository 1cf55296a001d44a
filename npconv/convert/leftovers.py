"""What is left over when the tensors of a model are found: each is described as what it is.

Beside a model's weights a file may hold what training left there: metrics, counters, buffers of a loss, the rest of a
larger network, a tensor under a second name. These are left behind and named. What is unknown may change the numbers:
it is refused, with the command that goes on.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from npconv.convert.dialects import BoundRule, Dialect, Values
from npconv.convert.strangers import MOST_NAMES
from npconv.errors import WeightsError
from npconv.messages import LONGEST_NAME, hint, listed, quoted

#: What leftovers are: no part of the model by the dialect's table; told by the caller; and by their names.
OTHER, TOLD = "no part of the model", "left behind as told"
DUPLICATE = "the same tensor under a second name"
NUMBER, METRIC = "a number that training kept", "a metric"
LOSS, REST, OPTIMIZER = "of a loss", "of a larger network", "of an optimizer"
BETWEEN = "of a larger network, after its backbone"
PICTURES = "how another library prepares pictures: compare it with --mean and --std"
AVERAGE = "a second copy under names without dots, an average perhaps"

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")

#: A component of a name -> what it says of a tensor, the first that fits.
_KINDS = (
    (OPTIMIZER, r"optimizers?|optim"),
    (LOSS, r"([^./]*_)?(criterions?|criteria|loss(es)?)(_[^./]*|\d*)"),
    (
        REST,
        r"(decode|decoder|auxiliary|aux|seg|segmentation|sem_seg|rpn|roi|bbox|mask|det|detection|dino|ibot|box|keypoint"
        r"|query|panoptic)_heads?\d*|fpn|fpn_(lateral|output)\d*|[^./]*decoder|proposal_generator|queue|queue_ptr"
        r"|mask_token|bbox_embed|class_embed|query_embed|class_predictor|text_encoder|online_finetuner",
    ),
    (BETWEEN, r"necks?|projectors?|predictor|projection(_head)?|mlp_head|input_proj|transformer(_module)?"),
    (
        PICTURES,
        r"(pixel|image)_(mean|std)|(data_preprocessor|normali[sz](e|er|ation))"
        r"(?=[./]([^./]*[./])*(mean|std|variance|count|\d)$)",
    ),
)
_KIND = re.compile(
    "(?:^|[./])(?:" + "|".join(f"(?P<k{i}>{p})" for i, (_, p) in enumerate(_KINDS)) + ")(?=[./]|$)", re.IGNORECASE
)

#: The projection head of DINO, which stands where a classifier would.
_DINO = re.compile(r"head\.(mlp|last_layer)\.")

#: Words in the name of a metric; a tensor of several numbers must have one of the first.
_METRICS = {
    *("acc", "accuracy", "metric", "metrics", "f1", "auroc", "auc", "confmat", "precision", "recall", "iou", "miou"),
    *("jaccard", "kappa", "confusion", "calibration"),
}
_COUNTERS = {
    *("loss", "epoch", "epochs", "step", "steps", "iter", "iters", "iteration", "lr", "averaged", "updates", "decay"),
    *("best", "score", "top", "ap", "map", "err", "error", "time", "version", "count", "num"),
}


Found = Mapping[str, tuple[BoundRule, Values]]


def sort_out(tensors: Mapping[str, Any], dialect: Dialect, found: Found) -> dict[str, str]:
    """Return the tensors that are left behind, and what each is.

    Parameters
    ----------
    tensors : mapping of str to array
        Of the file.
    dialect : Dialect
        Of the model.
    found : mapping of str to (BoundRule, Values)
        The rules of the tensors that the dialect knows.

    Raises
    ------
    WeightsError
        If one is unknown; names the option that goes on.
    """
    has_classifier = any(rule.ours.text.startswith("classifier") for rule, _ in found.values())
    left, open_names = {}, []
    for name, tensor in tensors.items():
        if name in found:
            continue
        left[name] = OTHER if dialect.is_skipped(name) else _kind(name, tensor, dialect)
        # What stands between the backbone and its classifier changes what the classifier gets.
        if not left[name] or (left[name] == BETWEEN and has_classifier):
            open_names.append(name)
        if len(open_names) > MOST_NAMES:
            break
    copied = _copies(open_names, tensors, dialect, found) if len(open_names) <= MOST_NAMES else {}
    unknown = next((name for name in open_names if name not in copied), None)
    if unknown is not None:
        raise _unknown(unknown, tensors[unknown], dialect)
    return left | copied


def described(left: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return a line for each kind of what is left behind, with the kind."""
    kinds = dict.fromkeys(left.values())
    return [
        (kind, f"left behind, {kind}: {listed([quoted(name) for name in left if left[name] == kind])}")
        for kind in kinds
    ]


def _kind(name: str, tensor: Any, dialect: Dialect) -> str:
    """Return what a tensor is by its name; empty if it may be of the model, or nothing is known."""
    if dialect.is_inside(name) or len(name) > LONGEST_NAME:
        return ""
    if _DINO.search(name):
        return REST
    found = _KIND.search(name)
    kind = _KINDS[int(found.lastgroup[1:])][0] if found is not None and found.lastgroup else ""
    words = {word.lower() for word in (*_WORDS.findall(name), *re.split(r"[._/]", name))}
    if tensor.size <= 1 and words & (_METRICS | _COUNTERS):
        return NUMBER
    return kind or (METRIC if words & _METRICS else "")


def _copies(names: list[str], tensors: Mapping[str, Any], dialect: Dialect, found: Found) -> dict[str, str]:
    """Return which of some tensors are the model's once more: equal ones, and those of an average."""
    averaged = {_flat(name.removeprefix(dialect.prefix)) for name in found}
    shapes = {tuple(tensors[name].shape) for name in names}
    known = {digest(tensors[name]): name for name in reversed(list(found)) if tuple(tensors[name].shape) in shapes}
    kinds: dict[str, str] = {}
    modules: dict[str, str] = {}  # a module of the copy -> that of the model
    for name in names:
        if dialect.is_inside(name) or len(name) > LONGEST_NAME:
            continue
        flat = _flat(name)
        if not re.search(r"[./]\d", name) and any(flat[start:] in averaged for start in range(1, len(flat) - 6)):
            kinds[name] = AVERAGE
        twin = known.get(digest(tensors[name]))
        if twin is not None and np.ptp(np.asarray(tensors[name])) > 0:  # many tensors are all 0 or 1
            modules[_module(name)] = _module(twin)
    for name in names:
        twin = f"{modules[_module(name)]}{name.removeprefix(_module(name))}" if _module(name) in modules else ""
        if twin in found and digest(tensors[twin]) == digest(tensors[name]):
            kinds[name] = DUPLICATE
    return kinds


def _module(name: str) -> str:
    """Return a name without its last part."""
    return re.sub(r"[^./]*$", "", name)


def _flat(name: str) -> str:
    """Return a name without what separates its parts: averages may be stored so."""
    return re.sub(r"[._/]", "", name)


def digest(tensor: Any) -> tuple[Any, ...]:
    """Return what two tensors have in common if they are equal."""
    values = np.ascontiguousarray(tensor)
    return values.shape, values.dtype.str, hashlib.sha256(values.tobytes()).digest()


def numbers_in(name: str) -> Values:
    """Return the first numbers that a name holds, as those of a stage and a block."""
    numbers = [int(part) for part in re.split(r"[./]", name) if part.isdecimal() and len(part) < 6]
    return dict(zip("ij", numbers, strict=False))


def _unknown(name: str, tensor: Any, dialect: Dialect) -> WeightsError:
    """Return the error for a tensor of which nothing is known."""
    others = (rule.theirs.fill(numbers_in(name)) for rule in dialect.rules)
    near = hint(name, (other for other in others if other != name))  # a stage may lack what the others have
    problem = f"{dialect.name} has no place for tensor {quoted(name)} of shape {tuple(tensor.shape)}{near}"
    head = dialect.head_of(name)
    if head:
        return WeightsError(
            f"{problem}: the head has several layers, and no tensor shows what is between them; "
            f"--leave {shlex.quote(f'{head}.*')} converts the model without it"
        )
    if dialect.is_inside(name):
        return WeightsError(f"{problem}; is it another architecture? npconv inspect shows the whole of it")
    if _kind(name, tensor, dialect) == BETWEEN:
        problem += ", which may stand between the model and its classifier"
    if dialect.wrapper and not name.startswith(dialect.wrapper):
        return WeightsError(f"{problem}; --prefix {shlex.quote(dialect.wrapper)} converts the model without it")
    group = re.match(r"[^./]*[./]", name[len(dialect.wrapper) :])
    beginning = name[: len(dialect.wrapper) + group.end()] if group else name
    pattern = re.sub(r"([*?\[])", r"[\1]", beginning) + ("*" if group else "")
    return WeightsError(f"{problem}; --leave {shlex.quote(pattern)} converts the model without it")
