"""Elements of HTML: whatever is put into one does nothing there."""

from html.parser import HTMLParser

from npconv.html import Markup, element, image, joined

EVIL = "<script>alert('x')</script>&\"'\x00\x1b[31m\u202e"


class Tags(HTMLParser):
    """Collects the elements of a page, with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_texts_and_attributes_are_escaped():
    found = Tags(element("p", EVIL, title=EVIL))
    assert [tag for tag, _ in found.tags] == ["p"]
    assert found.text == EVIL.replace("\x00", "\\x00").replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert found.tags[0][1]["title"] == found.text


def test_elements_in_elements_stay_what_they_are():
    inner = element("b", "x")
    assert element("p", inner, " & ", None) == "<p><b>x</b> &amp; </p>"
    assert joined(inner, "<") == "<b>x</b>&lt;"
    assert isinstance(joined(), Markup)


def test_attributes_that_say_nothing_are_left_out():
    assert element("img", hidden=True, alt="", class_=None, data_of=False, tabindex=0) == (
        '<img hidden alt="" tabindex="0">'
    )


def test_ends_of_lines_stay():
    assert Tags(element("pre", "a\nb\tc")).text == "a\nb\\tc"


def test_a_picture_stands_in_the_page():
    assert image(b"png", "what").startswith('<img src="data:image/png;base64,cG5n" alt="what"')
