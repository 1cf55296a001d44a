# %% [markdown]
# # 05 · Three functions called GELU
#
# Between two matrix products, a network bends its numbers with an *activation function*, element by element. ConvNeXt's
# is GELU. Three different functions go by that name, and libraries disagree on which one they mean. A port that
# takes the wrong one may still name the right class, and its numbers agree with the original's to a few digits only.
#
# You need lesson 01 (from a photo to `x`). Afterwards you can tell the three apart by their errors, say which name in a
# `config.json` means which function, and say which tolerance of a test would let the wrong one pass.

# %%
import numpy as np
from scipy.special import ndtr

import npconv
from npconv import layers
from npconv.layers import ACTIVATIONS, activation, gelu, gelu_tanh, quick_gelu, relu
from showing import sample, show_curves, show_source, show_table

# %% [markdown]
# ## Why an activation at all
#
# Two matrix products one after the other are one matrix product. Something between them must not be linear, or the
# second layer adds nothing. The simplest such function is ReLU: negative numbers become 0. GELU is a smooth ReLU. It
# multiplies x by the probability that a normally distributed random number is below x.

# %%
rng = np.random.default_rng(0)
first, second = rng.normal(size=(2, 4, 4))
vector = rng.normal(size=4)
assert np.allclose(second @ (first @ vector), (second @ first) @ vector)
assert not np.allclose(second @ relu(first @ vector), (second @ first) @ vector)

# %%
show_source(gelu)
show_source(gelu_tanh)
show_source(quick_gelu)

# %% [markdown]
# The first is exact: `erf` is the integral of the bell curve, scaled. The others replace it by functions that were
# cheaper: a hyperbolic tangent, and a logistic curve. `@elementwise` turns float16 into float32 and the result back.

# %%
x = np.linspace(-6, 6, 2401)
exact = gelu(x)
assert np.allclose(exact, x * ndtr(x))  # ndtr(x): the probability in question
shown = np.abs(x + 1.5) <= 2.5
curves = {"gelu": exact, "gelu_tanh": gelu_tanh(x), "quick_gelu": quick_gelu(x), "relu": relu(x)}
curves = {name: y[shown] for name, y in curves.items()}
show_curves(x[shown], curves, "ReLU and the three GELUs, which nearly lie on each other", x_label="x", y_label="result")

# %% [markdown]
# The difference from the exact GELU, on a logarithmic scale, shows what the curves hide. The tanh form is wrong by at
# most 4.7e-4, near x = 2.7; the quick form by at most 2.0e-2, near x = 2.3.

# %%
tanh_error = np.abs(gelu_tanh(x) - exact)
quick_error = np.abs(quick_gelu(x) - exact)
show_curves(
    x[shown],
    {"gelu_tanh": tanh_error[shown] + 1e-9, "quick_gelu": quick_error[shown] + 1e-9},
    "Difference from the exact GELU (+ 1e-9, so that 0 can be drawn): it dips where the curves cross",
    x_label="x",
    y_label="difference",
    log=True,
)
assert abs(tanh_error.max() - 4.7e-4) < 1e-5
assert abs(quick_error.max() - 2.0e-2) < 1e-3
assert abs(abs(x[tanh_error.argmax()]) - 2.7) < 0.05
assert abs(abs(x[quick_error.argmax()]) - 2.27) < 0.05

# %% [markdown]
# ## Which name means which function
#
# The field `hidden_act` of a `config.json` names the activation. `activation(name)` looks the name up in a table. The
# names do not help: `gelu_new`, `gelu_fast` and `gelu_accurate` are all the tanh form, `gelu_python` is the exact one.
# Below, every name is checked against its formula, written once more in plain NumPy.

# %%
inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
softplus = np.log(1 + np.exp(x))
formulas = {
    gelu: x * ndtr(x),
    gelu_tanh: x * (1 - 1 / (1 + np.exp(2 * inner))),
    quick_gelu: x / (1 + np.exp(-1.702 * x)),
    relu: np.where(x > 0, x, 0),
    layers.silu: x / (1 + np.exp(-x)),
    layers.selu: 1.05070098 * np.where(x > 0, x, 1.67326324 * (np.exp(x) - 1)),
    layers.mish: x * np.tanh(softplus),
    layers.hardswish: np.where(x < -3, 0, np.where(x > 3, x, x * (x + 3) / 6)),
    layers.identity: x,
}
rows = []
for name, listed in ACTIVATIONS.items():
    function = activation(name)
    expected = formulas[listed]
    assert np.allclose(function(x), expected, rtol=1e-7, atol=1e-12)
    difference = float(np.abs(expected - exact).max())
    rows.append([name, function.__name__, difference])
show_table(["hidden_act", "function", "largest difference from gelu, x from -6 to 6"], rows)
for function, expected in formulas.items():
    assert np.allclose(function(x), expected, rtol=1e-7, atol=1e-12)
assert ACTIVATIONS["gelu_new"] is ACTIVATIONS["gelu_fast"] is ACTIVATIONS["gelu_accurate"]
assert ACTIVATIONS["gelu_python"] is gelu

# %% [markdown]
# ## Through eighteen blocks
#
# ConvNeXt-T has 18 blocks in four stages of 3, 3, 9 and 3. Here is a narrow network of the same depth, with random
# weights. It runs with each GELU on the same noise picture, and once more with the exact GELU in float32, to see what
# rounding alone does. `hidden_states` are the maps after the stem and after each stage.

# %%
noise = np.random.default_rng(0).normal(size=(1, 3, 64, 64))


def run(hidden_act, dtype):
    """Return the maps after 0, 3, 6, 15 and 18 blocks."""
    sizes = {"hidden_sizes": [32, 64, 128, 256], "depths": [3, 3, 9, 3]}
    spread = {"layer_scale_init_value": 1.0, "initializer_range": 0.1}
    config = npconv.ConvNextConfig(**sizes, **spread, hidden_act=hidden_act)
    network = npconv.ConvNextModel(config, dtype=dtype)
    return network(noise.astype(dtype), output_hidden_states=True).hidden_states


right = run("gelu", "float64")
wrong = [run("gelu", "float32"), run("gelu_new", "float64"), run("quick_gelu", "float64")]
rows = []
for index, blocks in enumerate([0, 3, 6, 15, 18]):
    errors = [float(np.abs(maps[index] - right[index]).max()) for maps in wrong]
    rows.append([blocks, float(np.abs(right[index]).max()), *errors])
show_table(["blocks", "largest value", "error: float32", "error: gelu_tanh", "error: quick_gelu"], rows)

# %% [markdown]
# A single tanh GELU is off by 4.7e-4 at most. After 18 blocks the map is off by several times that, and by hundreds of
# times more than by rounding. A test with the tolerance 1e-2 lets the tanh form pass; one with 1e-4 catches it.

# %%
_, _, rounding, tanh_total, quick_total = rows[-1]
assert tanh_total > 4 * 4.7e-4
assert tanh_total > 100 * rounding
assert quick_total > 10 * tanh_total
assert np.allclose(wrong[1][-1], right[-1], rtol=1e-2, atol=1e-2)
assert not np.allclose(wrong[1][-1], right[-1], rtol=1e-4, atol=1e-4)
assert np.allclose(wrong[0][-1], right[-1], rtol=1e-4, atol=1e-4)

# %% [markdown]
# In a trained network, the class does not give the mistake away. The logits do, the ten numbers whose largest names it:

# %%
model = npconv.AutoModelForImageClassification.from_pretrained("convnextv2-cifar10", dtype="float64")
processor = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")
pixel_values = processor(sample("ship.png"))["pixel_values"].astype(np.float64)
expected = model(pixel_values).logits[0]
rows = []
for name in ("gelu_new", "quick_gelu", "relu"):
    model.config.hidden_act = name
    logits = model(pixel_values).logits[0]
    rows.append([name, model.config.id2label[int(logits.argmax())], float(np.abs(logits - expected).max())])
show_table(["hidden_act", "class", "largest error of a logit"], rows)
assert {row[1] for row in rows} == {"ship"}
assert 1e-5 < rows[0][2] < rows[1][2] < rows[2][2]

# %% [markdown]
# Even ReLU, a different function, says "ship". **For a port:** compare numbers, not classes, and look up what your
# library's GELU is. `torch.nn.GELU()`, `keras.activations.gelu` and ONNX's `Gelu` are exact by default; `jax.nn.gelu`
# is the tanh form by default.
#
# ## Exercises
#
# 1. Write `quick_gelu` with one call of `silu`, as a function of x.
# 2. A port gives f(-1) = -0.26894, f(1) = 0.73106 and f(3) = 2.85772. Which `hidden_act` has it taken? (A name.)

# %%
from exercises.lesson_05 import check_1, check_2

my_quick_gelu = None  # your function
check_1(my_quick_gelu)
my_name = None  # your text
check_2(my_name)
