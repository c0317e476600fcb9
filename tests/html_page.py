"""A page as a browser would read it: its elements, attributes and texts."""

from __future__ import annotations

from html.parser import HTMLParser

__all__ = ["HtmlPage"]

_EMPTY = {"br", "meta"}
_LOADING = {"src", "srcset", "action", "data", "poster", "background", "xlink:href"}


class HtmlPage(HTMLParser):
    """Parses ``content``; an element that is not closed in its turn is an error."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "title"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is read on the page."""
        return " ".join(" ".join(self.texts).split())

    def of_class(self, name: str) -> list[tuple[str, dict[str, str]]]:
        """The elements of a class."""
        return [each for each in self.elements if name in each[1].get("class", "").split()]

    def check_harmless(self) -> None:
        """Nothing in it runs, and nothing is fetched from elsewhere."""
        for tag, attributes in self.elements:
            assert tag not in {"script", "iframe", "object", "embed", "link", "img", "base", "form"}
            assert not [name for name in attributes if name.startswith("on") or name in _LOADING]
            assert attributes.get("href", "#").startswith("#")
            assert "url(" not in attributes.get("style", "")
