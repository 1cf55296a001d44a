# %% [markdown]
# # 14 · The gradient of a block
#
# Training asks of every number in a network: if it were a little larger, by how much would the loss grow? That is its
# *gradient*. A *backward pass* finds it for all numbers at once: it walks the layers from the last to the first, and at
# each turns the gradient of the result into that of the input. Whoever ports training has to write each of these turns.
#
# You need lessons 03 to 06, 09 and 10. Afterwards you can write the backward function of a layer, and check it alone.

# %%
import numpy as np
from scipy.special import erf

import npconv
from npconv import gradients
from npconv.layers import attention, depthwise_conv2d, gelu, layer_norm, pointwise_conv2d, softmax
from npconv.models.convnext.model import layer
from showing import sample, show_pictures, show_source, show_table
from small_models import slope_error, small_models

# %% [markdown]
# ## What a gradient must do
#
# The first block of a trained network, with its arrays as in lesson 06. What comes after the block wants something of
# every number of `y`: `grad_y`, the gradient that came back so far. Here it is random, and the loss `sum(grad_y * y)`.

# %%
model = npconv.AutoModelForImageClassification.from_pretrained("convnext-cifar10", dtype="float64")
processor = npconv.AutoImageProcessor.from_pretrained("convnext-cifar10")
pixel_values = processor(sample("ship.png"))["pixel_values"].astype(np.float64)
x = model(pixel_values, output_hidden_states=True).hidden_states[0]
params = model.params["convnext"]["encoder"]["stages"][0]["layers"][0]
scale, kernel = params["layer_scale_parameter"], params["dwconv"]["weight"]
looked = depthwise_conv2d(x, **params["dwconv"], padding=3)
normed = layer_norm(looked, **params["layernorm"], eps=1e-6, axis=1)
wide = pointwise_conv2d(normed, **params["pwconv1"])
bent = gelu(wide)
narrow = pointwise_conv2d(bent, **params["pwconv2"])
rng = np.random.default_rng(0)
grad_y = rng.normal(size=x.shape)

# %% [markdown]
# Move an array a little along a direction, and back: the loss changes by `sum(gradient * direction)` times the way.
# This *central difference* needs no derivation, so it can check one; a random direction checks all numbers at once.


# %%
def is_gradient(gradient, run, array, h=1e-5):
    """Tell whether this is the gradient of run(array)."""
    direction = rng.normal(size=array.shape)
    slope = (run(array + h * direction) - run(array - h * direction)) / (2 * h)
    return abs(slope - (gradient * direction).sum()) < 1e-6 * np.linalg.norm(gradient)


def loss_of(given):
    """Return the loss for an input of the block."""
    return (grad_y * layer(given, **params, config=model.config)).sum()


def same(mine, theirs):
    """Tell whether gradients are equal to those of npconv, but for rounding."""
    return all(np.allclose(one, other, rtol=1e-9, atol=1e-12) for one, other in zip(mine, theirs, strict=True))


# %% [markdown]
# ## Back through the block
#
# **Residual**, `y = x + scaled`: a sum hands its gradient to both terms as it is. One copy goes through the branch, one
# past it; at the end they are added. **Layer scale**, `scaled = scale * narrow`: in a product, each factor gets the
# gradient times the *other*. `scale` is the same number at all positions, so its gradient is the sum over them.

# %%
grad_narrow = scale[:, None, None] * grad_y
grad_scale = (grad_y * narrow).sum(axis=(0, 2, 3))
assert same((grad_narrow, grad_scale), gradients.layer_scale_backward(grad_y, narrow, scale))

# %% [markdown]
# **Pointwise**, `narrow[o] = sum over c of weight[o, c] * bent[c] + bias[o]`: `bent[c]` has a part in every o, so what
# comes back to it is a sum over o: the *transposed* matrix. Weight and bias get sums over samples and positions.
# **GELU**, `bent = wide * P(wide)` with the normal distribution P: the slope of this product is `P + wide * p`, with p
# the slope of P, a bell. (The tanh form of lesson 05 has another.) Then pointwise once more.

# %%
grad_bent = np.einsum("oc,nohw->nchw", params["pwconv2"]["weight"], grad_narrow)
mine = (grad_bent, np.einsum("nohw,nchw->oc", grad_narrow, bent), grad_narrow.sum(axis=(0, 2, 3)))
assert same(mine, gradients.pointwise_conv2d_backward(grad_narrow, bent, params["pwconv2"]["weight"]))
bell = np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)
grad_wide = grad_bent * ((1 + erf(wide / np.sqrt(2))) / 2 + wide * bell)
assert same([grad_wide], [gradients.gelu_backward(grad_bent, wide)])
grad_normed = np.einsum("oc,nohw->nchw", params["pwconv1"]["weight"], grad_wide)

# %% [markdown]
# **LayerNorm**, `normed = weight * z + bias` with `z = (looked - mean) / spread`. Were mean and spread fixed numbers,
# the gradient would be `g / spread`, with `g = weight * grad_normed`. But each channel has a part in both, so two terms
# are subtracted: `mean(g)` for the mean, and `z * mean(g * z)` for the spread. Ports forget one of them, or both.

# %%
deviation = looked - looked.mean(axis=1, keepdims=True)
spread = np.sqrt((deviation**2).mean(axis=1, keepdims=True) + 1e-6)
z = deviation / spread
g = params["layernorm"]["weight"][:, None, None] * grad_normed
grad_looked = (g - g.mean(axis=1, keepdims=True) - z * (g * z).mean(axis=1, keepdims=True)) / spread
mine = (grad_looked, (grad_normed * z).sum(axis=(0, 2, 3)), grad_normed.sum(axis=(0, 2, 3)))
assert same(mine, gradients.layer_norm_backward(grad_normed, looked, params["layernorm"]["weight"], eps=1e-6, axis=1))

# %% [markdown]
# Why these two? Add a constant to all channels, or stretch their deviations: LayerNorm gives out the same. The loss
# stays, so the gradient has no part in these two directions. What a careless port computes has.

# %%
rows = []
for name, gradient in (("g / spread", g / spread), ("with both means", grad_looked)):
    size = np.linalg.norm(gradient) * np.sqrt(40)  # the length of both ways at each position
    rows.append([name, *(np.linalg.norm((gradient * way).sum(axis=1)) / size for way in (1, z))])
show_table(["gradient", "share along a constant", "along z"], rows)
assert min(rows[0][1:]) > 0.05
assert max(rows[1][1:]) < 1e-5  # not quite 0 along z: eps does notice a stretch
assert (g / spread * grad_looked).sum() > 0  # so a step against the careless one lowers the loss nevertheless

# %% [markdown]
# **Depthwise**. A number of x was seen by all positions around it: by one to the left with the kernel's right half. So
# its gradient is a convolution with the kernel *turned by 180 degrees*. Not turned, every shape is right as well.

# %%
grad_x = grad_y + depthwise_conv2d(grad_looked, kernel[:, :, ::-1, ::-1], padding=3)
assert same([grad_x - grad_y], gradients.depthwise_conv2d_backward(grad_looked, x, kernel, padding=3)[:1])
lopsided = np.abs(kernel - kernel[:, :, ::-1, ::-1]).max(axis=(1, 2, 3)).argmax()
point = np.zeros_like(x)
point[:, :, 8, 8] = 1
changes = depthwise_conv2d(point, kernel, padding=3)[0, lopsided]
sees = gradients.depthwise_conv2d_backward(point, x, kernel, padding=3)[0][0, lopsided]
pictures = {"kernel": kernel[lopsided, 0], "what a point changes": changes, "what a point sees": sees}
show_pictures(pictures, "Forwards, a point leaves a turned kernel; backwards, the kernel as it is", size=140)
assert np.array_equal(sees[5:12, 5:12], kernel[lopsided, 0])
assert np.array_equal(changes[5:12, 5:12], kernel[lopsided, 0, ::-1, ::-1])
assert is_gradient(grad_x, loss_of, x)
assert not is_gradient(grad_x - grad_y, loss_of, x)  # the copy that goes past the branch is forgotten

# %% [markdown]
# **Attention** (lesson 09) takes three such turns. In that of softmax, a sum is subtracted: probabilities add up to 1,
# so what one of them gains the others lose.

# %%
show_source(gradients.softmax_backward)
tokens, grad = rng.normal(size=(3, 2, 5, 8)), rng.normal(size=(2, 5, 8))  # query, key and value


def attended(given):
    """Return the loss for a query, key and value."""
    return (grad * attention(*given, num_heads=2, scale=0.5)).sum()


assert is_gradient(np.stack(gradients.attention_backward(grad, *tokens, num_heads=2, scale=0.5)), attended, tokens)

# %% [markdown]
# ## A whole model
#
# `value_and_grad` walks a model back like this, from its loss, and returns a tree like `model.params`. A cross entropy
# begins with what the probabilities are, less what they should be. Along a random direction of all parameters, one
# number checks a whole model: here of small ones that together have every layer there is. In training, both losses of a
# difference must drop the same, so each call gets a seed.

# %%
label = model.config.label2id["ship"]
loss, tree = npconv.value_and_grad(model)(pixel_values, labels=[label])
probabilities = softmax(model(pixel_values).logits, axis=1)
assert np.allclose(tree["classifier"]["bias"], (probabilities - np.eye(10)[label])[0])
show_source(slope_error)
rows = [[name, slope_error(small, call, rng)] for name, small, call in small_models()]
show_table(["model", "error"], rows)
assert max(row[1] for row in rows) < 1e-6

# %% [markdown]
# **For a port:** a golden trace of gradients has `NAME.grad` beside each array and parameter `NAME` (lesson 11), in the
# order of the walk back, from the loss to the stem. Compare forwards first. Then the first gradient that differs names
# the backward function to look at. The loss will not tell: it falls along the careless gradient above as well.
#
# ## Exercises
#
# 1. RMS norm is LayerNorm without the mean: `y = x / sqrt(mean(x**2))` over the channels of x (N, C); eps is left out.
#    Write `backward(grad_y, x)`.
# 2. Drop path with a rate of 0.2 has kept a picture's branch. By what is the gradient of the branch multiplied?

# %%
from exercises.lesson_14 import check_1, check_2

my_backward = None  # your function
check_1(my_backward)
my_factor = None  # your number
check_2(my_factor)
