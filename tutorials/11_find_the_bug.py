# %% [markdown]
# # 11 · Find the bug
#
# The port runs, the label is right, the logits are a little off. Rounding, or a mistake? And where, among eighty
# arrays? This lesson breaks a port in ways that real ports were broken, and lets `npconv diff` find each mistake: the
# first wrong array, whether the mistake was made there, and which known mistake gives such numbers.
#
# You need lessons 04 to 06 and 08. Afterwards you can debug a port array by array, and read the report of
# `npconv diff`. The reference for both is `npconv/golden/README.md`.

# %%
import io
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import npconv
from npconv.cli import main
from npconv.golden import compare, diagnose, record
from port import numpy_port as port
from showing import sample, show_curves, show_source

# %% [markdown]
# ## The truth
#
# A *golden trace* holds every array of one run by name: in float64, with the weights, and with the *noise*: how far
# correct float32 arithmetic was measured to land from each array. On the command line, `npconv trace` writes one.

# %%
processor = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")
pixel_values = processor(sample("ship.png"))["pixel_values"]
golden = record("convnextv2-cifar10", pixel_values)
print(f"{len(golden)} arrays, from {next(iter(golden))} to {list(golden)[-1]}")
assert golden["classifier"].dtype == np.float64

# %% [markdown]
# ## A port
#
# `port/numpy_port.py` is one: eighty lines of float32 with the channels last, as JAX or TensorFlow have them. It keeps
# what it computes under the names of the reference, the module paths of the Hugging Face model; not all are needed.
# Every layer is a function in a dict, so that we can put a broken one in its place.

# %%
show_source(port.run_port)
show_source(port.normalize)
show_source(port.respond)


# %%
def npconv_diff(mine):
    """Run `npconv diff golden.safetensors mine.npz`; print its report, return status and report."""
    with TemporaryDirectory() as folder:
        golden.save(Path(folder) / "golden.safetensors")
        mine.save(Path(folder) / "mine.npz")
        report = io.StringIO()
        with redirect_stdout(report):
            status = main(["diff", f"{folder}/golden.safetensors", f"{folder}/mine.npz"])
    text = report.getvalue().replace(f"{folder}/", "")
    print(text)
    return status, text


# %% [markdown]
# Without mistakes, nothing diverges, and the status is 0. The channels are last in one trace and first in the other;
# `diff` finds that out by itself. Each array has a tolerance of its own, 8 times its noise.

# %%
right = port.run_port(pixel_values, golden.params)
status, text = npconv_diff(right)
assert status == 0

# %% [markdown]
# ## Bug 1: the default of a library
#
# `jax.nn.gelu` is the tanh form unless told otherwise (lesson 05). The label stays, and so do the logits, nearly.


# %%
def tanh_gelu(x):
    """Return the tanh form of GELU."""
    return x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3))) / 2


mine = port.run_port(pixel_values, golden.params, {**port.RIGHT, "gelu": tanh_gelu})
status, text = npconv_diff(mine)
assert status == 1
for words in ("first divergence: convnextv2.encoder.stages.0.layers.0.act", "born here", "fits tanh GELU"):
    assert words in text
assert np.argmax(mine["classifier"]) == np.argmax(golden["classifier"])
assert np.allclose(mine["classifier"], golden["classifier"], atol=0.05)

# %% [markdown]
# *good* and *bad* are the last arrays inside their tolerance and the first outside. The step between is run again on
# *your* array: *born here* says that it is wrong by itself. Then every known mistake is tried in its place, and the one
# that gives your numbers is named.
#
# Every array has its own tolerance. The largest error of each, as a share of its largest value:

# %%
curves = {}
for label, arrays in (("right port", right), ("tanh GELU", mine)):
    differences = compare(golden, arrays).differences[1:]
    curves[label] = np.array([d.relative for d in differences])
curves["tolerance"] = np.array([d.tolerance / np.abs(golden[d.name]).max() for d in differences])
caption = "The right port stays below its tolerance, the other leaves it at the first GELU"
places = np.arange(1, 1 + len(differences))
show_curves(places, curves, caption, x_label="array, in the order of computation", y_label="relative error", log=True)
gelu = [d.name for d in differences].index("convnextv2.encoder.stages.0.layers.0.act")
assert np.all(curves["right port"] < curves["tolerance"])
assert np.all(curves["tanh GELU"][:gelu] < curves["tolerance"][:gelu])
assert curves["tanh GELU"][gelu] > 10 * curves["tolerance"][gelu]

# %% [markdown]
# ## Bugs 2 and 3: two at once
#
# The LayerNorm of Keras has an eps of 1e-3, and here kernels were stored column by column, too. Only the first mistake
# is seen: what follows it is wrong anyway. Correct it and run again. In Python, `compare` and `diagnose` do this.


# %%
def norm_of_keras(x, weight, bias):
    """LayerNorm with another eps."""
    return port.normalize(x, weight, bias, eps=1e-3)


def by_columns(x, weight, bias):
    """Take each kernel with its height and width swapped."""
    return port.depthwise(x, weight.transpose(0, 1, 3, 2), bias)


one = {**port.RIGHT, "dw": by_columns}
both = {**one, "norm": norm_of_keras}
found = []
for parts in (both, one):
    comparison = compare(golden, port.run_port(pixel_values, golden.params, parts))
    suspect = diagnose(comparison)[0]
    found.append(suspect.says)
    print(f"{comparison.first.name}: {suspect.says} (leaves {suspect.residual:.0e})")
    assert suspect.fits
assert found == ["LayerNorm eps 1e-3", "kernel transposed (height and width swapped)"]

# %% [markdown]
# ## Bug 4: one that nobody knows
#
# A mistake outside the catalogue still has a first wrong array. Here GRN takes the strengths of the upper half.


# %%
def half_blind(x, weight, bias):
    """GRN with the strengths of the upper half."""
    upper = x[:, : x.shape[1] // 2]
    strength = np.sqrt((upper * upper).sum(axis=(1, 2), keepdims=True))
    return weight * (x * strength / (strength.mean(axis=-1, keepdims=True) + np.float32(1e-6))) + bias + x


parts = {**port.RIGHT, "grn": half_blind}
comparison = compare(golden, port.run_port(pixel_values, golden.params, parts))
assert comparison.first.name == "convnextv2.encoder.stages.0.layers.0.grn"
assert not any(suspect.fits for suspect in diagnose(comparison))

# %% [markdown]
# Then `npconv diff --save-repro DIR` writes this one step with its inputs, weights and both results, and a script of
# ten lines that runs it. That is small enough to think about.
#
# ## Exercises
#
# 1. Port A is broken: `trace_a(golden)` of `exercises.lesson_11` is what it computes. Compare that with `golden`. In
#    which array does A leave it? (Its name.)
# 2. Port B, `trace_b(golden)`, has another mistake. Which? (The text `says` of the first suspect.)

# %%
from exercises.lesson_11 import check_1, check_2, trace_a, trace_b

comparison_a = compare(golden, trace_a(golden))
my_array = None  # the name of an array
check_1(my_array)

# %%
comparison_b = compare(golden, trace_b(golden))
my_mistake = None  # a text
check_2(my_mistake)
