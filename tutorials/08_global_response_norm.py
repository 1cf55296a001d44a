# %% [markdown]
# # 08 · GRN: channels that compete, and where float16 overflows
#
# ConvNeXt V2 (https://arxiv.org/abs/2301.00808) drops the layer scale and puts *global response normalization*
# elsewhere: 7x7, LayerNorm, pwconv1, GELU, **GRN on the 4C channels**, pwconv2, sum. It sums squares over all
# positions: a port in float16 that was right on small pictures fails on large ones.
#
# You need lessons 04 (LayerNorm) and 06 (the block). Afterwards you can say what GRN does to a map, measure whether
# channels have collapsed, and tell from a picture's size whether a float16 port is in danger.

# %%
import numpy as np

import npconv
from npconv.golden import trace
from npconv.layers import depthwise_conv2d, gelu, global_response_norm, layer_norm, pointwise_conv2d
from npconv.models.convnext.model import stem
from showing import sample, show_pictures, show_source, show_table

# %% [markdown]
# ## The function
#
# The *strength* of a channel is the root of the sum of its squares over all positions; divided by the mean of all
# channels' strengths, it is relative. The channel is multiplied by that and by a trained weight. Then a trained bias
# and the input itself are added.

# %%
for part in (global_response_norm, npconv.layers.grn_strength, npconv.layers.grn_relative, npconv.layers.grn_apply):
    show_source(part)
rng = np.random.default_rng(0)
x = rng.normal(size=(2, 6, 4, 4)) * np.array([1, 1, 1, 1, 1, 4])[:, None, None]
weight, bias = rng.normal(size=(2, 6))
strength = np.sqrt((x**2).sum(axis=(2, 3)))
relative = strength / (strength.mean(axis=1, keepdims=True) + 1e-6)
by_hand = x * (1 + weight * relative)[:, :, None, None] + bias[:, None, None]
assert np.allclose(global_response_norm(x, weight, bias, eps=1e-6), by_hand)

# %% [markdown]
# With weight 0 and bias 0, as training begins, GRN returns its input. With positive weights, loud channels gain more
# than quiet ones: they *compete*. With negative weights (small ones), they are evened out.


# %%
def contrast(maps):
    """Return the spread of the channels' strengths, relative to their mean, in the first picture."""
    strengths = np.linalg.norm(maps[0].reshape(maps.shape[1], -1), axis=1)
    return float(strengths.std() / strengths.mean())


nothing = np.zeros(6)
assert np.array_equal(global_response_norm(x, nothing, nothing, eps=1e-6), x)
assert contrast(global_response_norm(x, nothing + 0.5, nothing, eps=1e-6)) > 1.1 * contrast(x)
assert contrast(global_response_norm(x, nothing - 0.15, nothing, eps=1e-6)) < 0.95 * contrast(x)

# %% [markdown]
# ## Feature collapse, measured
#
# The paper found that many channels of V1, trained to fill in masked pictures, were dead or all alike: *feature
# collapse*. It measures this by the mean cosine distance between the maps of two channels: 0 if all channels are alike,
# 1/2 if they have nothing in common, 1 if they are opposites. GRN without its bias changes no distance, as long as
# its factors are positive: against collapse it acts in training, by what the network learns.


# %%
def mean_distance(maps):
    """Return the mean of (1 - cosine) / 2 over all pairs of channels of the first picture that are not 0 everywhere."""
    vectors = maps[0].reshape(maps.shape[1], -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = (vectors / np.where(lengths > 0, lengths, 1))[lengths[:, 0] > 0]
    cosines = (vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)]
    return float((1 - cosines.mean()) / 2)


unlike = rng.normal(size=(1, 50, 16, 16))
assert abs(mean_distance(np.repeat(unlike[:, :1], 50, axis=1))) < 1e-9
assert abs(mean_distance(unlike) - 0.5) < 0.01
scaled = global_response_norm(unlike, np.full(50, 0.7), np.zeros(50), eps=1e-6)
assert abs(mean_distance(scaled) - mean_distance(unlike)) < 1e-9

# %% [markdown]
# Now the trained networks that come with npconv: one of V1, one of V2, equally large. `trace` records the arrays of a
# call under the names of their layers: `act` is what comes out of GELU (and into GRN), `grn` what comes out of GRN.

# %%
pixel_values = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")(sample("ship.png"))["pixel_values"]
v1 = npconv.AutoModelForImageClassification.from_pretrained("convnext-cifar10", dtype="float64")
v2 = npconv.AutoModelForImageClassification.from_pretrained("convnextv2-cifar10", dtype="float64")
with trace() as arrays_v1:
    v1(pixel_values)
with trace() as arrays_v2:
    v2(pixel_values)
wide_v1 = [array for name, array in arrays_v1.items() if name.endswith(".act")]
before = [array for name, array in arrays_v2.items() if name.endswith(".act")]
after = [array for name, array in arrays_v2.items() if name.endswith(".grn")]
rows = []
for block in range(len(wide_v1)):
    distances = [mean_distance(maps[block]) for maps in (wide_v1, before, after)]
    rows.append([block, *distances, contrast(before[block]), contrast(after[block])])
show_table(["block", "distance V1", "V2 before GRN", "after", "contrast before GRN", "after"], rows)

# %% [markdown]
# Neither network has collapsed: every distance is far from 0. (Both were trained on labels; the paper saw collapse in
# training without.) But channels compete: GRN raises the contrast in the last four blocks. In the first four it lowers
# it: in the very first, nine of ten trained weights are negative.

# %%
figures = np.array(rows)
first_block = v2.params["convnextv2"]["encoder"]["stages"][0]["layers"][0]
assert figures[:, 1:4].min() > 0.1
assert np.all(figures[-4:, 5] > figures[-4:, 4])
assert np.all(figures[:4, 5] < figures[:4, 4])
assert (first_block["grn"]["weight"] < 0).mean() > 0.85
order = np.linalg.norm(before[-1][0], axis=(1, 2)).argsort()
chosen = {"loudest, before": before[-1][0, order[-1]], "loudest, after": after[-1][0, order[-1]]}
chosen |= {"median, before": before[-1][0, order[320]], "median, after": after[-1][0, order[320]]}
show_pictures(chosen, "Two channels of the last block: the loud one gains", size=120, same_scale=True)
assert np.abs(chosen["loudest, after"]).max() > 1.5 * np.abs(chosen["loudest, before"]).max()

# %% [markdown]
# ## Where float16 overflows
#
# The largest number of float16 is 65,504. A sum of squares over many positions passes it with small values. Here is GRN
# in float16 throughout, as a careless port has it. Fives on 56 x 56 positions are enough for `nan`, infinity divided by
# infinity. The other channels are divided by that infinite mean: for them, GRN does nothing, in silence. Where all
# values are very small, it does nothing either: at 1e-4 every square rounds to 0, and so does every strength.


# %%
def careless(x, weight, bias):
    """Return GRN with every step in the dtype of x."""
    with np.errstate(all="ignore"):
        strength = np.sqrt((x * x).sum(axis=(2, 3), keepdims=True))
        relative = strength / (strength.mean(axis=1, keepdims=True) + x.dtype.type(1e-6))
        return weight.reshape(-1, 1, 1) * (x * relative) + bias.reshape(-1, 1, 1) + x


one, zero = np.ones(4, np.float16), np.zeros(4, np.float16)
loud = np.full((1, 4, 56, 56), 0.5, np.float16)
loud[:, 0] = 5
tiny = np.full((1, 4, 56, 56), 1e-4, np.float16)
assert np.isnan(careless(loud, one, zero)[:, 0]).all()
assert np.array_equal(careless(loud, one, zero)[:, 1:], loud[:, 1:])
assert np.array_equal(careless(tiny, one, zero), tiny)
assert np.allclose(global_response_norm(loud, one, zero, eps=1e-6)[:, 1:], 0.5 + 0.5 * 0.5 / 1.625, rtol=0.01)
assert np.allclose(global_response_norm(tiny, one, zero, eps=1e-6), 2 * tiny, rtol=0.01)

# %% [markdown]
# `global_response_norm` computes float16 in float32 (`widen`) and is right in both. How near to the edge is the trained
# network? Tile its picture to larger ones, as if it worked on photos, and see what the first block hands to GRN:

# %%
rows, grn = [], {name: value.astype(np.float16) for name, value in first_block["grn"].items()}
for side in (32, 64, 128, 256, 512):
    maps = np.tile(pixel_values, (1, 1, side // 32, side // 32))
    maps = stem(maps, **v2.params["convnextv2"]["embeddings"], config=v2.config)
    maps = depthwise_conv2d(maps, **first_block["dwconv"], padding=3)
    maps = layer_norm(maps, **first_block["layernorm"], eps=1e-6, axis=1)
    maps = gelu(pointwise_conv2d(maps, **first_block["pwconv1"])).astype(np.float16)
    most = int((maps.astype(np.float32) ** 2).sum(axis=(2, 3)).max())
    rows.append([side, most, int(np.isnan(careless(maps, **grn)).any(axis=(0, 2, 3)).sum())])
    assert np.isfinite(global_response_norm(maps, **grn, eps=1e-6)).all()
show_table(["side in pixels", "largest sum of squares", "channels that are nan in a careless port"], rows)
assert rows[-1][1] > 150 * rows[0][1]
assert rows[0][2] == 0 < rows[-1][2]

# %% [markdown]
# Twice the side, about four times the sum: safe at 32 pixels, broken at 512. **For a port:** sum in float32, and test
# GRN with values of 300 and of 1e-4.
#
# ## Exercises
#
# 1. Four channels have the strengths 1, 2, 3 and 6. By which factor does GRN with weight 0.5 and bias 0 multiply the
#    last, its `+ x` included? (A number; leave eps out.)
# 2. Write the strengths (N, C, 1, 1) of a float16 map x as a function of x, without float32, so that values of 300 do
#    not overflow and values of 1e-4 do not vanish: divide each channel by its largest absolute value first (or by 1).

# %%
from exercises.lesson_08 import check_1, check_2

my_factor = None  # your number
check_1(my_factor)
my_strength = None  # your function
check_2(my_strength)
