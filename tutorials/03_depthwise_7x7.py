# %% [markdown]
# # 03 · Depthwise 7x7: shift and add
#
# A ConvNeXt is a stem, then *stages* of equal *blocks* (lesson 06), between them *downsamplings* (LayerNorm and a 2x2
# convolution of stride 2), at last the *head*: average, LayerNorm, a matrix product to the classes. ConvNeXt-T is the
# smallest of the paper. The blocks look around with windows of 7 x 7, one channel at a time. In V1 nothing else in a
# block lets a position see its neighbours. Who knows its reach knows which differences between two ports can have come
# from it.
#
# You need lesson 02. Afterwards you can write the layer in a dozen lines, say what it costs, explain why a 1x1
# convolution and a linear layer are one thing, and measure how far a network sees.

# %%
import numpy as np

import npconv
from npconv.golden import trace
from npconv.layers import conv2d, depthwise_conv2d, linear, pad_end, pointwise_conv2d
from npconv.models.summary import layer_table
from showing import sample, show_curves, show_pictures, show_source, show_table

# %% [markdown]
# ## Shift and add
#
# *Depthwise* means: each channel has one kernel of its own, and no channel sees another. The weight is (C, 1, 7, 7). A
# weight at row u, column v of the kernel multiplies the map shifted by (u, v): the layer is a sum of 49 shifted maps.
# Padding 3 keeps the size.

# %%
model = npconv.AutoModelForImageClassification.from_pretrained("convnextv2-cifar10", dtype="float64")
processor = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")
pixel_values = processor(sample("ship.png"))["pixel_values"].astype(np.float64)
x = conv2d(pixel_values, **model.params["convnextv2"]["embeddings"]["patch_embeddings"], stride=2)
block = model.params["convnextv2"]["encoder"]["stages"][0]["layers"][0]
weight = block["dwconv"]["weight"]
bias = block["dwconv"]["bias"]
assert weight.shape == (40, 1, 7, 7)

# %%
framed = np.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)))
y = np.zeros(x.shape)
for u in range(7):
    for v in range(7):
        shifted = framed[:, :, u : u + 16, v : v + 16]
        y += weight[:, 0, u, v, None, None] * shifted
y += bias[:, None, None]

# %% [markdown]
# One number by the definition of lesson 02, to see that the sum is right: channel 5, row 8, column 4.

# %%
window = framed[0, 5, 8:15, 4:11]
by_definition = (weight[5, 0] * window).sum() + bias[5]
assert abs(y[0, 5, 8, 4] - by_definition) < 1e-12

# %% [markdown]
# The library's function is the same loop. In the language of `conv2d` it has `groups=C`: the channels are cut into C
# groups, and outputs see the inputs of their own group only.

# %%
show_source(depthwise_conv2d)
assert np.abs(depthwise_conv2d(x, weight, bias, padding=3) - y).max() < 1e-12
assert np.abs(conv2d(x, weight, bias, padding=3, groups=40) - y).max() < 1e-12
# With a dilation of 2, the kernel sees inputs two apart: on every second row and column, that is the usual convolution.
dilated = depthwise_conv2d(x, weight, padding=6, dilation=2)
assert np.allclose(dilated[:, :, ::2, ::2], depthwise_conv2d(x[:, :, ::2, ::2], weight, padding=3))
# A 2x2 convolution that halves the map keeps its size with stride 1, and a row and a column of zeros at the end.
halving = weight[:, :, :2, :2].repeat(40, axis=1)
assert np.allclose(conv2d(pad_end(x), halving)[:, :, ::2, ::2], conv2d(x, halving, stride=2))
strongest = np.argsort(np.abs(weight).max(axis=(1, 2, 3)))[::-1][:8]
kernels = {f"channel {channel}": weight[channel, 0] for channel in strongest}
show_pictures(kernels, "Eight trained 7x7 kernels of the first block: where each channel looks", size=100, columns=4)

# %% [markdown]
# ## Mixing the channels
#
# What depthwise leaves out, a *pointwise* convolution does: a window of 1 x 1 over all channels. There is nothing to
# gather. At each position it multiplies the vector of C numbers by a matrix (O, C). The same matrix on arrays with the
# channels last is called a *linear* layer. Checkpoints write it either way, (O, C, 1, 1) or (O, C).

# %%
mix = block["pwconv1"]
mixed = pointwise_conv2d(y, mix["weight"], mix["bias"])
by_einsum = np.einsum("oc,nchw->nohw", mix["weight"], y) + mix["bias"][:, None, None]
assert np.abs(mixed - by_einsum).max() < 1e-12
assert np.array_equal(pointwise_conv2d(y, mix["weight"][:, :, None, None], mix["bias"]), mixed)
channels_last = linear(y.transpose(0, 2, 3, 1), mix["weight"], mix["bias"])
assert np.abs(channels_last - by_einsum.transpose(0, 2, 3, 1)).max() < 1e-12

# %% [markdown]
# **Trap:** a linear layer multiplies by the *transposed* weight. Where inputs and outputs are equally many, it can be
# forgotten without an error.

# %%
show_source(linear)
square = mix["weight"][:40]
assert (y[0, :, 8, 8] @ square).shape == linear(y[0, :, 8, 8], square).shape
assert np.abs(y[0, :, 8, 8] @ square - linear(y[0, :, 8, 8], square)).max() > 1e-3

# %% [markdown]
# ## What it costs
#
# Multiply-adds at each position, for C channels: k * k * C depthwise, k * k * C * C for a full convolution, C * C
# pointwise. With 96 channels, as in the first stage of ConvNeXt-T:

# %%
channels = 96
rows = []
for k in (3, 7, 11):
    depthwise = k * k * channels
    full = k * k * channels * channels
    rows.append([f"{k} x {k}", depthwise, channels * channels, full, full / (depthwise + channels * channels)])
show_table(["window", "depthwise", "pointwise", "full", "full / (depthwise + pointwise)"], rows)
assert rows[1][1] < rows[1][2]
assert rows[1][4] > 30

# %% [markdown]
# From 50 channels on, 7 x 7 depthwise costs less than one pointwise product: 49 C against C * C. In a block, which has
# two pointwise layers of 4 C * C, it is a small part. The table of the real ConvNeXt-T says how small:

# %%
totals = {"depthwise": 0, "all": 0}
for row in layer_table(npconv.ConvNextConfig(num_labels=1000), 224, 224):
    totals["all"] += row.multiply_adds
    if row.kind.startswith("depthwise"):
        totals["depthwise"] += row.multiply_adds
share = totals["depthwise"] / totals["all"]
print(f"depthwise: {share:.1%} of all multiply-adds")
assert share < 0.03

# %% [markdown]
# ## How far a position sees
#
# The *receptive field* of a position is the part of the picture that can change its value. In theory: one patch of
# 2 x 2 pixels after the stem, and each 7 x 7 window adds 3 patches on each side. After two blocks it is 1 + 2 * 6 = 13
# patches wide. We ask the model from the other side (a window reaches as far to each side, so the answer is the same):
# change one patch in the middle, and see which positions notice in the arrays that `trace` keeps by their names.


# %%
def reach(name):
    """Return the largest change at each position: after the stem, after two blocks and after three."""
    pair = np.repeat(pixel_values, 2, axis=0)
    pair[1, :, 16:18, 16:18] += 1
    with trace() as arrays:
        npconv.AutoModelForImageClassification.from_pretrained(name, dtype="float64")(pair)
    family = name.partition("-")[0]
    places = ("embeddings.layernorm", "encoder.stages.0.layers.1", "encoder.stages.0.layers.2")
    return [np.abs(np.diff(arrays[f"{family}.{place}"], axis=0)).max(axis=(0, 1)) for place in places]


first = reach("convnext-cifar10")
second = reach("convnextv2-cifar10")
names = ["stem", "ConvNeXt, 2 blocks", "ConvNeXt, 3 blocks", "ConvNeXt V2, 2 blocks"]
changes = [first[0], first[1], first[2], second[1]]
noticed = {name: change > 1e-9 for name, change in zip(names, changes, strict=True)}
show_pictures(noticed, "Yellow: positions that notice a change of one patch", size=140, same_scale=True)
assert noticed["stem"].sum() == 1
assert noticed["ConvNeXt, 2 blocks"][2:15, 2:15].all()
assert noticed["ConvNeXt, 2 blocks"].sum() == 13 * 13

# %% [markdown]
# Exactly 13 x 13, and after three blocks all. **In ConvNeXt V2 all notice before**: its GRN (lesson 08) takes a sum
# over the whole map. A port's error there is everywhere; one in a 7x7 window stays near. And the field in effect is
# smaller than in theory: at its edge (columns 2 and 14), the change is much weaker than in the middle (column 8).

# %%
curves = {"ConvNeXt": first[1][8] + 1e-6, "ConvNeXt V2": second[1][8] + 1e-6}
caption = "Change along row 8 after two blocks (plus 1e-6): ConvNeXt has none outside columns 2 to 14, V2 has"
show_curves(np.arange(16), curves, caption, x_label="column", y_label="largest change", log=True)
assert noticed["ConvNeXt, 3 blocks"].all()
assert noticed["ConvNeXt V2, 2 blocks"].all()
assert first[1][8, 2] < 0.5 * first[1][8, 8]
assert first[1][8, 14] < 0.5 * first[1][8, 8]

# %% [markdown]
# ## Exercises
#
# 1. How many positions wide is the field after b blocks of k x k windows: `field(b, k)`?
# 2. Write `depthwise(x, weight)` for (N, H, W, C) and a weight (7, 7, C), padding 3: the layout of TensorFlow.

# %%
from exercises.lesson_03 import check_1, check_2

my_field = None  # your function
check_1(my_field)

# %%
my_depthwise = None  # your function
check_2(my_depthwise)
