"""What is true of every page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

#: Elements that have no end.
_VOID = {"meta", "link", "input", "br"}
#: And of SVG, which may end in themselves.
_EVENTS = re.compile(r"^on[a-z]+$")
_PLACES = {"x", "x1", "x2", "cx", "width"}


class Document(HTMLParser):
    """A page, read: which elements there are, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check(text: str) -> Document:
    """
    Check a page or fragment: each element is closed, nothing inline that the policy forbids, percentages within 0
    and 100, no id twice; return it, read.
    """
    document = Document(text)
    ids = []
    for tag, attributes in document.elements:
        assert tag != "style"
        if tag == "script":
            assert set(attributes) == {"src"}
        for name, value in attributes.items():
            assert name != "style"
            assert not _EVENTS.match(name), f"{tag} has {name}"
            if name in ("href", "src", "action"):
                assert not (value or "").strip().lower().startswith(("javascript:", "data:", "//")), value
            if name == "id":
                ids.append(value)
            if name in _PLACES and (value or "").endswith("%"):
                assert 0.0 <= float((value or "")[:-1]) <= 100.0, f"{tag} {name}={value}"
            assert "nan" not in (value or "").lower().split(), f"{tag} {name}={value}"
    assert len(ids) == len(set(ids)), f"an id is there twice: {sorted(ids, key=str)}"
    return document
