"""Record what a JAX model computes; copy this file, it needs nothing of npconv.

found = {}
x = keep(found, "encoder.stages.0.layers.0.dwconv", depthwise(x))   # in the model, wherever there is something to see
save(found, "mine.npz")                                             # after the run

The names are those of npconv's trace, or any with a map: npconv diff --names. Channels may be last: diff sees that.
Run the model without jit (``with jax.disable_jit():``), or let the function return the dictionary as well: under jit
the values are not there yet. With Flax no change of the model is needed: `record_flax` takes what each module returns.
"""

import numpy as np


def keep(found, name, array):
    """Remember an array and return it."""
    found[name] = array
    return array


def save(found, path):
    """Write the arrays as .npz, in float32 where they are bfloat16, which NumPy lacks."""
    wide = {name: a.astype("float32") if str(a.dtype) == "bfloat16" else a for name, a in found.items()}
    arrays: dict = {name: np.asarray(array) for name, array in wide.items()}
    np.savez(path, **arrays)


def record_flax(model, variables, pixel_values, path, **arguments):
    """Write the first array that each module of a Flax (linen) model returns, under the module's path.

    `arguments` are further ones of the model, such as ``deterministic=True``.
    """
    import jax

    _, state = model.apply(variables, pixel_values, capture_intermediates=True, mutable=["intermediates"], **arguments)
    found = {"pixel_values": pixel_values}
    for keys, array in jax.tree_util.tree_flatten_with_path(state["intermediates"])[0]:
        names = [str(key.key) for key in keys if hasattr(key, "key") and key.key != "__call__"]
        if names:  # the model itself has none
            found.setdefault(".".join(names), array)
    save(found, path)
