# %% [markdown]
# # 04 · LayerNorm: over what?
#
# Every ConvNeXt block normalizes once. The formula is short, and yet "which axis?" is the most frequent question about
# this network (facebookresearch/ConvNeXt, issues 19 and 112). A port that takes the wrong axis still runs, still gives
# ten plausible numbers, and is wrong.
#
# You need lesson 03 (maps and channels). Afterwards you can say what LayerNorm averages over in a network of maps, and
# when its epsilon matters.

# %%
import numpy as np

import npconv
from npconv.layers import layer_norm, rms_norm, simple_norm
from showing import sample, show_curves, show_pictures, show_source, show_table

# %% [markdown]
# ## The function
#
# A map is an array (N, C, H, W): N pictures, C channels, H x W positions. `layer_norm` takes the axis as an argument.
# ConvNeXt uses axis 1: at each position, the C numbers there are brought to mean 0 and variance 1.

# %%
show_source(layer_norm)

# %% [markdown]
# Let us look at a real map: what the stem's convolution makes of a picture. A
# LayerNorm over the channels follows it.

# %%
model = npconv.AutoModelForImageClassification.from_pretrained("convnextv2-cifar10", dtype="float64")
processor = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")
pixel_values = processor(sample("ship.png"))["pixel_values"].astype(np.float64)
stem = model.params["convnextv2"]["embeddings"]
x = npconv.layers.conv2d(pixel_values, **stem["patch_embeddings"], stride=2)
print(x.shape)
assert x.shape == (1, 40, 16, 16)

# %% [markdown]
# ## Over the channels, position by position
#
# Without its weight and bias, the result has mean 0 and variance 1 over the channels **at each of the 256 positions**.

# %%
ones = np.ones(40)
zeros = np.zeros(40)
over_channels = layer_norm(x, ones, zeros, eps=1e-6, axis=1)
means = over_channels.mean(axis=1)
variances = over_channels.var(axis=1)
assert np.abs(means).max() < 1e-12
assert np.abs(variances - 1).max() < 1e-4

# %% [markdown]
# Normalizing over channels *and* positions (what `nn.LayerNorm([C, H, W])` does, and GroupNorm with one group) gives
# one mean and one variance for the whole picture. The positions then keep their differences in strength.

# %%
centred = x - x.mean(axis=(1, 2, 3), keepdims=True)
over_all = centred / np.sqrt(x.var(axis=(1, 2, 3), keepdims=True) + 1e-6)
strength = {
    "before": np.sqrt((x**2).mean(axis=1))[0],
    "over C": np.sqrt((over_channels**2).mean(axis=1))[0],
    "over C, H, W": np.sqrt((over_all**2).mean(axis=1))[0],
}
show_pictures(strength, "Strength (root mean square over channels) at each position", same_scale=True)
assert np.ptp(strength["over C"]) < 1e-4
assert np.ptp(strength["over C, H, W"]) > 0.3

# %% [markdown]
# The middle picture is flat: with LayerNorm over C, no position is louder than another. A port that normalizes over
# everything is off by more than half of a value's usual size, which is 1:

# %%
difference = np.abs(over_all - over_channels).max()
print(f"largest difference: {difference:.2f}")
assert difference > 0.5

# %% [markdown]
# ## Epsilon: invisible, until it is not
#
# `eps` is added to the variance, so that nothing is divided by zero. The stem, the blocks and the downsampling have
# 1e-6; the last LayerNorm, before the classifier, has 1e-12 in the library `transformers`. Which of the two is used
# cannot be seen on healthy inputs: a test against stored right results with variance 1 never finds the mistake.

# %%
rng = np.random.default_rng(0)
healthy = rng.normal(size=(1, 40, 1, 1))
rows = []
for spread in (1.0, 0.1, 0.01, 0.001):
    scaled = spread * healthy
    right = layer_norm(scaled, ones, zeros, eps=1e-6, axis=1)
    wrong = layer_norm(scaled, ones, zeros, eps=1e-12, axis=1)
    rows.append([spread, float(np.abs(right - wrong).max())])
show_table(["standard deviation of the input", "largest error with eps 1e-12"], rows)
assert rows[0][1] < 1e-5
assert rows[-1][1] > 0.3

# %%
spreads = np.logspace(-4, 1, 60)
kept = {}
for eps in (1e-5, 1e-6, 1e-12):
    kept[f"eps {eps:g}"] = np.array([layer_norm(s * healthy, ones, zeros, eps=eps, axis=1).std() for s in spreads])
show_curves(
    np.log10(spreads),
    kept,
    "Standard deviation after LayerNorm: where it falls below 1, epsilon decides the result",
    x_label="log10 of the standard deviation before",
    y_label="after",
)
assert kept["eps 1e-06"][0] < 0.2 < 0.99 < kept["eps 1e-06"][-1]

# %% [markdown]
# ## Two relatives that keep the mean
#
# Some ConvNeXts of timm divide without subtracting: RMS norm by the root of the mean square, `simple_norm` by the
# standard deviation, whose variance divides by C - 1. On values of mean 0 all three agree, up to that C - 1; elsewhere
# they do not, and no shape of a weight shows which of them a model was trained with.

# %%
around = healthy - healthy.mean()
same = layer_norm(around, ones, zeros, eps=0, axis=1)
assert np.allclose(rms_norm(around, ones, eps=0, axis=1), same)
assert np.allclose(simple_norm(around, ones, eps=0, axis=1), same * np.sqrt(39 / 40))
shifted = around + 3
for normalize in (rms_norm, simple_norm):
    assert np.abs(normalize(shifted, ones, eps=0, axis=1) - same).max() > 0.5
assert np.allclose(simple_norm(shifted, ones, eps=0, axis=1), shifted / shifted.std(ddof=1))

# %% [markdown]
# **For a port:** test LayerNorm on inputs of tiny variance, too. The stored inputs that npconv has for
# LayerNorm include such (lesson 12), and lesson 11 shows how the mistake is named.
#
# ## Exercises
#
# 1. Write `layer_norm` for an array (N, H, W, C), with the channels last, eps 1e-6, as a function of (x, weight, bias).
# 2. At which standard deviation of the input does eps = 1e-6 make the result 10 % too small? (A formula, or a search.)

# %%
from exercises.lesson_04 import check_1, check_2

my_layer_norm = None  # your function
check_1(my_layer_norm)

# %%
my_deviation = None  # your number
check_2(my_deviation)
