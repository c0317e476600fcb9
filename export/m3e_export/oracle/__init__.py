"""The model that artifacts are judged against: the original library's when installed, numpy's otherwise."""

from m3e_export.oracle.choice import Oracle, load_oracle, original
from m3e_export.oracle.reference import ask

__all__ = ["Oracle", "ask", "load_oracle", "original"]
