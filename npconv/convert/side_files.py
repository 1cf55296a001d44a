"""What becomes of each key of the small files that lie beside weights: used, without effect, or refused.

Whoever reads such a file accounts for every key in it, by :func:`account`. A key that is not known is named: in an
error where every key is an option of the model itself, in a warning elsewhere.

Sources: timm's ``_hub.py``, ``_pretrained.py`` and ``convnext.py``, open_clip's ``factory.py``, ``model.py`` and
``timm_model.py``, ``configuration_utils.py`` of transformers, ``_meta.py`` of torchvision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from npconv.errors import ConfigError
from npconv.images.processor import TYPE_KEYS
from npconv.images.settings import Settings
from npconv.messages import in_json, listed, nearest, quoted
from npconv.models import FAMILIES
from npconv.models.naming import CONFIG_FILE, WARNING, Decision

USED, CHECKED, IDLE, REFUSED = "used", "checked", "without effect", "refused"


@dataclass(frozen=True)
class Key:
    """What becomes of one key."""

    #: USED, CHECKED (the tensors decide, and must not say otherwise), IDLE or REFUSED.
    fate: str
    #: For what it is used, or why it has no effect, for people.
    why: str = ""
    #: The field of the configuration that it sets.
    sets: str = ""
    #: Their values and ours, where these are not the same; others are refused.
    values: Mapping[Any, Any] = field(default_factory=dict)
    #: Of a key that is refused, the values that ask for nothing.
    idle: tuple[Any, ...] = (None, False, "", 0)


@dataclass(frozen=True)
class Part:
    """The keys of one object in a side file."""

    #: The file as it is called, and where in it the object stands.
    file: str
    keys: Mapping[str, Key]
    #: Whether a key that is not known would be an option of the model, so that it is refused.
    is_closed: bool = False


def _idle(why: str, *names: str) -> dict[str, Key]:
    return {name: Key(IDLE, why) for name in names}


def _sets(name: str) -> Key:
    return Key(USED, f"`{name}`", name)


def _checked(name: str) -> Key:
    return Key(CHECKED, f"`{name}`", name)


#: timm's names of poolings; those that begin with ``fast`` are other code for the same numbers.
POOLINGS = {
    **{f"{fast}{name}": name for fast in ("", "fast") for name in ("avg", "max", "avgmax", "catavgmax")},
    "fast": "avg",
}

#: timm's names of activations that are in ``npconv.layers.ACTIVATIONS``.
ACTIVATIONS = {
    **{name: name for name in ("gelu", "quick_gelu", "relu", "selu", "silu", "swish", "mish", "hardswish")},
    "gelu_tanh": "gelu_pytorch_tanh",
    "hard_swish": "hardswish",
    "identity": "linear",
}

#: timm's names of norms.
NORMS = {
    f"{theirs}{end}": ours
    for theirs, ours in (("layernorm", "layer_norm"), ("rmsnorm", "rms_norm"), ("simplenorm", "simple_norm"))
    for end in ("", "2d")
}

#: What timm's norms add to the variance where nobody says it.
TIMM_EPS = 1e-6

_POOLING = Key(USED, "`pooling`", "pooling", POOLINGS)

TIMM_ARGUMENTS = Part(
    "timm's config.json, model_args",
    {
        "global_pool": _POOLING,
        "act_layer": Key(USED, "`hidden_act`", "hidden_act", ACTIVATIONS),
        "norm_layer": Key(USED, "`norm_type`", "norm_type", NORMS),
        "norm_eps": Key(USED, "`norm_eps` and `layer_norm_eps`", "norm_eps"),
        "output_stride": _sets("output_stride"),
        "drop_path_rate": _sets("drop_path_rate"),
        "depths": _checked("depths"),
        "dims": _checked("hidden_sizes"),
        "kernel_sizes": _checked("kernel_sizes"),
        "stem_type": _checked("stem_type"),
        "patch_size": _checked("patch_size"),
        "head_norm_first": _checked("head_norm_first"),
        "head_hidden_size": _checked("head_hidden_size"),
        "in_chans": _checked("num_channels"),
        "num_classes": Key(CHECKED, "number of classes"),
        "use_grn": Key(CHECKED, "V2 or not"),
        "conv_bias": Key(REFUSED, "`false`: convolutions without bias", idle=(None, True)),
        "features_only": Key(REFUSED, "maps in the place of logits; a backbone is made of the same weights"),
        "pruned": Key(REFUSED, "other widths in each block"),
        **_idle("first values of parameters", "ls_init_value", "head_init_scale"),
        **_idle(
            "how the same numbers are computed", "conv_mlp", "scriptable", "exportable", "no_jit", "device", "dtype"
        ),
        **_idle("acts in training only", "drop_rate"),
    },
    is_closed=True,
)

_ABOUT = ("license", "description", "origin_url", "paper_name", "paper_ids", "notes")

TIMM_PRETRAINED = Part(
    "timm's config.json, pretrained_cfg",
    {
        "input_size": Key(USED, "size of the pictures; its channels are checked"),
        "interpolation": Key(USED, "`resample`"),
        "crop_pct": Key(USED, "`crop_pct`"),
        "crop_mode": Key(USED, "how pictures are cropped or warped"),
        "mean": Key(USED, "`image_mean`"),
        "std": Key(USED, "`image_std`"),
        "num_classes": Key(CHECKED, "number of classes, where the file does not say it at its top"),
        "label_names": Key(USED, "names of the classes"),
        "labels": Key(USED, "names of the classes, in older files"),
        "tag": Key(USED, "the model's name"),
        "architecture": Key(USED, "as that at the top"),
        "label_offset": Key(REFUSED, "classes that timm cuts off when it loads them"),
        **_idle("longer names of the classes", "label_descriptions"),
        **_idle("for evaluation at another size, which timm does not do by itself", "test_input_size", "test_crop_pct"),
        **_idle("smallest size of pictures; ours follows from the strides", "min_input_size"),
        **_idle("whether timm warns of other sizes", "fixed_input_size"),
        **_idle("size of the last map; follows from that of the picture", "pool_size", "test_pool_size"),
        **_idle("names of modules that timm adapts", "first_conv", "classifier"),
        **_idle("where weights came from; nothing is fetched", "url", "file", "hf_hub_id", "hf_hub_filename", "source"),
        **_idle("in what form weights came; their names say it", "custom_load", "state_dict"),
        **_idle("about the model", *_ABOUT),
    },
)

TIMM = Part(
    "timm's config.json",
    {
        "architecture": Key(USED, "epsilons, activation and norm that go with the name; the model's name"),
        "num_classes": Key(CHECKED, "number of classes"),
        "num_features": Key(CHECKED, "channels that the classifier gets"),
        "global_pool": _POOLING,
        "model_args": Key(USED, "see below"),
        "pretrained_cfg": Key(USED, "see below"),
        "label_names": Key(USED, "names of the classes"),
        "labels": Key(USED, "names of the classes, in older files"),
        "id2label": Key(USED, "names of the classes, where the wrapper of transformers for timm says them alone"),
        **_idle("the same names the other way round", "label2id"),
        **_idle("longer names of the classes", "label_descriptions"),
        **_idle(
            "added by the wrapper of transformers for timm",
            *("model_type", "architectures", "do_pooling", "initializer_range", "problem_type", "transformers_version"),
            *("dtype", "torch_dtype"),
        ),
    },
)

OPEN_CLIP = Part(
    "open_clip_config.json",
    {"model_cfg": Key(USED, "see below"), "preprocess_cfg": Key(USED, "see below")},
)

OPEN_CLIP_MODEL = Part(
    "open_clip_config.json, model_cfg",
    {
        "embed_dim": Key(CHECKED, "numbers that the picture tower gives out"),
        "vision_cfg": Key(USED, "see below"),
        "hf_hub_id": Key(IDLE, "where weights came from; nothing is fetched"),
        **_idle("of the text tower", "text_cfg", "multimodal_cfg", "custom_text"),
        **_idle("of open_clip's own towers, which timm's are not", "quick_gelu", "cast_dtype"),
        **_idle("of the comparison with texts", "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"),
    },
)

OPEN_CLIP_VISION = Part(
    "open_clip_config.json, model_cfg.vision_cfg",
    {
        "timm_model_name": Key(USED, "as timm's `architecture`"),
        "timm_pool": _POOLING,
        "timm_drop_path": _sets("drop_path_rate"),
        "image_size": Key(USED, "size of the pictures, and `image_size`"),
        "timm_proj": Key(CHECKED, "layers after the tower; the tensors decide"),
        "timm_proj_bias": Key(CHECKED, "their bias; the tensors decide"),
        **_idle("whether weights of timm were taken first", "timm_model_pretrained"),
        **_idle("acts in training only", "timm_drop", "patch_dropout"),
        **_idle(
            "of open_clip's own towers, which timm's are not",
            *("layers", "width", "head_width", "mlp_ratio", "patch_size", "ls_init_value", "attentional_pool"),
            *("attn_pooler_queries", "attn_pooler_heads", "no_ln_pre", "pos_embed_type", "final_ln_after_pool"),
            *("pool_type", "output_tokens", "act_kwargs", "norm_kwargs", "input_patchnorm", "global_average_pool"),
        ),
    },
    is_closed=True,
)

OPEN_CLIP_PICTURES = Part(
    "open_clip_config.json, preprocess_cfg",
    {
        "size": Key(USED, "size of the pictures, in the place of `image_size`"),
        "mean": Key(USED, "`image_mean`"),
        "std": Key(USED, "`image_std`"),
        "interpolation": Key(USED, "`resample`"),
        "resize_mode": Key(
            USED, "how pictures are cropped or warped", values={"shortest": "center", "squash": "squash"}
        ),
        "mode": Key(CHECKED, "colours: RGB", values={"RGB": "RGB"}),
        **_idle("fills what `resize_mode` longest leaves, which is refused", "fill_color"),
    },
    is_closed=True,
)

#: What old configurations of transformers say of the writing of texts.
_GENERATION = (
    *("add_cross_attention", "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "cross_attention_hidden_size"),
    *("decoder_start_token_id", "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size"),
    *("eos_token_id", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", "is_decoder"),
    *("is_encoder_decoder", "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups"),
    *("num_beams", "num_return_sequences", "output_scores", "pad_token_id", "prefix", "remove_invalid_values"),
    *("repetition_penalty", "return_dict_in_generate", "sep_token_id", "suppress_tokens", "task_specific_params"),
    *("temperature", "tie_encoder_decoder", "tie_word_embeddings", "tokenizer_class", "top_k", "top_p", "typical_p"),
)

_TRAINING = Key(USED, "in training only")
_TRAINING_FIELDS = ("drop_path_rate", "drop_rate", "attention_drop_rate", "initializer_range", "layer_scale_init_value")

HUGGING_FACE = Part(
    "config.json of transformers, every family",
    {
        "model_type": Key(CHECKED, "the family"),
        **_idle("follows from the tensors", "architectures", "stage_names"),
        "id2label": Key(USED, "names of the classes"),
        "label2id": Key(USED, "names of the classes"),
        "num_labels": Key(CHECKED, "number of classes"),
        "problem_type": Key(USED, "the loss"),
        **{name: Key(USED, "what a model returns") for name in ("return_dict", "output_hidden_states")},
        "_name_or_path": Key(USED, "the model's name"),
        **_idle("dtype of the file, which says it itself", "dtype", "torch_dtype"),
        "quantization_config": Key(REFUSED, "weights of another form"),
        **_idle("code of the repository, which is never run", "auto_map"),
        **_idle("about the file", "transformers_version", "_commit_hash", "finetuning_task"),
        **_idle(
            "has no effect in these models",
            *("output_attentions", "torchscript", "use_bfloat16", "tf_legacy_loss", "pruned_heads"),
            *("chunk_size_feed_forward", "attn_implementation", "_attn_implementation_autoset"),
        ),
        **_idle("of models that write texts", *_GENERATION),
    },
)


def own_part(model_type: str) -> Part:
    """Return what becomes of the keys of a family's ``config.json`` that not every family has."""
    own = FAMILIES[model_type].config_class
    names = sorted({*own.field_names(), *own().to_dict()} - HUGGING_FACE.keys.keys())
    kept = Key(USED, "the field of this name")
    return Part(f"config.json of a {model_type}", {n: _TRAINING if n in _TRAINING_FIELDS else kept for n in names})


def hugging_face_part(model_type: str) -> Part:
    """Return what becomes of all keys of a family's ``config.json``."""
    own = own_part(model_type)
    return Part(own.file, {**own.keys, **HUGGING_FACE.keys})


PREPROCESSOR = Part(
    "preprocessor_config.json",
    {
        **{setting.name: Key(USED, "the setting of this name") for setting in fields(Settings)},
        **_idle("the name of a class; the family decides", *TYPE_KEYS),
        **_idle("of pictures in memory, which each call says", "data_format", "input_data_format", "return_tensors"),
        **_idle("where and how the same numbers are computed", "device", "disable_grouping", "default_to_square"),
        **_idle("has no effect in these processors", "image_seq_length", "pad_size", "_valid_processor_keys"),
        "do_pad": Key(REFUSED, "borders around pictures"),
    },
)

#: torchvision has no side files: this is what ``ConvNeXt_Tiny_Weights.DEFAULT`` and the like hold in its code.
TORCHVISION = Part(
    "torchvision's weights, in its code",
    {
        "transforms.crop_size": Key(USED, "size of the pictures of the four published models"),
        "transforms.resize_size": Key(USED, "`crop_pct` of the four published models"),
        "transforms.interpolation": Key(USED, "`resample`"),
        **{f"transforms.{name}": Key(USED, f"`image_{name}`") for name in ("mean", "std")},
        "transforms.antialias": Key(USED, "as Pillow does"),
        **_idle("not in the file of weights: `--labels` takes them", "meta.categories"),
        **_idle("about the model", "meta.min_size", "meta.num_params", "meta.recipe", "meta._metrics", "meta._docs"),
        **_idle("about the model", "meta._ops", "meta._file_size"),
    },
)


def account(part: Part, stated: Mapping[str, Any]) -> Iterator[Decision]:
    """Yield a warning that names the keys which are not known.

    Raises
    ------
    ConfigError
        If a key asks for what the models do not have, or is not known where every key is an option of the model.
    """
    unknown = [name for name in stated if name not in part.keys]
    if unknown and part.is_closed:
        near = nearest(unknown[0], list(part.keys))
        meant = f"; did you mean {near}?" if near else ""
        raise ConfigError(
            f"{part.file}: {quoted(unknown[0])} is no option that is known, and may change the numbers{meant}; "
            "give the path of the weights to convert without the file"
        )
    for name, value in stated.items():
        key = part.keys.get(name)
        if key is not None and key.fate == REFUSED and value not in key.idle:
            raise ConfigError(
                f"{part.file}: {name} {in_json(value)} is not supported ({key.why.replace('`', '')}); "
                "give the path of the weights to convert without the file"
            )
    if unknown:
        why = f"{part.file} has keys that are not known, and without effect: {listed(list(map(quoted, unknown)))}"
        yield Decision("", None, CONFIG_FILE, WARNING, why)


def ours(part: Part, name: str, value: Any) -> Any:
    """Return our value for theirs of a key.

    Raises
    ------
    ConfigError
        If it is one that the models do not have.
    """
    values = part.keys[name].values
    if not values:
        return value
    given = value.lower() if isinstance(value, str) and name != "mode" else value
    if not isinstance(given, str) or given not in values:
        raise ConfigError(
            f"{part.file}: {name} {in_json(value)} is not supported, expected one of {', '.join(values)}; "
            "give the path of the weights to convert without the file"
        )
    return values[given]


def fields_of(part: Part, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of our configuration that the keys of a part set; null stands for what is usual."""
    there = ((name, value) for name, value in stated.items() if name in part.keys and value is not None)
    return {part.keys[name].sets: ours(part, name, value) for name, value in there if part.keys[name].sets}


def parts() -> list[Part]:
    """Return all parts, in the order of the README's table."""
    return [
        *(TIMM, TIMM_ARGUMENTS, TIMM_PRETRAINED),
        *(OPEN_CLIP, OPEN_CLIP_MODEL, OPEN_CLIP_VISION, OPEN_CLIP_PICTURES),
        *(HUGGING_FACE, *map(own_part, FAMILIES)),
        *(PREPROCESSOR, TORCHVISION),
    ]


def table() -> str:
    """Return all of it as Markdown: a table for each part, a row for all keys with which the same is done."""
    texts = []
    for part in parts():
        rows: dict[tuple[str, str], list[str]] = {}
        for name, key in part.keys.items():
            asked = f", unless {' or '.join(in_json(value) for value in key.idle[:2])}" if key.fate == REFUSED else ""
            named = f"; {', '.join(f'`{value}`' for value in key.values)}" if key.values else ""
            rows.setdefault((f"{key.fate}{asked}", f"{key.why}{named}"), []).append(f"`{name}`")
        lines = [f"| {', '.join(names)} | {fate} | {why} |" for (fate, why), names in rows.items()]
        other = "refused" if part.is_closed else "named in a warning"
        rest = [] if part in (HUGGING_FACE, TORCHVISION) else [f"| any other | {other} | |"]
        lines = ["| key | what becomes of it | |", "|---|---|---|", *lines, *rest]
        texts.append("\n".join([f"### {part.file}\n", *lines]))
    return "\n\n".join(texts) + "\n"
