# %% [markdown]
# # 06 · The ConvNeXt block, in two forms, and folded
#
# A ConvNeXt is a stem, a few downsamplings, a head, and otherwise the same block again and again. Checkpoints and
# runtimes disagree on how to write it: channels first or last, with or without a layer scale. This lesson shows which
# of these differences are none, and proves it in numbers.
#
# You need lessons 02 to 05. Afterwards you can write the block in either layout, fold two of its parts into its weights
# before shipping a model, and say what the block does differently in training.

# %%
import numpy as np

import npconv
from npconv.layers import depthwise_conv2d, drop_path, dropout, gelu, layer_norm, pointwise_conv2d
from npconv.models.convnext.model import layer
from showing import sample, show_pictures, show_source, show_table

# %% [markdown]
# ## The function
#
# Five layers, then the sum. A 7x7 depthwise convolution looks around in each channel (lesson 03). LayerNorm normalizes
# each position (lesson 04). Two products with matrices mix the channels of each position: from C to 4C and, after GELU,
# back to C. The *layer scale* is one trained factor for each channel. Adding the input is the *residual*.

# %%
show_source(layer)

# %% [markdown]
# Here is the first block of a trained network, with the map that its stem makes of a picture.

# %%
model = npconv.AutoModelForImageClassification.from_pretrained("convnext-cifar10", dtype="float64")
processor = npconv.AutoImageProcessor.from_pretrained("convnext-cifar10")
pixel_values = processor(sample("ship.png"))["pixel_values"].astype(np.float64)
x = model(pixel_values, output_hidden_states=True).hidden_states[0]
params = model.params["convnext"]["encoder"]["stages"][0]["layers"][0]
y = layer(x, **params, config=model.config)
C = x.shape[1]
assert y.shape == x.shape

# %%
scale = params["layer_scale_parameter"]
rows = [["layer_scale_parameter", str(scale.shape), ""]]
for name in ("dwconv", "layernorm", "pwconv1", "pwconv2"):
    rows.append([name, str(params[name]["weight"].shape), str(params[name]["bias"].shape)])
show_table(["part", "weight", "bias"], rows)
assert params["pwconv1"]["weight"].shape == (4 * C, C)
assert scale.shape == (C,)

# %% [markdown]
# ## Form one: channels first
#
# The steps by hand, on (N, C, H, W); the matrix products are 1x1 convolutions. This is what `layer` does.

# %%
looked = depthwise_conv2d(x, **params["dwconv"], padding=3)
normed = layer_norm(looked, **params["layernorm"], eps=1e-6, axis=1)
wide = pointwise_conv2d(normed, **params["pwconv1"])
bent = gelu(wide)
narrow = pointwise_conv2d(bent, **params["pwconv2"])
scaled = scale[:, None, None] * narrow
assert np.array_equal(x + scaled, y)

# %%
strength = {
    "input": np.sqrt((x**2).mean(axis=1))[0],
    "after the 7x7": np.sqrt((looked**2).mean(axis=1))[0],
    "added to the input": np.sqrt((scaled**2).mean(axis=1))[0],
    "output": np.sqrt((y**2).mean(axis=1))[0],
}
show_pictures(strength, "Strength at each position, each on its own scale: the first and the third add up", size=140)

# %% [markdown]
# ## Form two: channels last
#
# The original code turns the map to (N, H, W, C) after the 7x7, so that LayerNorm and the matrix products act on the
# last axis. A linear layer at each position *is* a 1x1 convolution: same numbers, other layout. Here in plain NumPy:

# %%
last = looked.transpose(0, 2, 3, 1)
deviation = last - last.mean(axis=-1, keepdims=True)
normed_last = deviation / np.sqrt(last.var(axis=-1, keepdims=True) + 1e-6)
normed_last = normed_last * params["layernorm"]["weight"] + params["layernorm"]["bias"]
wide_last = normed_last @ params["pwconv1"]["weight"].T + params["pwconv1"]["bias"]
narrow_last = gelu(wide_last) @ params["pwconv2"]["weight"].T + params["pwconv2"]["bias"]
second_form = x + (scale * narrow_last).transpose(0, 3, 1, 2)
assert np.allclose(second_form, y, rtol=0, atol=1e-10)

# %% [markdown]
# The two forms store their matrices as (O, C, 1, 1) or (O, C). `pointwise_conv2d` takes both; a reshape is all.

# %%
as_convolution = params["pwconv1"]["weight"].reshape(4 * C, C, 1, 1)
assert np.array_equal(pointwise_conv2d(normed, as_convolution, params["pwconv1"]["bias"]), wide)

# %% [markdown]
# ## Folding: the layer scale
#
# *Folding* merges a layer into the weights of its neighbour, once, before the model ships. The layer scale multiplies
# row c of `pwconv2` by a number, so row and bias can be multiplied beforehand. It is gone, and nothing has changed.

# %%
weight2 = scale[:, None] * params["pwconv2"]["weight"]
bias2 = scale * params["pwconv2"]["bias"]
assert np.allclose(pointwise_conv2d(bent, weight2, bias2), scaled, rtol=0, atol=1e-10)

# %% [markdown]
# ## Folding: weight and bias of LayerNorm
#
# LayerNorm ends with `weight * z + bias`, and `pwconv1` begins there. So its *columns* take the weight, and its bias
# takes what the matrix makes of LayerNorm's bias. The normalization itself stays: mean and variance depend on x.

# %%
weight1 = params["pwconv1"]["weight"] * params["layernorm"]["weight"][None, :]
bias1 = params["pwconv1"]["bias"] + params["pwconv1"]["weight"] @ params["layernorm"]["bias"]
plain = layer_norm(looked, np.ones(C), np.zeros(C), eps=1e-6, axis=1)
folded = x + pointwise_conv2d(gelu(pointwise_conv2d(plain, weight1, bias1)), weight2, bias2)
print(f"largest difference of the folded block: {np.abs(folded - y).max():.1e}")
assert np.allclose(folded, y, rtol=0, atol=1e-10)

# %% [markdown]
# Fold in float64 and round once. From the unfolded block in float32 the result differs by rounding: a test for equal
# bits fails, one with a tolerance passes. (`engine="fast"` of npconv folds both.) Forgetting the bias costs more:

# %%
model32 = npconv.AutoModelForImageClassification.from_pretrained("convnext-cifar10")
block32 = model32.params["convnext"]["encoder"]["stages"][0]["layers"][0]
rounded = layer(x.astype(np.float32), **block32, config=model32.config)
assert not np.array_equal(rounded, folded.astype(np.float32))
assert np.allclose(rounded, folded, rtol=0, atol=1e-4)
forgot = x + pointwise_conv2d(gelu(pointwise_conv2d(plain, weight1, params["pwconv1"]["bias"])), weight2, bias2)
assert np.abs(forgot - y).max() > 1e-3

# %% [markdown]
# ## In training only: drop path and dropout
#
# `drop_path` stands before the sum. It drops the whole branch of a picture at random, so that this picture skips the
# block, and divides the branches that are kept by `1 - rate`: the expected value stays the same.

# %%
branch = np.full((8, C, 4, 4), 3.0)
dropped = drop_path(branch, rate=0.25, rng=np.random.default_rng(1))
kept = np.random.default_rng(1).random(8) >= 0.25
expected = np.where(kept, 3.0 / 0.75, 0.0)
print(dropped[:, 0, 0, 0])
assert np.allclose(dropped, expected[:, None, None, None])
many = drop_path(np.ones((20000, 1)), rate=0.25, rng=np.random.default_rng(2))
assert abs(many.mean() - 1) < 0.03

# %% [markdown]
# `dropout` drops single numbers instead. ConvNeXt has none; CvT has it. With `rng=None`, both return their input: that
# is inference, and a port can leave them out.

# %%
values = np.full((50, 40), 3.0)
thinned = dropout(values, rate=0.25, rng=np.random.default_rng(3))
kept = np.random.default_rng(3).random((50, 40)) >= 0.25
assert np.allclose(thinned, np.where(kept, 3.0 / 0.75, 0.0))
assert np.array_equal(drop_path(branch, rate=0.25, rng=None), branch)
assert np.array_equal(dropout(values, rate=0.25, rng=None), values)
skipped = layer(x, **params, config=model.config, drop_path_rate=1.0, rng=np.random.default_rng(4))
assert np.array_equal(skipped, x)

# %% [markdown]
# ## Exercises
#
# 1. Write `fold_layer_scale(weight, bias, scale)`: the weight and bias of a `pwconv2` (O, C) that needs no layer scale.
# 2. Write `unfold_layer_norm(weight, bias, norm_weight, norm_bias)`: the weight and bias of `pwconv1` before folding.

# %%
from exercises.lesson_06 import check_1, check_2

my_fold = None  # your function
check_1(my_fold)

# %%
my_unfold = None  # your function
check_2(my_unfold)
