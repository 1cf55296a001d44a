# %% [markdown]
# # 12 · Port it yourself
#
# Now the other side: from nothing to a port that is proven right, first in C, then in another array library. The order
# of work is what matters. Small cases with known results come first, then one block, then the whole model. Whoever
# begins with the whole model and a photo searches a hundred arrays for one wrong line.
#
# You need lessons 06 and 08 (the block) and 11 (the traces). Afterwards you can test a port in any language, from its
# first function on. What this machine lacks, a C compiler or PyTorch, is skipped with a word.

# %%
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import showing
from npconv.cli import main
from npconv.golden import assert_close, cases
from npconv.golden.check import check
from npconv.layers import layer_norm
from showing import show_bars, show_table

# %% [markdown]
# ## Cases
#
# A *case* is a small input, its weights, and the right result in float64. There are cases for every operation, layer
# and block; `npconv golden list` prints them. Each is there to show something: sizes that all differ, so that no axis
# is taken for another; tiny values, so that eps is seen; large ones, so that squares overflow.

# %%
rows = []
for operation in ("depthwise_conv2d", "layer_norm", "global_response_norm", "convnextv2_block"):
    found = cases(operation)
    rows.append([operation, len(found), found[0].name, found[0].why])
show_table(["operation", "cases", "the first", "what it is for"], rows)
block_cases = cases("convnextv2_block")
assert len(set(block_cases[0].expected.shape)) == 4

# %% [markdown]
# The tolerance is 8 times the measured error of correct float32 arithmetic, so a failure is a mistake. A right function
# passes, here npconv's own. A wrong one is told what is wrong with it:

# %%
norm_cases = {case.name: case for case in cases("layer_norm")}
for case in norm_cases.values():
    assert_close(layer_norm(*case.inputs, **case.params, **case.attributes), case=case)
case = norm_cases["tiny_variance_map"]
said = ""
try:
    assert_close(layer_norm(*case.inputs, **case.params, axis=1, eps=1e-5), case=case)
except AssertionError as error:
    said = str(error)
print(said)
assert "fits LayerNorm eps 1e-5" in said

# %% [markdown]
# ## The block in C
#
# `port/convnextv2_block.c` beside this lesson is the block in 180 lines of plain C, half of them for files. Here is its
# middle, the layers and the residual:

# %%
source = Path(showing.__file__).with_name("port") / "convnextv2_block.c"
text = source.read_text(encoding="utf-8")
print(text[text.index("    depthwise(y, x,") : text.index("    FILE *file = fopen(argv[2]")])

# %% [markdown]
# A program that is to be checked takes a folder and the name of a file. The folder holds `case.json` and each array as
# raw float32; into the file goes its result. That is all, so any language will do. We compile it twice: as it is, and
# with an eps of 1e-5, PyTorch's default.


# %%
def compile_c(compiler, folder, name, *options):
    """Compile the C source; return the command that checks it."""
    program = f"{folder}/{name}"
    subprocess.run([compiler, "-O2", "-std=c99", *options, "-o", program, str(source), "-lm"], check=True)
    return f"{shlex.quote(program)} {{input}} {{output}}"


compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
shares = {}
if compiler is None:
    print("There is no C compiler on this machine: this part is skipped.")
else:
    with TemporaryDirectory() as folder:
        right = compile_c(compiler, folder, "block")
        assert main(["golden", "check", "convnextv2_block", "--command", right]) == 0
        for outcome in check(block_cases, right):
            shares[f"C, {outcome.case.name}"] = outcome.error / outcome.case.tolerance
        wrong = compile_c(compiler, folder, "block_eps", "-DEPS=1e-5f")
        assert main(["golden", "check", "convnextv2_block", "--command", wrong]) == 1
        for outcome in check(block_cases, wrong):
            assert "fits LayerNorm eps 1e-5" in outcome.says
            assert outcome.error < 1e-3

# %% [markdown]
# With the wrong eps, all three cases would have passed a test with the usual tolerance of 1e-3. They fail because the
# tolerance is measured, not habit. (`main` runs the command `npconv golden check` in this process.)
#
# ## The same in another array library
#
# With a library that can be called from Python there are no files in between: `cases` and `assert_close` do it, also in
# pytest. Here is the block in PyTorch. Try the same with JAX, MLX or CuPy.


# %%
def torch_block(torch, x, params, approximate="none"):
    """Return the block of V2 for a tensor (N, C, H, W)."""
    functional = torch.nn.functional
    residual = x
    x = functional.conv2d(x, params["dwconv.weight"], params["dwconv.bias"], padding=3, groups=x.shape[1])
    x = x.permute(0, 2, 3, 1)
    x = functional.layer_norm(x, x.shape[-1:], params["layernorm.weight"], params["layernorm.bias"], eps=1e-6)
    x = functional.linear(x, params["pwconv1.weight"], params["pwconv1.bias"])
    x = functional.gelu(x, approximate=approximate)
    strength = x.square().sum(dim=(1, 2), keepdim=True).sqrt()
    relative = strength / (strength.mean(dim=-1, keepdim=True) + 1e-6)
    x = params["grn.weight"] * (x * relative) + params["grn.bias"] + x
    x = functional.linear(x, params["pwconv2.weight"], params["pwconv2.bias"])
    return residual + x.permute(0, 3, 1, 2)


try:
    import torch
except ImportError:
    torch = None
    print("PyTorch is not installed: this part is skipped.")
if torch is not None:
    said = ""
    for case in block_cases:
        x = torch.tensor(case.inputs[0])
        params = {name: torch.tensor(array) for name, array in case.params.items()}
        y = torch_block(torch, x, params).numpy()
        assert_close(y, case=case)
        shares[f"PyTorch, {case.name}"] = float(np.abs(y - case.expected).max()) / case.tolerance
        if case.name == "block":
            try:
                assert_close(torch_block(torch, x, params, approximate="tanh"), case=case)
            except AssertionError as error:
                said = str(error)
    print(said)
    assert "fits tanh GELU" in said

# %% [markdown]
# How much of their tolerance do correct ports use up? Not much; that is the room for another order of summation.

# %%
if shares:
    show_bars(
        shares, "Largest error of each port, as a share of the case's tolerance", x_label="share of the tolerance"
    )
assert all(share < 1 for share in shares.values())

# %% [markdown]
# ## And then
#
# `npconv golden export DIR` writes all cases as files, for tests that need no Python, and a whole small model of each
# family with its trace. Build that, compare with `npconv diff`, and load the real checkpoint only when it agrees.
#
# ## Exercises
#
# 1. Write `my_grn(x, weight, bias, eps)` in NumPy, float32, channels first, so that it passes all cases of
#    `global_response_norm`. Weight and bias have C elements, but not always one axis.
# 2. A port passes every case of its block but `tiny_variance`. Which constant of its LayerNorm do you look at
#    first? (Its name.)

# %%
from exercises.lesson_12 import check_1, check_2

my_grn = None  # your function
check_1(my_grn)

# %%
my_constant = None  # a text
check_2(my_constant)
