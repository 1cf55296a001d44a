# %% [markdown]
# # 15 · What training changes
#
# Lesson 14 found what every number does to the loss. Training is the rest: move each number a little against its
# gradient, and begin again with other pictures. This lesson trains a small ConvNeXt V2 from random numbers in seconds,
# and looks at what has changed: the loss, the kernels, and whether GRN was of any use.
#
# You need lessons 08, 10 and 14. Afterwards you can write AdamW, see whether a network learns, and compare two fairly.

# %%
import numpy as np

import npconv
from npconv.gradients import global_response_norm_backward
from npconv.models.parameters import flatten
from showing import show_curves, show_pictures, show_table

SEED = 0  # change it: every claim below must hold for others, too

# %% [markdown]
# ## A problem to learn
#
# Stripes in four directions, of any colour, at any place, under noise: no single pixel says which direction it is.
# Pictures are drawn as they are needed, and none is seen twice.


# %%
def draw(count, rng):
    """Return pictures (N, 3, 16, 16) of stripes, and which way they run: 0 to 3."""
    labels = rng.integers(0, 4, count)
    angle, phase = labels * np.pi / 4, rng.uniform(0, 2 * np.pi, count)
    row, column = np.mgrid[:16, :16]
    across = np.cos(angle)[:, None, None] * column + np.sin(angle)[:, None, None] * row
    waves = np.sin(across * 2 * np.pi / 6 + phase[:, None, None])
    colours = rng.normal(size=(count, 3))
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    noise = 0.3 * rng.normal(size=(count, 3, 16, 16))
    return (colours[:, :, None, None] * waves[:, None] + noise).astype(np.float32), labels


unseen, directions = draw(200, np.random.default_rng(100 + SEED))
pictures = {f"direction {k}": unseen[directions == k][0].transpose(1, 2, 0) / 3 + 0.5 for k in range(4)}
show_pictures(pictures, "One picture of each kind", size=120)

# %% [markdown]
# ## One step
#
# One stage of two blocks with 16 channels on 8 x 8 positions. All weights are small random numbers of one seed, so the
# logits are nearly 0, and the loss is nearly log 4 (lesson 10).


# %%
def fresh():
    """Return the network before training."""
    sizes = {"num_stages": 1, "hidden_sizes": [16], "depths": [2], "patch_size": 2, "num_labels": 4}
    return npconv.ConvNextV2ForImageClassification(npconv.ConvNextV2Config(**sizes, drop_path_rate=0.1), seed=SEED)


def right(model):
    """Return the share of unseen pictures that a model is right about."""
    return float((model(unseen).logits.argmax(axis=1) == directions).mean())


model = fresh()
x, labels = draw(16, np.random.default_rng(SEED))
loss, gradients = npconv.value_and_grad(model)(x, labels=labels)
assert abs(loss - np.log(4)) < 0.1
assert right(model) < 0.5

# %% [markdown]
# Add `-rate * gradient` to all numbers: that is one step of *gradient descent*. As long as it is small, the loss of the
# same pictures falls by `rate` times the sum of all squared gradients. If it does not in your port, do not go on.

# %%
gradients, params = flatten(gradients), flatten(model.params)  # the model's own arrays, by their names
for name, gradient in gradients.items():
    params[name] -= 1e-4 * gradient
fell = loss - model(x, labels).loss
print(f"the loss fell from {loss:.4f} by {fell:.5f}")
assert np.isclose(fell, 1e-4 * sum((gradient**2).sum() for gradient in gradients.values()), rtol=0.1)

# %% [markdown]
# ## AdamW
#
# *Adam* takes a running mean of the gradients, `m`, in place of the last one alone, and divides it by their usual size,
# the root of a running mean of squares, `v`. Both begin at 0 and are too small at first, which is divided out. The W is
# *weight decay*: matrices and kernels shrink a little each time. The rate rises for ten steps, then falls to 0.


# %%
def train(model, steps=160, highest=0.01, decay=0.05):
    """Train a model and return its losses."""
    run, rng = npconv.value_and_grad(model), np.random.default_rng(SEED)
    params = flatten(model.params)
    m, v = ({name: np.zeros_like(array) for name, array in params.items()} for _ in range(2))
    losses = []
    for t in range(1, steps + 1):
        pictures, labels = draw(16, rng)
        loss, gradients = run(pictures, labels=labels, training=True, rng=rng)
        rate = highest * min(1, t / 10) * (1 + np.cos(np.pi * t / steps)) / 2
        for name, gradient in flatten(gradients).items():
            m[name] += 0.1 * (gradient - m[name])
            v[name] += 0.02 * (gradient**2 - v[name])
            mean, square = m[name] / (1 - 0.9**t), v[name] / (1 - 0.98**t)
            if params[name].ndim > 1:
                params[name] *= 1 - rate * decay
            params[name] -= rate * mean / (np.sqrt(square) + 1e-8)
        losses.append(float(loss))
    return losses


with_grn, without_grn = fresh(), fresh()
for name, parameter in without_grn.named_parameters():
    parameter.requires_grad = ".grn." not in name
losses = {"with GRN": train(with_grn), "without GRN": train(without_grn)}
show_curves(np.arange(160), losses, "The loss of each step, each of other pictures", x_label="step", y_label="loss")

# %% [markdown]
# What counts is unseen pictures: a network that learned its own by heart fails there. In training, drop path (lesson
# 06) dropped the second block of every tenth picture, so the loss depends on random numbers. In use it does not.

# %%
rows = []
for name, trained in (("with GRN", with_grn), ("without GRN", without_grn)):
    rows.append([name, losses[name][0], float(np.mean(losses[name][-20:])), right(trained)])
show_table(["network", "first loss", "last 20", "right about unseen pictures"], rows)
assert all(last < 0.2 * first for _, first, last, _ in rows)
assert all(share > 0.95 for *_, share in rows)
run = npconv.value_and_grad(with_grn)
assert len({float(run(x, labels=labels, training=True, rng=seed).loss) for seed in range(20)}) > 3
assert len({float(run(x, labels=labels, rng=seed).loss) for seed in range(20)}) == 1

# %% [markdown]
# ## The kernels
#
# The 7x7 kernels began as noise. Now they are stripes; how much so, a Fourier transform says: it takes a kernel apart
# into waves.


# %%
def strongest_wave(kernel):
    """Return the share of a kernel's energy that is in its strongest wave."""
    energy = np.abs(np.fft.fft2(kernel)) ** 2
    energy[0, 0] = 0
    return float(2 * energy.max() / energy.sum())  # each wave is there twice


block = "convnextv2.encoder.stages.0.layers.0"
before, after = (flatten(each.params)[f"{block}.dwconv.weight"][:, 0] for each in (fresh(), with_grn))
order = np.argsort([strongest_wave(kernel) for kernel in after])[::-1][:4]
pictures = {f"{channel}, before": before[channel] for channel in order}
pictures |= {f"{channel}, after": after[channel] for channel in order}
show_pictures(pictures, "Four kernels before and after training, each on its own scale", size=100)
shares = [np.mean([strongest_wave(kernel) for kernel in each]) for each in (before, after)]
print(f"share of the strongest wave: {shares[0]:.0%} before, {shares[1]:.0%} after")
assert shares[1] > 1.5 * shares[0]
assert after.std() > 3 * before.std()

# %% [markdown]
# ## Was GRN of any use?
#
# GRN starts with weight and bias 0 and changes nothing, forwards or backwards; but its weight has a gradient, so it
# moves. Both began as one network and saw the same pictures and drop path: a fair comparison. Here it says *no*. Both
# solve the problem; over the seeds 0 to 11, the last losses were lower with GRN six times and higher six times. They
# differ twentyfold among seeds, so one run of each decides nothing. (The paper needed GRN to fill in masked pictures.)

# %%
(grad, h), zero, one = np.random.default_rng(1).normal(size=(2, 2, 6, 4, 4)), np.zeros(6), np.ones(6)
grad_h, grad_weight, grad_bias = global_response_norm_backward(grad, h, zero, zero, eps=1e-6)
assert np.allclose(grad_h, grad, rtol=1e-12)
change = npconv.layers.global_response_norm(h, one, one, eps=1e-6) - h
assert np.isclose((grad * change).sum(), (grad_weight + grad_bias).sum())  # weight and bias enter as they are
assert np.abs(flatten(with_grn.params)[f"{block}.grn.weight"]).max() > 0.05
assert losses["with GRN"][0] == losses["without GRN"][0]
assert abs(rows[0][3] - rows[1][3]) < 0.05

# %% [markdown]
# ## Exercises
#
# 1. One step of gradient descent with momentum: `step(weight, gradient, velocity, rate)` returns the new weight and the
#    new velocity, which is 0.9 times the old one plus the gradient; the weight goes against it.
# 2. Your port sums the losses of 16 pictures instead of taking the mean. How many times too large are its gradients?

# %%
from exercises.lesson_15 import check_1, check_2

my_step = None  # your function
check_1(my_step)
my_factor = None  # your number
check_2(my_factor)
