"""The six classes called ``TF...``: called as their documents say, on the files and with the numbers of the others."""

import copy
import pickle

import numpy as np
import pytest
from PIL import Image
from support.builders import CLASSIFIERS, CONFIGS, FAMILIES, filled_model, pictures

import npconv
from npconv import ConfigError, InputError
from npconv import models as npconv_models
from npconv.api import outputs

EACH = pytest.mark.parametrize("family", FAMILIES)

BARE = {"convnext": npconv.TFConvNextModel, "convnextv2": npconv.TFConvNextV2Model, "cvt": npconv.TFCvtModel}
HEADS = {
    "convnext": npconv.TFConvNextForImageClassification,
    "convnextv2": npconv.TFConvNextV2ForImageClassification,
    "cvt": npconv.TFCvtForImageClassification,
}

#: By family: the class of a bare model's outputs and of a classifier's, and the fields of both.
DOCUMENTED = {
    "convnext": (
        *("TFBaseModelOutputWithPooling", ["last_hidden_state", "pooler_output", "hidden_states", "attentions"]),
        *("TFSequenceClassifierOutput", ["loss", "logits", "hidden_states", "attentions"]),
    ),
    "convnextv2": (
        *("TFBaseModelOutputWithPoolingAndNoAttention", ["last_hidden_state", "pooler_output", "hidden_states"]),
        *("TFImageClassifierOutputWithNoAttention", ["loss", "logits", "hidden_states"]),
    ),
    "cvt": (
        *("TFBaseModelOutputWithCLSToken", ["last_hidden_state", "cls_token_value", "hidden_states"]),
        *("TFImageClassifierOutputWithNoAttention", ["loss", "logits", "hidden_states"]),
    ),
}


def made(model_class, family, **options):
    """Return a model whose parameters are those of the class without ``TF``."""
    return filled_model(model_class, copy.deepcopy(CONFIGS[family]), **options)


@EACH
def test_outputs_have_the_classes_and_fields_of_the_documents(family):
    bare_name, bare_fields, head_name, head_fields = DOCUMENTED[family]
    bare = made(BARE[family], family)(pictures(), output_hidden_states=True)
    head = made(HEADS[family], family)(pictures(), labels=[1, 3], output_hidden_states=True)
    for output, name, fields in ((bare, bare_name, bare_fields), (head, head_name, head_fields)):
        assert type(output) is getattr(outputs, name)
        assert list(vars(output)) == fields
        assert list(output) == [field for field in fields if field != "attentions"]
        assert getattr(output, "attentions", None) is None


@EACH
def test_numbers_and_layout_are_those_of_the_classes_without_tf(family):
    x = pictures()
    named, bare = npconv_models.FAMILIES[family].class_names, made(BARE[family], family)
    for ours, theirs in (
        (bare(x, output_hidden_states=True), made(getattr(npconv, named["model"]), family)(x, True)),
        (made(HEADS[family], family)(x), made(CLASSIFIERS[family], family)(x)),
    ):
        assert list(ours) == list(theirs)
        for name in ours:
            for ours_too, theirs_too in zip(ours[name], theirs[name], strict=True):
                np.testing.assert_array_equal(ours_too, theirs_too)
    assert bare(x).last_hidden_state.shape[:2] == (2, CONFIGS[family].to_dict().get("hidden_sizes", [12])[-1])


@EACH
def test_every_calling_form_gives_the_same(family):
    x, labels = pictures(), np.array([1, 3])
    bare, head = made(BARE[family], family), made(HEADS[family], family)
    expected, logits, loss = bare(x).last_hidden_state, head(x).logits, head(x, labels=labels).loss
    for inputs in (x, [x], (x,), {"pixel_values": x}):
        np.testing.assert_array_equal(bare(inputs, training=False).last_hidden_state, expected)
        np.testing.assert_array_equal(head(inputs, training=None).logits, logits)
    np.testing.assert_array_equal(bare(pixel_values=x, return_dict=False)[0], expected)
    np.testing.assert_array_equal(bare.call(pixel_values=x).last_hidden_state, expected)
    for output in (head([x, labels]), head({"pixel_values": x, "labels": labels}), head(pixel_values=x, labels=labels)):
        np.testing.assert_array_equal(output.loss, loss)


def test_arguments_come_in_the_order_of_the_documents():
    x, labels = pictures(), np.array([1, 3])
    for family in ("convnext", "convnextv2"):
        found = made(HEADS[family], family)(x, True, False, labels, False)
        assert [len(found), found[1].shape, len(found[2])] == [3, (2, 4), 4]
    found = made(HEADS["cvt"], "cvt")(x, labels, True, False, False)
    assert [len(found), found[1].shape, len(found[2])] == [3, (2, 4), 3]
    for family in FAMILIES:
        assert len(made(BARE[family], family)(x, True, False, False)) == 3


@EACH
def test_losses_have_the_shapes_of_the_documents(family):
    x, labels = pictures(batch=3), np.array([1, 3, 0])
    model, mean = made(HEADS[family], family), made(CLASSIFIERS[family], family)(x, labels=labels).loss
    loss = model(x, labels=labels).loss
    assert mean.shape == ()
    if family != "convnext":
        assert loss.shape == (1,)
        assert loss[0] == mean
        return
    assert loss.shape == (3,)
    np.testing.assert_allclose(loss.mean(), mean, rtol=1e-6)  # the same sum in another order
    scores = model(x).logits.astype(np.float64)
    expected = np.log(np.exp(scores).sum(1)) - scores[np.arange(3), labels]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)  # float32 beside float64
    with pytest.raises(InputError, match=r"expected labels for 3 samples, got labels \(2,\)"):
        model(x, labels=labels[:2])


def test_a_regression_has_a_loss_for_each_sample():
    config = npconv.ConvNextConfig(hidden_sizes=[4, 6], depths=[1, 1], num_stages=2, num_labels=1)
    output = npconv.TFConvNextForImageClassification(config)(pictures(batch=3), labels=[1.0, 2.0, 4.0])
    np.testing.assert_allclose(output.loss, (output.logits[:, 0] - [1, 2, 4]) ** 2, rtol=1e-5)
    assert npconv.TFConvNextForImageClassification(config)(pictures(batch=1), labels=[1.0]).loss.shape == (1,)


@pytest.mark.parametrize("family", ["convnext", "convnextv2"])
def test_the_pooled_features_can_be_left_out(family):
    for model_class in (BARE[family], getattr(npconv, BARE[family].__name__.removeprefix("TF"))):
        model, x = made(model_class, family, add_pooling_layer=False), pictures()
        assert model(x).pooler_output is None
        assert len(model(x, return_dict=False)) == 1
        assert made(model_class, family, add_pooling_layer=True)(x).pooler_output is not None


def test_cvt_takes_the_argument_which_changes_nothing():
    for model_class in (npconv.CvtModel, npconv.TFCvtModel):
        output = made(model_class, "cvt", add_pooling_layer=False)(pictures())
        assert list(output) == ["last_hidden_state", "cls_token_value"]
    with pytest.raises(InputError, match="expected add_pooling_layer with a bare model, got it with TFCvtForImage"):
        made(HEADS["cvt"], "cvt", add_pooling_layer=False)


@EACH
def test_they_load_and_write_the_files_of_the_others(family, tmp_path):
    written, x = made(HEADS[family], family), pictures()
    written.save_pretrained(tmp_path)
    again = CLASSIFIERS[family].from_pretrained(tmp_path)
    assert again.config.architectures == [CLASSIFIERS[family].__name__]
    np.testing.assert_array_equal(again(x).logits, written(x).logits)
    for options in ({}, {"from_pt": True}, {"from_tf": True}):
        assert type(HEADS[family].from_pretrained(tmp_path, **options)) is HEADS[family]
        np.testing.assert_array_equal(HEADS[family].from_pretrained(tmp_path, **options)(x).logits, written(x).logits)
        assert type(npconv.TFAutoModelForImageClassification.from_pretrained(tmp_path, **options)) is HEADS[family]
    bare = npconv.TFAutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert type(bare) is BARE[family]
    assert getattr(bare(x), "pooler_output", None) is None


@EACH
def test_they_are_classes_like_the_others(family):
    for made_class in (BARE[family], HEADS[family]):
        assert issubclass(made_class, (npconv.TFPreTrainedModel, npconv.PreTrainedModel))
        assert made_class is getattr(npconv.api, made_class.__name__)
        assert pickle.loads(pickle.dumps(made_class)) is made_class
        assert made_class.__name__ in npconv.__all__
        assert made_class.config_class is type(CONFIGS[family])
    assert not issubclass(BARE[family], type(made(CLASSIFIERS[family], family)))


@EACH
def test_the_fast_engine_and_pipelines_take_them(family):
    x = pictures(height=32, width=32)
    explicit, fast = made(HEADS[family], family), made(HEADS[family], family, engine="fast")
    np.testing.assert_allclose(fast(x).logits, explicit(x).logits, rtol=1e-3, atol=1e-4)  # another order of sums
    explicit.config.update({"id2label": dict(enumerate(["cat", "cow", "dog", "hen"]))})
    processor = npconv.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=1.0)
    pipe = npconv.pipeline("image-classification", model=explicit, image_processor=processor)
    assert len(pipe(Image.new("RGB", (40, 40)), top_k=2)) == 2


def test_dinov3_has_none():
    assert not [name for name in npconv.__all__ if name.startswith("TFDINO")]
    config = npconv.DINOv3ConvNextConfig(hidden_sizes=[4, 6], depths=[1, 1])
    with pytest.raises(ConfigError, match="DINOv3 has no TFDINOv3ConvNextModel; use DINOv3ConvNextModel"):
        npconv.TFAutoModel.from_config(config)
    assert isinstance(npconv.AutoModel.from_config(config), npconv.DINOv3ConvNextModel)
