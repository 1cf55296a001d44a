# %% [markdown]
# # 09 · Attention with convolutions
#
# CvT is a transformer for pictures whose queries, keys and values come out of convolutions. Whoever ports it meets four
# things that no other transformer of pictures has, and each of them gives plausible wrong numbers: a stride in the keys
# alone, a batch norm between convolution and matrix, a class token that skips the convolution, and an odd scale.
#
# You need lessons 03 (depthwise convolution), 04 (LayerNorm), 06 (dropout) and 08 (`trace`). A *transformer* is a
# network whose positions exchange information by attention, which is explained below. Afterwards you can write CvT's
# attention, fold its batch norms, and draw what a position looks at.

# %%
import numpy as np

import npconv
from npconv.golden import trace
from npconv.layers import attention, average_pool2d, batch_norm, depthwise_conv2d, linear, map_tokens, softmax
from npconv.models.cvt.model import convolutional_projection
from npconv.pictures import attention_map, overlay, photo_of
from showing import sample, show_pictures, show_source, show_table

# %% [markdown]
# ## Tokens
#
# Attention does not know of rows and columns. It takes a list of *tokens*, (N, T, D): T vectors of D numbers. A map
# becomes tokens row by row. Filled column by column, it still runs; a square map then does not even change its shape.

# %%
show_source(map_tokens)
small = np.arange(12.0).reshape(1, 2, 2, 3)
assert np.array_equal(map_tokens(small)[0, 1], small[0, :, 0, 1])
assert np.array_equal(npconv.layers.positions_map(map_tokens(small), 2, 3), small)

# %% [markdown]
# ## Attention
#
# Each token asks with a *query*, and is asked by its *key*. The product of the two is a *score*. The softmax makes
# probabilities of the scores of one query: positive numbers with the sum 1. With these, the *values* are averaged. The
# channels are split into *heads*, each of which does this by itself: head 0 has the first D / heads channels. Scores
# are multiplied by a fixed *scale*, usually one over the root of the channels of a head.

# %%
for part in (attention, npconv.layers.attention_scores, npconv.layers.attention_context):
    show_source(part)

# %% [markdown]
# The same in two loops, for one sample with two heads. There are 5 queries but only 3 keys; that is allowed.

# %%
rng = np.random.default_rng(0)
query = rng.normal(size=(1, 5, 8))
key = rng.normal(size=(1, 3, 8))
value = rng.normal(size=(1, 3, 8))
by_hand = np.zeros((1, 5, 8))
for channels in (slice(0, 4), slice(4, 8)):
    for t in range(5):
        exponentials = np.exp(key[0, :, channels] @ query[0, t, channels] * 0.5)
        by_hand[0, t, channels] = exponentials / exponentials.sum() @ value[0, :, channels]
assert np.allclose(attention(query, key, value, num_heads=2, scale=0.5), by_hand, rtol=1e-12)

# %% [markdown]
# `exp` overflows in float32 beyond 88. So `softmax` subtracts the largest score first, which changes nothing.

# %%
large = np.array([1000, 999, 998], dtype=np.float32)
with np.errstate(over="ignore", invalid="ignore"):
    assert np.isnan(np.exp(large) / np.exp(large).sum()).all()
assert np.allclose(softmax(large, axis=0), [0.66524, 0.24473, 0.09003], atol=1e-5)

# %% [markdown]
# ## The convolution before the matrix
#
# In CvT, three small branches look at the map before it becomes tokens: a 3x3 depthwise convolution, then a *batch
# norm*. The branches of keys and values take steps of 2, so there are a quarter as many keys as queries.

# %%
show_source(convolutional_projection)
model = npconv.AutoModelForImageClassification.from_pretrained("cvt-cifar10", dtype="float64")
processor = npconv.AutoImageProcessor.from_pretrained("cvt-cifar10")
pixel_values = processor(sample("ship.png"))["pixel_values"].astype(np.float64)
with trace() as arrays:
    model(pixel_values)
block = "cvt.encoder.stages.1.layers.0.attention.attention"
x = arrays[f"{block}.map"]
params = model.params["cvt"]["encoder"]["stages"][1]["layers"][0]["attention"]["attention"]
branch = params["convolution_projection_key"]["convolution_projection"]
keys = convolutional_projection(x, branch, method="dw_bn", kernel_size=3, stride=2, padding=1)
assert np.array_equal(keys, arrays[f"{block}.key"])
assert keys.shape[1] * 4 == x.shape[2] * x.shape[3]

# %% [markdown]
# Batch norm looks like LayerNorm and is something else. Its mean and variance are *stored in the checkpoint*, a pair
# for each channel, and nothing is averaged over the input. So it is one product and one sum, and it can be folded into
# the kernel before it. Only in training does it take the statistics of the batch, and move the stored ones a tenth of
# the way to them (the variance over n - 1); a port that only answers must never.

# %%
norm = branch["normalization"]
convolved = depthwise_conv2d(x, **branch["convolution"], stride=2, padding=1)
factor = norm["weight"] / np.sqrt(norm["running_var"] + 1e-5)
shift = norm["bias"] - norm["running_mean"] * factor
normed = batch_norm(convolved, **norm, eps=1e-5)
assert np.allclose(normed, convolved * factor[:, None, None] + shift[:, None, None], atol=1e-10)
kernel = branch["convolution"]["weight"] * factor[:, None, None, None]
assert np.allclose(depthwise_conv2d(x, kernel, shift, stride=2, padding=1), normed, atol=1e-10)
assert np.allclose(npconv.layers.running_mean(convolved, np.zeros(64)), 0.1 * convolved.mean(axis=(0, 2, 3)))
assert np.allclose(npconv.layers.running_var(convolved, np.zeros(64)), 0.1 * convolved.var(axis=(0, 2, 3), ddof=1))
assert npconv.layers.num_batches_tracked(convolved, np.array(7)) == 8

# %% [markdown]
# A configuration may ask for an average in place of both (`"avg"`). Zeros of the padding count as positions; ONNX and
# TensorFlow leave them out by default. The size is rounded up, so that the last windows hang over the padding: what
# hangs over does not count, and they are divided by 6 and 4 in place of 9.

# %%
averaged = average_pool2d(np.ones((1, 1, 4, 4)), kernel_size=3, stride=2, padding=1, ceil_mode=True)
print(averaged[0, 0])
assert np.allclose(averaged[0, 0], [[4 / 9, 6 / 9, 2 / 6], [6 / 9, 9 / 9, 3 / 6], [2 / 6, 3 / 6, 1 / 4]])

# %% [markdown]
# ## The class token, and the odd scale
#
# Stages are counted from 0 here, as in the names of arrays. The last has one more token, the *class token*. It belongs
# to no position, so it skips the convolutions, and is put *before* the positions as query, key and value. What it has
# gathered in the end is all that the classifier sees.

# %%
rows = []
for stage in range(3):
    name = f"cvt.encoder.stages.{stage}.layers.0.attention.attention"
    heads, queries, attended = arrays[f"{name}.scores"].shape[1:]
    rows.append([stage, arrays[f"{name}.map"].shape[2], heads, queries, attended])
show_table(["stage", "side of the map", "heads", "queries", "keys"], rows)
assert [row[3] for row in rows] == [16 * 16, 16 * 16, 1 + 8 * 8]
assert [row[4] for row in rows] == [8 * 8, 8 * 8, 1 + 4 * 4]

# %% [markdown]
# Every other transformer scales the scores by one over the root of the channels *of a head*. CvT was trained with the
# root of all channels. With one head, as in stage 0, that is the same; in stage 2, scores would be twice as large.

# %%
q = linear(arrays[f"{block}.query"], **params["projection_query"])
k = linear(arrays[f"{block}.key"], **params["projection_key"])
scores_of_head_0 = q[0, :, :32] @ k[0, :, :32].T
assert np.allclose(scores_of_head_0 * 64**-0.5, arrays[f"{block}.scores"][0, 0], atol=1e-9)
assert not np.allclose(scores_of_head_0 * 32**-0.5, arrays[f"{block}.scores"][0, 0], atol=1e-3)

# %% [markdown]
# ## What a position looks at
#
# The probabilities are in the trace as `dropout`, the module that hands them on. One row of them is a query: where do
# the 64 keys lie that it takes its values from? Here over the 32 x 32 pixels of the input; the query is white.

# %%
probabilities = arrays["cvt.encoder.stages.0.layers.0.attention.attention.dropout"][0, 0]
photo = photo_of(pixel_values, processor)
pictures = {"input": photo}
for row, column in ((2, 8), (8, 8), (13, 3)):
    seen = attention_map(model, pixel_values, (row, column), stage=0, block=0)[0]
    assert np.allclose(seen, probabilities[16 * row + column].reshape(8, 8), rtol=1e-12)
    drawn = overlay(photo, seen, smooth=False).pixels
    drawn[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 255
    pictures[f"row {row}, column {column}"] = drawn
show_pictures(pictures, "Stage 0: what three positions attend to, from dark (little) to yellow (most)", size=150)

# %% [markdown]
# CvT has no position embedding: the zeros at the border of its convolutions are all that tells a token where it is. So
# it takes pictures of any size, unlike a ViT, and other sizes are a good test of a port.

# %%
assert not any("position" in name for name in model.state_dict())
assert model(np.zeros((1, 3, 48, 80))).logits.shape == (1, 10)

# %% [markdown]
# ## Exercises
#
# 1. Write `fold(weight, norm_weight, norm_bias, mean, variance)`: kernel (C, 1, 3, 3) and bias (C,) of one depthwise
#    convolution that does the work of convolution (without bias) and batch norm, eps 1e-5.
# 2. CvT-13 has 384 channels and 6 heads in its last stage. By which factor are all scores too large in a port that
#    scales as other transformers do?

# %%
from exercises.lesson_09 import check_1, check_2

my_fold = None  # your function
check_1(my_fold)

# %%
my_factor = None  # your number
check_2(my_factor)
