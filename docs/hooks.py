"""Hooks of mkdocs."""

import re
from typing import Any

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|data):(?=<code>)")


def on_page_content(html: str, **_: Any) -> str:
    """Drop Sphinx's roles, which docstrings have before names."""
    return _ROLE.sub("", html)
