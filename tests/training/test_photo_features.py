"""Features of photos: those of the model, worked out once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import npconv
from npconv.errors import InputError
from npconv.images import open_image
from npconv.training import features as module
from npconv.training.features import work_out_features

CONFIGS = {
    "convnextv2": npconv.ConvNextV2Config(num_stages=2, hidden_sizes=[6, 10], depths=[1, 2], num_labels=3),
    "cvt": npconv.CvtConfig(embed_dim=[6, 10, 12], num_heads=[1, 2, 3], depth=[1, 2, 3], num_labels=3),
}


def save_model(folder, config, size=16):
    getattr(
        npconv,
        config.architectures[0]
        if config.architectures
        else type(config).__name__.replace("Config", "ForImageClassification"),
    )(config, seed=3).save_pretrained(folder)
    npconv.ConvNextImageProcessor(size=size, crop_pct=1.0).save_pretrained(folder)
    return folder


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model", CONFIGS["convnextv2"])


@pytest.fixture
def photos(tmp_path):
    """Five photos, and one that is none."""
    rng = np.random.default_rng(0)
    files = [str(tmp_path / f"{number}.png") for number in range(5)]
    for number, file in enumerate(files):
        Image.fromarray(rng.integers(0, 256, (20 + number, 24, 3), dtype=np.uint8)).save(file)
    (tmp_path / "none.jpg").write_text("no picture at all")
    return [*files[:2], str(tmp_path / "none.jpg"), *files[2:]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("NPCONV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def work_out(model, photos, **options):
    processor = npconv.AutoImageProcessor.from_pretrained(model)
    return work_out_features(photos, model, processor=processor, **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_features_of_all_stages_are_what_its_classifier_gets(tmp_path, photos, name):
    model = save_model(tmp_path / name, CONFIGS[name])
    found = work_out(model, photos, batch_size=2)
    assert found.readable.tolist() == [0, 1, 3, 4, 5]
    pixel_values = npconv.AutoImageProcessor.from_pretrained(model)([open_image(photos[i]) for i in found.readable])
    loaded = npconv.AutoModelForImageClassification.from_pretrained(model)
    classifier, logits = loaded.params["classifier"], loaded(pixel_values).logits
    pooled = found.of_stages(max(found.columns), found.readable)
    # float32 and another order of sums
    np.testing.assert_allclose(pooled @ classifier["weight"].T + classifier["bias"], logits, atol=1e-5)
    widths = {count: columns.stop - columns.start for count, columns in found.columns.items()}
    assert widths == ({3: 12} if name == "cvt" else {1: 6, 2: 10})


def test_what_cannot_be_read_is_said_and_its_row_stays_empty(model, photos):
    found = work_out(model, photos)
    assert [(problem.kind, problem.file) for problem in found.problems] == [("unreadable", photos[2])]
    assert found.problems[0].detail.startswith("not a picture")
    assert not found.table[2].any()
    missing = work_out(model, [photos[0], "missing.png"]).problems
    assert missing[0].detail == "cannot be opened (No such file or directory); check the path"


def test_a_second_run_needs_no_model(model, photos, monkeypatch):
    first = work_out(model, photos[:2])
    monkeypatch.setattr(module, "pipeline", None)
    again = work_out(model, photos[1::-1])
    np.testing.assert_array_equal(again.table, first.table[::-1])
    assert again.readable.tolist() == [0, 1]


def test_only_new_photos_are_worked_out(model, photos, monkeypatch):
    work_out(model, photos[:2])
    worked: list[str] = []
    prepare = module.FeatureWork.prepare
    monkeypatch.setattr(
        module.FeatureWork, "prepare", lambda self, tool, item: worked.append(item.place) or prepare(self, tool, item)
    )
    done: list[int] = []
    found = work_out(model, photos, advance=done.append)
    assert worked == [2, 3, 4, 5]  # one that cannot be read is tried each time
    assert sum(done) == len(photos)
    np.testing.assert_allclose(found.table, work_out(model, photos, cache=False).table, atol=1e-6)


def test_a_changed_photo_model_or_preprocessing_is_worked_out_anew(model, photos, own_cache, tmp_path):
    first = work_out(model, photos[:1]).table
    Image.new("RGB", (9, 9), "red").save(photos[0])
    assert (work_out(model, photos[:1]).table != first).any()
    assert len(list(own_cache.iterdir())) == 1
    save_model(model, CONFIGS["convnextv2"], size=24)
    other = work_out(model, photos[:1]).table
    np.testing.assert_array_equal(other, work_out(model, photos[:1], cache=False).table)
    assert len(list(own_cache.iterdir())) == 2


def test_without_a_cache_nothing_is_written(model, photos, own_cache):
    work_out(model, photos, cache=False)
    assert not own_cache.exists()


@pytest.mark.long
def test_workers_give_the_same_features(model, photos):
    alone = work_out(model, photos, cache=False, batch_size=2)
    shared = work_out(model, photos, cache=False, batch_size=2, workers=2)
    # float32, whose sums threads and processes cut in other places
    np.testing.assert_allclose(alone.table, shared.table, atol=1e-5)
    assert alone.problems == shared.problems
    np.testing.assert_array_equal(alone.is_readable, shared.is_readable)


def test_a_model_that_can_have_no_classifier_is_refused(tmp_path, photos):
    config = npconv.DINOv3ConvNextConfig(hidden_sizes=[6, 8, 10, 12], depths=[1, 1, 1, 1])
    npconv.DINOv3ConvNextModel(config).save_pretrained(tmp_path / "dino")
    with pytest.raises(InputError, match="expected a model that can have a classifier, got one of DINOv3"):
        work_out_features(photos, tmp_path / "dino", processor=npconv.ConvNextImageProcessor())
