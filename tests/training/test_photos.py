"""Labelled photos in folders and zip files: what is found, what is left out, and the word for it."""

from __future__ import annotations

import os
import shutil
import struct
import zipfile

import numpy as np
import pytest
from support.labelled_pictures import draw, draw_classes, zip_folder

from npconv.errors import ImageError, InputError
from npconv.images import open_image
from npconv.training import check_trainable, describe, read_photo, read_photos
from npconv.training.photo_archives import MAX_RATIO
from npconv.training.photos import photo_source
from npconv.training.problems import LOSSES, SENTENCES, Problem


def kinds(photos) -> list[tuple[str, str]]:
    """Return the kinds of problems and the last part of what they are of."""
    return [(problem.kind, os.path.basename(problem.file)) for problem in photos.problems]


def names(photos) -> list[str]:
    return ["/".join(file.replace(os.sep, "/").split("/")[-2:]) for file in photos.files]


@pytest.fixture(params=["folder", "zip"])
def as_source(request, tmp_path):
    """Return what makes of a folder the source that is read: itself, or a zip file of it."""
    return lambda folder: folder if request.param == "folder" else zip_folder(folder, tmp_path / "photos.zip")


def test_the_class_is_the_folder(tmp_path, as_source):
    source = as_source(draw_classes(tmp_path / "photos", {"dog": 2, "cat": 1}))
    (photos,) = read_photos(source).values()
    assert photos.part == "all"
    assert photos.classes == ("cat", "dog")
    assert names(photos) == ["cat/0.png", "dog/0.png", "dog/1.png"]
    assert photos.targets.tolist() == [0, 1, 1]
    assert photos.targets.dtype == np.int64
    assert photos.problems == ()
    assert len(photos) == 3


def test_classes_and_files_come_in_the_order_that_people_expect(tmp_path, as_source):
    source = as_source(draw_classes(tmp_path / "photos", {"10": 11, "9": 1, "Dog": 1, "cat": 1, "elk": 1}))
    (photos,) = read_photos(source).values()
    assert photos.classes == ("9", "10", "cat", "Dog", "elk")
    assert [name for name in names(photos) if name.startswith("10/")] == [f"10/{number}.png" for number in range(11)]


@pytest.mark.parametrize("around", ["", "data/", "data/v1.0/"])
def test_parts_are_known_by_the_names_of_their_folders(tmp_path, as_source, around):
    for part in ("Train", "val", "test"):
        draw_classes(tmp_path / "photos" / around / part, {"a": 2, "b": 1})
    found = read_photos(as_source(tmp_path / "photos"))
    assert list(found) == ["train", "validation", "test"]
    for part, photos in found.items():
        assert photos.part == part
        assert photos.classes == ("a", "b")
        assert photos.targets.tolist() == [0, 0, 1]


def test_photos_deeper_in_the_folder_of_a_class_are_of_it(tmp_path, as_source):
    draw_classes(tmp_path / "photos", {"cat": 1, "cat/young": 1, "dog/1/2/3": 1})
    (photos,) = read_photos(as_source(tmp_path / "photos")).values()
    assert photos.classes == ("cat", "dog")
    assert len(photos) == 3


def test_a_class_may_have_the_name_of_a_part(tmp_path, as_source):
    """Pictures of trains: no class lies in the folder."""
    (photos,) = read_photos(as_source(draw_classes(tmp_path / "photos", {"train": 2, "plane": 1}))).values()
    assert photos.classes == ("plane", "train")


def test_a_part_beside_a_class_is_an_error(tmp_path, as_source):
    source = as_source(draw_classes(tmp_path / "photos", {"train/cat": 1, "dog": 1}))
    with pytest.raises(InputError, match=r"every class in the folders of parts, as in 'train'; got 'dog' beside it"):
        read_photos(source)


def test_what_is_no_photo_of_a_class_is_named(tmp_path, as_source):
    folder = draw_classes(tmp_path / "photos", {"cat": 2, "dog": 1})
    draw(folder / "stray.png", (1, 1, 1))
    (folder / "bird").mkdir()
    for name in ("notes.txt", "cat/Thumbs.db"):
        (folder / name).write_text("no picture")
    (folder / ".hidden").mkdir()
    draw(folder / ".hidden" / "1.png", (2, 2, 2))
    (photos,) = read_photos(as_source(folder)).values()
    assert len(photos) == 3
    assert photos.classes == ("cat", "dog")
    assert [kind for kind, _ in kinds(photos)] == ["no_class", "empty_class", "not_pictures"]
    assert kinds(photos)[:2] == [("no_class", "stray.png"), ("empty_class", "bird")]
    assert describe(photos.problems[2]).endswith(": 2 files left out, not pictures")


def test_a_photo_beside_the_classes_of_a_part_does_not_make_the_part_a_class(tmp_path, as_source):
    folder = draw_classes(tmp_path / "photos", {"data/test/a": 2, "data/test/b": 1, ".": 1, "data": 1, "data/test": 1})
    (photos,) = read_photos(as_source(folder)).values()
    assert (photos.part, photos.classes) == ("test", ("a", "b"))
    assert [kind for kind, _ in kinds(photos)] == ["no_class"] * 3


def test_a_class_that_is_empty_in_one_part_is_named(tmp_path, as_source):
    folder = draw_classes(tmp_path / "photos", {"train/a": 1, "train/b": 1, "val/a": 1})
    (folder / "val" / "b").mkdir()
    found = read_photos(as_source(folder))
    assert kinds(found["train"]) == [("empty_class", "b"), ("class_in_one_part", "b")]
    assert found["train"].problems[0].file == "val/b"
    assert found["validation"].problems == ()
    assert describe(found["train"].problems[1]) == "b: this class has photos in the part train alone"


def test_the_same_picture_in_two_classes_is_left_out_of_both(tmp_path, as_source):
    folder = draw_classes(tmp_path / "photos", {"cat": 3, "dog": 2})
    shutil.copy(folder / "cat/1.png", folder / "dog/other name.png")
    shutil.copy(folder / "cat/0.png", folder / "cat/copy.png")  # no contradiction
    (photos,) = read_photos(as_source(folder)).values()
    assert names(photos) == ["cat/0.png", "cat/2.png", "cat/copy.png", "dog/0.png", "dog/1.png"]
    assert kinds(photos) == [("two_labels", "1.png"), ("two_labels", "other name.png")]
    assert "1.png: is the same picture as " in describe(photos.problems[0])
    assert "other name.png, which has another label, so both are left out" in describe(photos.problems[0])


@pytest.mark.parametrize("same", [0, 100])
def test_pictures_of_one_size_in_bytes_are_told_apart(tmp_path, as_source, same):
    """Also those that end alike."""
    folder = tmp_path / "photos"
    for place, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.bmp").write_bytes(b"BM" + bytes([place]) * 40 + bytes(same))
    (photos,) = read_photos(as_source(folder)).values()
    assert (len(photos), photos.problems) == (2, ())


def test_only_contradictions_leave_nothing(tmp_path, as_source):
    for name in ("a", "b"):
        draw(tmp_path / "photos" / name / "1.png", (9, 9, 9))
    with pytest.raises(InputError, match="expected photos with one label each, got each picture with two"):
        read_photos(as_source(tmp_path / "photos"))


@pytest.mark.parametrize("counts", [{}, {".": 3}])
def test_without_folders_of_classes_that_is_said(tmp_path, as_source, counts):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("none")
    source = as_source(draw_classes(tmp_path / "photos", counts))
    found = "3 photos in no such folder" if counts else "none"
    with pytest.raises(
        InputError, match=rf"expected photos in a folder for each class, such as cat/1.jpg; found {found}"
    ):
        read_photos(source)


@pytest.mark.long
def test_2000_classes_are_read(tmp_path, as_source):
    source = as_source(draw_classes(tmp_path / "photos", {f"class {number}": 1 for number in range(2000)}))
    (photos,) = read_photos(source).values()
    assert photos.classes[1:3] == ("class 1", "class 2")
    assert photos.targets.tolist() == list(range(2000))
    with pytest.raises(InputError, match="expected several photos of each class, got one of each of 2,000"):
        check_trainable(photos)


def test_one_class_is_read_but_cannot_be_trained(tmp_path, as_source):
    (photos,) = read_photos(as_source(draw_classes(tmp_path / "photos", {"cat": 3}))).values()
    assert photos.classes == ("cat",)
    with pytest.raises(InputError, match="two classes or more, which a model could tell apart, got 3 of 'cat' alone"):
        check_trainable(photos)


def test_a_class_with_one_photo_beside_others_can_be_trained(tmp_path):
    (photos,) = read_photos(draw_classes(tmp_path / "photos", {"cat": 3, "dog": 1})).values()
    check_trainable(photos)


def test_a_photo_is_read_from_a_folder_and_from_a_zip_file(tmp_path):
    folder = draw_classes(tmp_path / "photos", {"cat": 2})
    archive = zip_folder(folder, tmp_path / "photos.zip")
    content = (folder / "cat/1.png").read_bytes()
    for source in (folder, archive):
        file = read_photos(source)["all"].files[1]
        assert read_photo(file) == content
        assert open_image(photo_source(file)).getpixel((0, 0)) == (2, 0, 7)


def test_a_photo_that_is_gone_is_an_error_of_pictures(tmp_path):
    folder = draw_classes(tmp_path / "photos", {"cat": 1})
    archive = zip_folder(folder, tmp_path / "photos.zip")
    for name in (folder / "cat/9.png", archive / "cat/9.png"):
        with pytest.raises(ImageError, match=r"9\.png"):
            read_photo(str(name))
    assert read_photo(str(archive / "cat" / "0.png"))
    zip_folder(draw_classes(tmp_path / "others", {"dog": 2}), archive)
    assert read_photo(str(archive / "dog" / "1.png"))
    with pytest.raises(ImageError, match=r"the zip file has no cat/0.png; was it written anew\?"):
        read_photo(str(archive / "cat" / "0.png"))


def test_a_file_that_is_damaged_in_the_zip_file_is_an_error_of_that_photo(tmp_path):
    archive = zip_folder(draw_classes(tmp_path / "photos", {"cat": 2}), tmp_path / "photos.zip")
    content = bytearray(archive.read_bytes())
    place = content.index(b"cat/1.png") + len(b"cat/1.png") + 5
    content[place] ^= 255
    archive.write_bytes(content)
    photos = read_photos(archive)["all"]
    assert read_photo(photos.files[0])
    with pytest.raises(ImageError, match=r"cat/1\.png"):
        read_photo(photos.files[1])


def test_a_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", bytes(10_000_000))
    with pytest.raises(InputError, match=rf"would unpack to 10000000, expected at most {MAX_RATIO} times as many"):
        read_photos(tmp_path / "bomb.zip")


def test_a_photo_in_a_zip_file_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    archive = zip_folder(draw_classes(tmp_path / "photos", {"cat": 1}), tmp_path / "photos.zip")
    monkeypatch.setattr("npconv.training.photo_archives.MAX_BYTES", 10)
    with pytest.raises(ImageError, match="unpacks to more than 10 bytes"):
        read_photo(read_photos(archive)["all"].files[0])


@pytest.mark.parametrize("name", ["../cat/1.png", "/cat/1.png", "cat/../../1.png", "C:/cat/1.png", "cat\\1.png"])
def test_a_name_that_leads_out_of_the_zip_file_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr(name, b"content")
    with pytest.raises(InputError, match="expected a name that stays in its folder"):
        read_photos(tmp_path / "out.zip")


def test_names_as_windows_writes_them_are_read(tmp_path):
    """Letters that the IBM PC had are one byte, and no flag says that they are UTF-8."""
    content = draw(tmp_path / "1.png", (1, 2, 3)).read_bytes()
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("K?fer/1.png", content)
        archive.writestr("Bienen/1.png", content + b"another")
    whole = (tmp_path / "photos.zip").read_bytes()
    (tmp_path / "photos.zip").write_bytes(whole.replace(b"K?fer", b"K\x84fer"))
    photos = read_photos(tmp_path / "photos.zip")["all"]
    assert photos.classes == ("Bienen", "Käfer")
    assert read_photo(photos.files[1]) == content


def test_a_zip_file_that_is_cut_off_or_encrypted_is_refused(tmp_path):
    archive = zip_folder(draw_classes(tmp_path / "photos", {"cat": 2}), tmp_path / "photos.zip")
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-30])
    with pytest.raises(InputError, match="not a whole zip file"):
        read_photos(archive)
    encrypted = bytearray(whole)
    place = whole.index(b"PK\x01\x02")
    struct.pack_into("<H", encrypted, place + 8, 1)
    archive.write_bytes(encrypted)
    with pytest.raises(InputError, match="encrypted"):
        read_photos(archive)


def test_what_is_no_source_is_said(tmp_path):
    with pytest.raises(
        InputError, match="nowhere: no such folder or file; expected a folder of classes, a CSV or a zip"
    ):
        read_photos(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"1.png: is a single picture"):
        read_photos(draw(tmp_path / "1.png", (1, 2, 3)))
    with pytest.raises(InputError, match="is a pipe or a device"):
        read_photos(os.devnull)
    for odd in ("", "a\0b", "\ud800", "x" * 5000):
        with pytest.raises(InputError, match="no such folder or file"):
            read_photos(odd)
    with pytest.raises(InputError, match="expected the path of labelled photos, got int"):
        read_photos(3)


def test_a_folder_that_cannot_be_read_is_an_error_of_the_call(tmp_path, monkeypatch):
    folder = draw_classes(tmp_path / "photos", {"cat": 1})

    def refuse(path):
        raise ImageError(f"{path}: cannot be opened (Permission denied); check the path")

    monkeypatch.setattr("npconv.training.photo_folders.pictures_in", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        read_photos(folder)


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links")
def test_a_link_to_nothing_stops_no_other_photo(tmp_path):
    folder = draw_classes(tmp_path / "photos", {"cat": 2, "dog": 2})
    for name in ("cat", "dog"):
        os.symlink(tmp_path / "nothing", folder / name / "9.png")
    assert len(read_photos(folder)["all"]) == 6  # named when it is to be read


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links")
def test_links_to_the_folders_of_classes_are_followed(tmp_path):
    elsewhere = draw_classes(tmp_path / "elsewhere", {"cat": 2, "dog": 3})
    folder = draw(tmp_path / "photos/train/cow/1.png", (99, 9, 9)).parents[2]
    for name in ("cat", "dog"):
        os.symlink(elsewhere / name, folder / "train" / name)
    os.symlink(folder, elsewhere / "cat" / "loop")
    photos = read_photos(folder)["train"]
    assert photos.classes == ("cat", "cow", "dog")
    assert np.bincount(photos.targets).tolist() == [2, 1, 3]
    assert photos.problems == ()


def test_every_kind_of_problem_has_a_sentence_on_one_line():
    for kind in SENTENCES:
        said = describe(Problem(kind, "a\nb", "c\nd"))
        assert said.startswith("a\\nb: ")
        assert "\n" not in said
    assert set(SENTENCES) > LOSSES
