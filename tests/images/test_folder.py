"""Which files of a folder are its pictures, and in which order."""

import os

import pytest

import npconv.images
from npconv.errors import ImageError
from npconv.images import open_image
from npconv.images.folder import natural_key, pictures_in


@pytest.fixture
def folder(photo, tmp_path):
    root = tmp_path / "photos"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name in ("10.png", "2.png", "B.PNG", "a.jpg", "sub/1.gif", "sub/deep/0.bmp", ".hidden/1.png", ".x.png"):
        photo.save(root / name, "PNG")
    photo.save(root / "no_suffix", "PNG")
    (root / "broken.jpg").write_bytes(b"")  # meant as one
    (root / "notes.txt").write_text("no picture at all, but text")
    (root / "sub" / "Thumbs.db").write_bytes(bytes(100))
    (root / "page.html").write_text("<html>")
    return root


def names(folder):
    pictures, others = pictures_in(folder)
    return [os.path.relpath(path, folder) for path in pictures], others


def test_what_is_a_picture_and_in_which_order(folder):
    expected = ["2.png", "10.png", "a.jpg", "B.PNG", "broken.jpg", "no_suffix"]
    assert names(folder) == ([*expected, os.path.join("sub", "1.gif"), os.path.join("sub", "deep", "0.bmp")], 3)


def test_natural_order():
    given = ["img12", "img2", "IMG3", "img02", "img", "1", "10", "2a", "img2b"]
    assert sorted(given, key=natural_key) == ["1", "2a", "10", "img", "img02", "img2", "img2b", "IMG3", "img12"]
    assert sorted(["a2.png", "a.png", "a10.png", "a.jpg"], key=natural_key) == ["a.jpg", "a.png", "a2.png", "a10.png"]
    assert natural_key("9" * 5000)  # more digits than Python turns into a number


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes")
def test_links_and_pipes(folder):
    before = names(folder)[0]
    os.symlink(folder / "2.png", folder / "sub" / "link")
    os.symlink(folder, folder / "sub" / "loop")
    os.symlink(folder / "gone", folder / "sub" / "dangling")
    os.mkfifo(folder / "sub" / "pipe")
    after, others = names(folder)
    assert set(after) - set(before) == {os.path.join("sub", "link")}
    assert others == 5  # the link that leads nowhere and the pipe too; a link to a folder is neither


def test_as_advised_where_one_picture_was_expected(folder):
    with pytest.raises(ImageError, match=r"is a directory; .* npconv\.images\.pictures_in lists them"):
        open_image(folder)
    pictures, _ = npconv.images.pictures_in(folder)
    assert open_image(pictures[0]).size == (17, 11)


def test_a_folder_that_cannot_be_read(tmp_path):
    with pytest.raises(ImageError, match=r"cannot be opened .No such file"):
        pictures_in(tmp_path / "gone")
