"""How the fast engine takes its weights: any dtype and layout, copied, given back as they came, in little memory."""

import tracemalloc

import numpy as np
import pytest
from support import fast_models as models
from support.fast_models import (
    CLASSIFIERS,
    CONFIGS,
    KINDS,
    SMALL,
    assert_same,
    in_dtype,
    outputs_of,
    pictures,
)

import npconv

FAMILIES = pytest.mark.parametrize("family", list(CLASSIFIERS))


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_the_dtype_and_layout_of_weights_do_not_show(kind, family):
    """float16 numbers are exact in all of these."""
    config, x = CONFIGS[family](**SMALL[family]), pictures((1, 3, 40, 36))
    tensors = models.weights(kind[family], config)
    expected = outputs_of(kind[family](config, tensors, engine="fast"), x)
    for change in (
        lambda array: in_dtype(array, np.float32),
        lambda array: in_dtype(array, np.float64),
        lambda array: in_dtype(array, np.float32).copy(order="F"),
        lambda array: in_dtype(array, ">f4"),
    ):
        changed = {name: change(array) for name, array in tensors.items()}
        assert_same(outputs_of(kind[family](config, changed, engine="fast"), x), expected)


@pytest.mark.parametrize(("kind", "family"), KINDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_later_changes_of_the_weights_have_no_effect(kind, family, dtype):
    config, x = CONFIGS[family](**SMALL[family]), pictures((1, 3, 40, 36))
    tensors = {name: in_dtype(array, dtype) for name, array in models.weights(kind[family], config).items()}
    model = kind[family](config, tensors, engine="fast")
    expected = outputs_of(kind[family](config, tensors, engine="fast"), x)
    for array in tensors.values():
        array[...] = 0
    for array in model.state_dict().values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert_same(outputs_of(model, x), expected)  # its first call, so nothing was kept of an earlier one
    x_wide = pictures((1, 3, 40, 67))
    fresh = kind[family](config, models.weights(kind[family], config), engine="fast")
    assert_same(outputs_of(model, x_wide), outputs_of(fresh, x_wide))


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_a_model_gives_back_the_weights_it_was_made_of(kind, family, tmp_path):
    config, x = CONFIGS[family](**SMALL[family]), pictures((1, 3, 40, 36))
    tensors = models.weights(kind[family], config)
    model = kind[family](config, tensors, engine="fast")
    assert_same(model.state_dict(), tensors)
    model.save_pretrained(tmp_path)
    loaded = kind[family].from_pretrained(tmp_path, engine="fast")  # a float16 file
    assert_same(loaded.state_dict(), tensors)
    assert {array.dtype for array in loaded.state_dict().values()} <= {np.dtype("float16"), np.dtype("int64")}
    assert_same(outputs_of(loaded, x), outputs_of(model, x))
    assert loaded.num_parameters() == kind[family](config).num_parameters()


@FAMILIES
def test_a_bfloat16_file(family, tmp_path):
    config, x = CONFIGS[family](**SMALL[family]), pictures((1, 3, 40, 36))
    tensors = models.weights(CLASSIFIERS[family], config)
    stored = {name: in_dtype(array, np.float32) for name, array in tensors.items()}
    dtypes = {name: "BF16" for name, array in stored.items() if array.dtype.kind == "f"}
    npconv.files.safetensors.save_file(stored, tmp_path / "model.safetensors", dtypes=dtypes)
    config.save_pretrained(tmp_path)
    fast = CLASSIFIERS[family].from_pretrained(tmp_path, engine="fast")
    explicit = CLASSIFIERS[family].from_pretrained(tmp_path)
    rounding = models.rounding_of(CLASSIFIERS[family], config, explicit.state_dict(), x)
    truth = outputs_of(CLASSIFIERS[family](config, explicit.state_dict(), dtype="float64"), x)
    assert models.farthest(outputs_of(fast, x), truth) <= models.SLACK * rounding


@FAMILIES
@pytest.mark.parametrize("stored", ["float16", "float32", "BF16"])
def test_loading_takes_little_more_memory_than_is_kept(family, stored, tmp_path):
    """Beyond the mapped file: 1.4 times the weights in float32 at most, while they are folded and after."""
    fields = {"hidden_sizes": [16, 256], "depths": [1, 2], "num_stages": 2}
    fields = {"embed_dim": [16, 256], "depth": [1, 2], "num_heads": [1, 2]} if family == "cvt" else fields
    config = CONFIGS[family](**fields, **({"cls_token": [False, True]} if family == "cvt" else {}))
    tensors = models.weights(CLASSIFIERS[family], config)
    arrays = {name: in_dtype(array, "float32" if stored == "BF16" else stored) for name, array in tensors.items()}
    dtypes = {name: "BF16" for name, array in arrays.items() if stored == "BF16" and array.dtype.kind == "f"}
    npconv.files.safetensors.save_file(arrays, tmp_path / "model.safetensors", dtypes=dtypes)
    config.save_pretrained(tmp_path)
    in_float32 = sum(4 * array.size for array in tensors.values())
    tracemalloc.start()
    try:
        model = CLASSIFIERS[family].from_pretrained(tmp_path, engine="fast")
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{family}, {stored}: {kept / in_float32:.2f} kept, {peak / in_float32:.2f} at most")
    assert model.num_parameters() * 3 < kept <= peak <= 1.4 * in_float32


@FAMILIES
def test_random_first_weights(family):
    config, x = CONFIGS[family](**SMALL[family]), pictures((1, 3, 40, 36))
    fast, explicit = (CLASSIFIERS[family](config, seed=3, engine=engine) for engine in ("fast", "explicit"))
    assert_same(fast.state_dict(), explicit.state_dict())
    np.testing.assert_allclose(fast(x).logits, explicit(x).logits, atol=1e-6)  # rounding of logits below 1
