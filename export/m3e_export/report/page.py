"""The HTML document of a report."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from importlib import resources

import m3e_runtime
from m3e_export.report.markup import Markup, element, joined

__all__ = ["page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The browser runs no script and fetches nothing, even if a text became markup by mistake."""


def page(title: str, sections: Sequence[Markup]) -> str:
    """The document. ``title`` is the title of the browser's tab."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", _style()),
    )
    made = (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC by m3e-runtime {m3e_runtime.__version__}"
    )
    body = element("body", element("main", *sections), element("footer", f"Written {made}."))
    return joined([Markup("<!doctype html>\n"), element("html", head, body, lang="en"), "\n"])


@functools.cache
def _style() -> Markup:
    return Markup(resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8"))
