# %% [markdown]
# # 10 · What the model looks at
#
# A port gives ten numbers for a picture. Are they a little wrong, or very wrong, and what were they made of? This
# lesson measures how wrong an answer is, covers parts of the picture to see which of them matter, and opens the maps
# inside. The same trick, changing one place and watching what else changes, finds layout mistakes in a port in minutes.
#
# You need lessons 03 (receptive field), 06 (the block), 08 (GRN) and 09 (softmax). Afterwards you can compute the three
# losses without overflow, draw an occlusion map of any model, and measure how far each layer can see.

# %%
import numpy as np

import npconv
from npconv.golden import trace
from npconv.layers import binary_cross_entropy_with_logits, cross_entropy, mean_squared_error
from npconv.pictures import grad_cam, occlusion, overlay, photo_of, saliency
from npconv.pictures.occlusion import occlusions
from showing import sample, show_bars, show_pictures, show_source, show_table

# %% [markdown]
# ## How wrong is an answer?
#
# The ten numbers are *logits*, one for each class. Softmax (lesson 09) turns them into probabilities p. The *cross
# entropy* is `-log p` of the right class: 0 for a sure right answer, without limit for a sure wrong one.

# %%
model = npconv.AutoModelForImageClassification.from_pretrained("convnextv2-cifar10", dtype="float64")
processor = npconv.AutoImageProcessor.from_pretrained("convnextv2-cifar10")
pixel_values = processor(sample("ship.png"))["pixel_values"].astype(np.float64)
logits = model(pixel_values).logits
probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum()
label = model.config.label2id["ship"]
rows = []
for other in ("ship", "airplane", "frog"):
    index = model.config.label2id[other]
    loss = cross_entropy(logits, np.array([index]), ignore_index=-100)
    rows.append([other, float(probabilities[index]), float(loss)])
    assert np.isclose(loss, -np.log(probabilities[index]), rtol=1e-9)
show_table(["if the label were", "probability", "cross entropy"], rows)
assert rows[0][2] < rows[1][2]
assert rows[0][2] < rows[2][2]

# %% [markdown]
# A model that knows nothing gives each of K classes 1 / K, and has the loss log K. Compare your first loss with it: a
# trained model with a loss near log K has not got its weights. Far more than log K is worse than guessing: look at the
# labels. A sample with the label `ignore_index` does not count. Adding 100 to all logits changes neither probabilities
# nor loss. So equal losses do not prove equal logits, and still less do equal labels: compare a port by its logits.

# %%
nothing = cross_entropy(np.zeros((4, 10)), np.array([0, 3, 9, -100]), ignore_index=-100)
assert np.isclose(nothing, np.log(10), rtol=1e-9)
assert rows[0][2] < 0.5 * nothing
assert np.isclose(cross_entropy(logits + 100, np.array([label]), ignore_index=-100), rows[0][2], atol=1e-9)

# %% [markdown]
# ## Two other losses
#
# Where a picture may have several labels, every class is a yes-or-no question with a *sigmoid* of its own,
# `1 / (1 + exp(-z))`. Its loss is the *binary cross entropy*. The formula of the docstring overflows; the code is
# written so that it never does. Where the answer is a number and no class, the loss is the *mean squared error*.

# %%
show_source(binary_cross_entropy_with_logits)
z = np.array([[2.0, -1.0, 0.5]])
targets = np.array([[1.0, 0.0, 1.0]])
sigmoid = 1 / (1 + np.exp(-z))
by_formula = -(targets * np.log(sigmoid) + (1 - targets) * np.log(1 - sigmoid)).mean()
assert np.isclose(binary_cross_entropy_with_logits(z, targets), by_formula, rtol=1e-12)
assert np.isclose(binary_cross_entropy_with_logits(np.array([1000.0, -1000.0]), np.array([0.0, 1.0])), 1000)
assert np.isclose(mean_squared_error(z, targets), (1.0 + 1.0 + 0.25) / 3)

# %% [markdown]
# ## Occlusion
#
# Cover a part of the picture with grey and see how far the probability of the right class falls. After normalization, 0
# is the mean colour, a grey. A patch of 12 x 12 pixels moves in steps of 6; each pixel gets the mean of all that cover
# it. `engine="fast"` of npconv gives the same numbers up to rounding, sooner.

# %%
show_source(occlusions)
photo = photo_of(pixel_values, processor)
pictures = {"input": photo}
falls = {}
for name in ("convnext-cifar10", "convnextv2-cifar10", "cvt-cifar10"):
    fast_model = npconv.AutoModelForImageClassification.from_pretrained(name, engine="fast")
    falls[name] = occlusion(fast_model, pixel_values, "ship", patch=12)
    pictures[name] = overlay(photo, falls[name])
covered = pixel_values.copy()
covered[:, :, 0:12, 0:12] = 0
fall = probabilities[label] - npconv.layers.softmax(model(covered).logits, axis=1)[0, label]
assert np.isclose(falls["convnextv2-cifar10"][0, 0], fall, atol=1e-5)
show_pictures(pictures, "Where covering the picture makes the answer worse: yellow matters most, dark least", size=150)

# %% [markdown]
# Three trained networks, one picture. V2 hangs on the deck and its load, in the middle, and hardly on the
# water below. Dark places may even raise the probability when covered: there the picture speaks for another class.

# %%
fall = falls["convnextv2-cifar10"]
row, column = np.unravel_index(np.argmax(fall), fall.shape)
assert 8 <= row < 20
assert 8 <= column < 24
assert fall.max() > 5 * np.abs(fall[28:]).max()

# %% [markdown]
# The gradient (lesson 14) asks without covering: *saliency* is what a little more of each pixel does to a logit.
# *Grad-CAM* adds up the channels of the last map, each weighted by its mean gradient. Both speak of small changes only.
# A thousandth of the way to grey does what the gradient says; all the way does not.

# %%
slopes = saliency(model, pixel_values, "ship")
small = {"saliency": np.abs(slopes).max(axis=1)[0], "Grad-CAM": grad_cam(model, pixel_values, "ship")[0]}
show_pictures(small, "convnextv2-cifar10 once more, by its gradients", size=150)
for step, holds in ((0.001, True), (1, False)):
    change = model((1 - step) * pixel_values).logits[0, label] - logits[0, label]
    assert np.isclose(change, -step * (slopes * pixel_values).sum(), rtol=0.1) == holds

# %% [markdown]
# ## The maps inside
#
# `output_hidden_states=True` hands out the map of the stem and of each stage. Here are the two channels of
# each that vary most. The stem (map 0) still looks like the picture; the last one has 4 x 4 positions.

# %%
hidden = model(pixel_values, output_hidden_states=True).hidden_states
pictures = {}
for stage, array in enumerate(hidden):
    order = np.argsort(array[0].std(axis=(1, 2)))[::-1]
    for channel in order[:2]:
        pictures[f"map {stage}, {channel}"] = array[0, channel]
show_pictures(pictures, "The channels that vary most, from the stem (0) on, each on its own scale", size=96)
assert [array.shape[2] for array in hidden] == [16, 16, 8, 4]

# %% [markdown]
# ## How far does a layer see?
#
# Cover 2 x 2 pixels in the corner at the top left, and count the positions of each map that change at all. The stem
# cuts the picture into just such patches (lesson 02), so one position may change, and that is so. A port where more do
# has a wrong stride, or its axes in the wrong order.

# %%
cornered = pixel_values.copy()
cornered[:, :, 0:2, 0:2] = 0
changed = {}
for name in ("convnext-cifar10", "convnextv2-cifar10"):
    network = npconv.AutoModelForImageClassification.from_pretrained(name, dtype="float64")
    with trace() as arrays:
        network(np.concatenate([pixel_values, cornered]))
    family = name.partition("-")[0]
    for place, layer in (("stem", "embeddings.layernorm"), ("two blocks", "encoder.stages.0.layers.1")):
        one, other = arrays[f"{family}.{layer}"]
        changed[f"{family}, {place}"] = int((np.abs(one - other).max(axis=0) > 1e-10).sum())
show_bars(changed, "Positions that one patch in the corner changes, of 256", x_label="positions")
assert changed["convnext, stem"] == changed["convnextv2, stem"] == 1

# %% [markdown]
# After two blocks of stage 1 with their 7x7 kernels, the patch reaches 3 + 3 positions down and to the right: 7 x 7
# are the most that can change. In V2 **all** change: GRN divides by strengths that are summed over the whole map. So
# its first block already sees everything. Working in tiles with a border is exact in the stages of V1, but not of V2.

# %%
assert 1 < changed["convnext, two blocks"] <= 7 * 7
assert changed["convnextv2, two blocks"] == 16 * 16

# %% [markdown]
# ## Exercises
#
# 1. Write `my_cross_entropy(logits, labels)`, the mean over samples, so that logits of 1000 do not overflow.
# 2. Your port of a network with 1000 classes begins to train at a loss of 11. What should a network that knows nothing
#    have? (A number.)

# %%
from exercises.lesson_10 import check_1, check_2

my_cross_entropy = None  # your function
check_1(my_cross_entropy)
my_loss = None  # your number
check_2(my_loss)
