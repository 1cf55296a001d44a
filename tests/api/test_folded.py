"""Folded weights in a file: who writes it, when it is made anew, and that processes share it in memory."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.builders import BACKBONES, BARE_MODELS, CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv import NpconvWarning
from npconv.api.folded import _crc32, shared_loader
from npconv.api.shared import SharedClassifier
from npconv.files.safetensors import load_file, read_metadata, save_file
from npconv.workers.pool import WorkerPool

pytestmark = pytest.mark.long

KINDS = [(kind, family) for kind in (CLASSIFIERS, BARE_MODELS, BACKBONES) for family in kind]


def save(folder, family="convnext", kind=CLASSIFIERS, **options):
    filled_model(kind[family], CONFIGS[family]).save_pretrained(folder, **options)
    return kind[family]


def first_output(model):
    """Return the first array that a model gives."""
    output = model(pictures(2))[0]
    return output[0] if isinstance(output, tuple) else output


def cached(folder, pattern="folded.*.npconv"):
    """Return the one file of folded weights in a folder."""
    (file,) = folder.glob(pattern)
    return file


@pytest.fixture
def loaded(tmp_path):
    """Return the folder of a model, its class, what it gives, and the file of its folded weights, which is there."""
    model_class = save(tmp_path)
    expected = first_output(model_class.from_pretrained(tmp_path, engine="fast", cache=True))
    return tmp_path, model_class, expected, cached(tmp_path)


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_a_model_from_the_cache_is_the_same(kind, family, tmp_path):
    model_class = save(tmp_path, family, kind)
    expected = first_output(model_class.from_pretrained(tmp_path, engine="fast"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", NpconvWarning)
        warnings.filterwarnings("ignore", message=".*never trained", category=NpconvWarning)  # norms of a backbone
        for _ in ("written", "read"):
            model = model_class.from_pretrained(tmp_path, engine="fast", cache=True)
            np.testing.assert_array_equal(first_output(model), expected)
    assert cached(tmp_path).is_file()
    assert set(model.state_dict()) == set(model_class.parameter_shapes(CONFIGS[family]))


def test_what_is_in_the_cache_is_not_folded_again(loaded, monkeypatch):
    folder, model_class, expected, _ = loaded
    monkeypatch.setattr(model_class.family.part("fast"), "fold", lambda *_: pytest.fail("folded again"))
    np.testing.assert_array_equal(
        first_output(model_class.from_pretrained(folder, engine="fast", cache=True)), expected
    )


@pytest.mark.parametrize("make", ["folder", "file", "shards"])
def test_where_the_cache_is(tmp_path, make):
    model_class = save(tmp_path, max_shard_size="8KB" if make == "shards" else None)
    model = tmp_path / "model.safetensors" if make == "file" else tmp_path
    before = set(os.listdir(tmp_path))
    for _ in ("written", "read"):
        model_class.from_pretrained(model, engine="fast", cache=True)
    file = cached(tmp_path, "model.folded.*.npconv" if make == "file" else "folded.*.npconv")
    assert set(os.listdir(tmp_path)) - before == {file.name}


def test_a_cache_in_another_folder(tmp_path):
    model_class = save(tmp_path)
    before = set(os.listdir(tmp_path))
    (tmp_path / "mine").mkdir()
    model_class.from_pretrained(tmp_path, engine="fast", cache=str(tmp_path / "mine"))
    assert cached(tmp_path / "mine").is_file()
    assert set(os.listdir(tmp_path)) - before == {"mine"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_no_other_file_is_ever_written_to(tmp_path, name):
    """Nor taken for the cache."""
    model_class = save(tmp_path)
    content = (tmp_path / name).read_bytes()
    with pytest.warns(NpconvWarning, match="kept in memory only: cannot write"):
        model_class.from_pretrained(tmp_path, engine="fast", cache=tmp_path / name)
    assert (tmp_path / name).read_bytes() == content
    with pytest.raises(npconv.InputError, match="expected cache to be True, False or a folder, got 1"):
        model_class.from_pretrained(tmp_path, engine="fast", cache=1.0)


def test_models_of_one_checkpoint_with_other_heads_have_files_of_their_own(loaded):
    folder, model_class, _, file = loaded
    config = npconv.AutoConfig.from_pretrained(folder, num_labels=0)
    with pytest.warns(NpconvWarning, match="left out: classifier"):
        model_class.from_pretrained(folder, config=config, engine="fast", cache=True, strict=False)
    assert file.is_file()
    assert len(list(folder.glob("*.npconv"))) == 2
    model_class.from_pretrained(folder, engine="fast", cache=True, output_hidden_states=True)
    assert len(list(folder.glob("*.npconv"))) == 2


@pytest.mark.parametrize("arguments", [{"dtype": "float16"}, {"device": "cuda"}])
def test_a_call_that_is_refused_writes_nothing(tmp_path, arguments):
    model_class = save(tmp_path)
    with pytest.raises(npconv.InputError):
        model_class.from_pretrained(tmp_path, engine="fast", cache=True, **arguments)
    assert list(tmp_path.glob("*.npconv")) == []


def flip_a_bit(content):
    changed = bytearray(content)
    changed[-7] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-1], "made anew"),
        (lambda content: content[:100], "made anew"),
        (lambda content: b"", "made anew"),
        (lambda content: b"\xff" * 1000, "made anew"),
        (flip_a_bit, "made anew: it is damaged"),
        (lambda content: content.replace(b'"npconv":"', b'"npconv":"9'), "made anew"),
    ],
    ids=["short", "header only", "empty", "noise", "bit", "header"],
)
def test_a_damaged_cache_is_made_anew(loaded, damage, said):
    folder, model_class, expected, file = loaded
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(NpconvWarning, match=said):
        model = model_class.from_pretrained(folder, engine="fast", cache=True)
    np.testing.assert_array_equal(first_output(model), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model_class.from_pretrained(folder, engine="fast", cache=True)


@pytest.mark.parametrize(
    ("field", "said"), [("npconv", "another version"), ("weights", "other weights"), ("parameters", "other parameters")]
)
def test_a_stale_cache_is_made_anew(loaded, field, said):
    folder, model_class, expected, file = loaded
    save_file(load_file(file), file, {**read_metadata(file), field: "0"})
    with pytest.warns(NpconvWarning, match=said):
        model = model_class.from_pretrained(folder, engine="fast", cache=True)
    np.testing.assert_array_equal(first_output(model), expected)


def without_one(tensors):
    return dict(list(tensors.items())[:-1])


def with_one_more(tensors):
    return {**tensors, "config.one": np.zeros(3, np.float32)}


def in_float64(tensors):
    return {name: tensor.astype(np.float64) for name, tensor in tensors.items()}


@pytest.mark.parametrize("change", [without_one, with_one_more, in_float64])
def test_a_cache_of_other_arrays_is_made_anew(loaded, change):
    """With metadata and checksum that fit, as an error of another program might leave it."""
    folder, model_class, expected, file = loaded
    tensors = dict(sorted(change(load_file(file)).items()))
    save_file(tensors, file, {**read_metadata(file), "crc32": _crc32(tensors)})
    with pytest.warns(NpconvWarning, match="made anew: it holds other"):
        model = model_class.from_pretrained(folder, engine="fast", cache=True)
    np.testing.assert_array_equal(first_output(model), expected)


def test_new_weights_in_the_same_folder_are_seen(loaded):
    folder, model_class, expected, _ = loaded
    model_class(CONFIGS["convnext"], seed=3).save_pretrained(folder)
    with pytest.warns(NpconvWarning, match="other weights"):
        model = model_class.from_pretrained(folder, engine="fast", cache=True)
    explicit = model_class.from_pretrained(folder)
    np.testing.assert_allclose(first_output(model), first_output(explicit), atol=1e-5)  # float32 logits of a few units
    assert not np.allclose(first_output(model), expected)


def test_a_folder_that_cannot_be_written_to_costs_the_cache_only(tmp_path):
    model_class = save(tmp_path)
    with pytest.warns(NpconvWarning, match="kept in memory only: cannot write"):
        model = model_class.from_pretrained(tmp_path, engine="fast", cache=tmp_path / "missing")
    assert np.isfinite(first_output(model)).all()


def test_the_explicit_engine_has_no_cache(tmp_path):
    with pytest.raises(npconv.InputError, match="expected engine 'fast' beside cache, got 'explicit'"):
        save(tmp_path).from_pretrained(tmp_path, cache=True)


def test_an_activation_of_ones_own_is_no_hindrance(tmp_path):
    model_class = save(tmp_path)
    config = npconv.ConvNextConfig(**{**CONFIGS["convnext"].to_dict(), "hidden_act": np.tanh})
    for _ in ("written", "read"):
        model_class.from_pretrained(tmp_path, config=config, engine="fast", cache=True)


def mapped_files(model: str, **arguments) -> list[str]:
    """Return the files that a process maps after it has loaded and run a model."""
    loaded = npconv.AutoModelForImageClassification.from_pretrained(model, **arguments)
    loaded(pictures(1))
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sorted({line.split(maxsplit=5)[-1] for line in lines if line.endswith(".npconv")})


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at mapped files in /proc")
def test_workers_map_one_file(tmp_path):
    save(tmp_path)
    with WorkerPool(2) as pool:
        load = npconv.AutoModelForImageClassification.from_pretrained
        loader = shared_loader(pool, load, model=str(tmp_path), engine="fast", threads=1)
        (file,) = pool.folder.glob("*/*.npconv")
        assert shared_loader(pool, load, model=str(tmp_path), engine="fast", threads=1) == loader
        found = [pool.submit(mapped_files, str(tmp_path), engine="fast", cache=str(file.parent)) for _ in range(2)]
        assert [future.result() for future in found] == [[str(file)], [str(file)]]


def test_the_file_is_there_before_the_workers_are(tmp_path):
    """Else each would write one, and map its own."""
    save(tmp_path)
    with WorkerPool(2) as pool:
        load = npconv.AutoModelForImageClassification.from_pretrained
        shared_loader(pool, load, model=str(tmp_path), engine="fast", cache=True)
        assert cached(tmp_path).is_file()
        assert pool.process_ids() == []


def test_without_a_temporary_folder_each_worker_folds_for_itself(tmp_path, monkeypatch):
    save(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with WorkerPool(1) as pool:
        load = npconv.AutoModelForImageClassification.from_pretrained
        loader = shared_loader(pool, load, model=str(tmp_path), engine="fast")
        with pytest.raises(npconv.UnavailableError, match="no temporary folder can be made"):
            pool.folder  # noqa: B018 - it is made when it is asked for
    assert loader().engine == "fast"


def test_a_shared_classifier_leaves_nothing_behind(tmp_path):
    save(tmp_path)
    before = set(os.listdir(tmp_path))
    with SharedClassifier(tmp_path, workers=2) as classifier:
        classifier(pictures(2))
        folder = classifier._executor.folder
        assert len(list(folder.iterdir())) == 1
    assert not folder.exists()
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_other_executors_and_engines_fold_for_themselves(tmp_path, engine):
    save(tmp_path)
    load = npconv.AutoModelForImageClassification.from_pretrained
    with WorkerPool(1) as pool:
        loader = shared_loader(
            pool if engine == "explicit" else ThreadPoolExecutor(1), load, model=str(tmp_path), engine=engine
        )
        assert list(pool.folder.iterdir()) == []
    model = loader()
    assert model.engine == engine
