"""Labelled photos in CSV files, as people and programs write them."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support.labelled_pictures import draw_classes

from npconv.errors import InputError
from npconv.training import describe, read_photos
from npconv.training.photo_tables import MULTI, REGRESSION, SINGLE


@pytest.fixture
def write(tmp_path):
    """Return what writes a CSV file beside the photos a/0.png to a/5.png."""
    draw_classes(tmp_path, {"a": 6})

    def write(text: str, encoding: str = "utf-8"):
        path = tmp_path / "photos.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def read(path, **options):
    """Return the photos of a table without parts."""
    return read_photos(path, **options)["all"]


def said(photos) -> list[str]:
    return [describe(problem).removeprefix(os.path.dirname(photos.files[0]) + os.sep) for problem in photos.problems]


def test_a_file_and_a_label_stand_in_each_row(write, tmp_path):
    photos = read(write("file,label\na/0.png,cat\na/1.png,dog\na/2.png,cat\n"))
    assert photos.files == tuple(str(tmp_path / f"a/{number}.png") for number in range(3))
    assert photos.classes == ("cat", "dog")
    assert photos.targets.tolist() == [0, 1, 0]
    assert photos.problem_type == SINGLE
    assert photos.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "a/0.png,cat\na/1.png,dog\n",
        "Label,Image\ncat,a/0.png\ndog,a/1.png\n",
        "path;category\na/0.png;cat\na/1.png;dog\n",
        "filename\tclass\r\na/0.png\tcat\r\n\r\na/1.png\tdog\r\n",
        '"file" , "label"\n a/0.png , cat \n"a/1.png",dog',
        "file|label\na\\0.png|cat\na\\1.png|dog\n",
        "file,label,,\na/0.png,cat,,\na/1.png,dog,,\n",
    ],
)
def test_names_and_separators_may_be_others(write, text):
    photos = read(write(text))
    assert [os.path.basename(file) for file in photos.files] == ["0.png", "1.png"]
    assert [photos.classes[number] for number in photos.targets] == ["cat", "dog"]
    assert photos.problems == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_common_programs_are_read(write, encoding):
    assert read(write("file;label\na/0.png;Kätzchen\na/1.png;Hund\n", encoding)).classes == ("Hund", "Kätzchen")


def test_several_labels_of_a_photo_stand_in_more_columns(write):
    for text in ("file,label,label_2\na/0.png,cat,black\na/1.png,dog,\n", "a/0.png,cat,black\na/1.png,dog\n"):
        photos = read(write(text))
        assert photos.problem_type == MULTI
        assert photos.classes == ("black", "cat", "dog")
        assert photos.targets.tolist() == [[1, 1, 0], [0, 0, 1]]
        assert photos.targets.dtype == np.float32


def test_a_column_for_each_class_has_1_and_0(write):
    photos = read(write("file,dog,cat\na/0.png,1,0\na/1.png,,1\na/2.png,False,TRUE\na/3.png,0,0\n"))
    assert photos.problem_type == MULTI
    assert photos.classes == ("dog", "cat")
    assert photos.targets.tolist() == [[1, 0], [0, 1], [0, 1], [0, 0]]


def test_a_single_class_of_interest_is_one_column(write):
    photos = read(write("file,ripe\na/0.png,1\na/1.png,0\n"))
    assert (photos.problem_type, photos.classes) == (MULTI, ("ripe",))
    assert photos.targets.tolist() == [[1], [0]]


def test_other_numbers_are_to_be_predicted(write):
    photos = read(write("file,age\na/0.png,1.5\na/1.png,-3e2\n"))
    assert (photos.problem_type, photos.classes) == (REGRESSION, ("age",))
    assert photos.targets.tolist() == [1.5, -300]
    photos = read(write("file;x;y\na/0.png;1,5;2\na/1.png;0;1\n"))
    assert photos.classes == ("x", "y")
    assert photos.targets.tolist() == [[1.5, 2], [0, 1]]


def test_numbers_in_a_column_of_labels_are_names_unless_the_call_says_otherwise(write):
    path = write("file,label\na/0.png,10\na/1.png,9\na/2.png,9\n")
    assert read(path).classes == ("9", "10")
    photos = read(path, problem_type=REGRESSION)
    assert (photos.classes, photos.targets.tolist()) == (("label",), [10, 9, 9])
    assert photos.problem_type == REGRESSION


def test_a_row_without_a_number_is_left_out_of_a_regression(write):
    photos = read(write("file,age\na/0.png,1.5\na/1.png,\na/2.png,3\n"))
    assert photos.targets.tolist() == [1.5, 3]
    assert said(photos) == ["1.png: has no label, so it is left out"]


def test_parts_stand_in_a_column(write):
    found = read_photos(write("file,label,split\na/0.png,cat,train\na/1.png,cat,VAL\na/2.png,dog,train\n"))
    assert {part: photos.targets.tolist() for part, photos in found.items()} == {"train": [0, 1], "validation": [0]}
    with pytest.raises(InputError, match="row 3: expected train, validation or test in the column 'split', got 'la"):
        read_photos(write("file,label,split\na/0.png,cat,train\na/1.png,cat,later\n"))


def test_what_is_wrong_with_a_row_is_named_and_the_others_are_read(write):
    rows = [
        "a/0.png,cat", "a/9.png,cat", "https://host/1.png,cat", "a/1.png,", "a/0.png,cat", "a/2.png,cat", "a/2.png,dog",
        "a/2.png,elk", "a/3.png,dog",
    ]  # fmt: skip
    photos = read(write("\n".join(["file,label", *rows])))
    assert [os.path.basename(file) for file in photos.files] == ["0.png", "3.png"]
    assert photos.classes == ("cat", "dog")
    assert said(photos) == [
        "9.png: there is no such file",
        "https://host/1.png: is a URL, which is not fetched; download the photo and give its path",
        "1.png: has no label, so it is left out",
        "0.png: stands there twice, and counts once",
        "2.png: has other labels in another row, so it is left out; several labels of a photo stand in one row",
    ]


def test_other_columns_beside_labels_are_left_out(write):
    photos = read(write("file,label,width,taken by\na/0.png,cat,3,me\na/1.png,dog,4,you\n"))
    assert photos.classes == ("cat", "dog")
    assert said(photos) == ["width: this column is left out", "taken by: this column is left out"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a row for each photo, got an empty file"),
        ("\n ;\n", "a row for each photo, got an empty file"),
        ("file,label\n", "a row for each photo below the names of the columns, got none"),
        (
            "file\na/0.png\n",
            r"of labels \(label, class\), or of 1 and 0 for each class; got the columns 'file'",
        ),
        ("id,breed\n7,dog\n", r"a column of files \(file, path, image\) .* got the columns 'id', 'breed'"),
        ("file,label\na/9.png,cat\na/8.png,cat\n", r"none in 2 rows; the first: .*9.png: there is no such file"),
        (
            "file,age\na/0.png,3\na/1.png,old\n",
            "columns with other text, such as 'old': call the column of labels la",
        ),
        ("file,age,name\na/0.png,3,me\n", "columns with other text, such as 'me'"),
        ("file,label\na/0.png,x\0y\n", "a table in text, got other bytes; save it as CSV in UTF-8"),
        (f"file,label\na/0.png,{'x' * 200_000}\n", r"is not the CSV it should be \(field larger than field limit"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(write, text, reason):
    with pytest.raises(InputError, match=f"photos.csv: .*{reason}") as caught:
        read_photos(write(text))
    assert "\n" not in str(caught.value)


def test_a_wish_that_a_table_does_not_fit_is_refused(write):
    with pytest.raises(InputError, match="one label for each photo, got several in a row"):
        read_photos(write("a/0.png,cat,black\na/1.png,dog\n"), problem_type=SINGLE)
    with pytest.raises(InputError, match="columns with other text, such as 'cat'"):
        read_photos(write("file,label\na/0.png,cat\n"), problem_type=REGRESSION)


@pytest.mark.parametrize(
    ("wanted", "text"), [(SINGLE, "1,0"), (MULTI, "1,7"), (REGRESSION, "1,much"), (SINGLE, "cat,dog"), (MULTI, "cat,0")]
)
def test_columns_of_classes_that_do_not_fit_a_wish_are_refused(write, wanted, text):
    with pytest.raises(InputError, match="got columns with other text, such as '"):
        read_photos(write(f"file,a,b\na/0.png,{text}\n"), problem_type=wanted)


def test_a_single_column_is_read_as_it_is_wished(write):
    path = write("file,ripe\na/0.png,1\na/1.png,0\n")
    assert read(path, problem_type=SINGLE).classes == ("0", "1")
    assert read(path, problem_type=REGRESSION).targets.tolist() == [1, 0]
    with pytest.raises(InputError, match=r"expected problem_type single_label_classification, .* got 'ranking'"):
        read(path, problem_type="ranking")


def test_a_row_without_a_file_and_columns_of_one_name_are_told(write):
    photos = read(write("file,label\n,cat\na,cat\na/0.png,cat\n"))
    assert [problem.kind for problem in photos.problems] == ["missing", "missing"]
    with pytest.raises(InputError, match="a name of its own for each column, got one twice"):
        read(write("file,cat,cat\na/0.png,1,0\n"))


def test_a_table_that_cannot_be_read_or_is_huge_is_refused(write, monkeypatch):
    path = write("file,label\na/0.png,cat\n")
    monkeypatch.setattr("npconv.training.photo_tables.MAX_TABLE", 10)
    with pytest.raises(InputError, match="larger than 10 bytes"):
        read_photos(path)
