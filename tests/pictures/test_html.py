"""A page may ask for nothing."""

import base64
import hashlib
import re

from test_elements import EVIL, Tags

from npconv.html import element
from npconv.pictures.html import MARK, page


def test_the_policy_allows_the_style_and_the_script_of_the_page_and_no_request():
    text = page(EVIL, element("p", EVIL))
    found = Tags(text)
    policy = next(attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert MARK in text[:4096]
    assert "url(" not in text
    assert "http" not in text.replace("http-equiv", "")
