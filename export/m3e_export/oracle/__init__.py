"""The model that artifacts are judged against: the original library's when installed, numpy's otherwise."""

from m3e_export.oracle.choice import Oracle, load_oracle, original
from m3e_export.oracle.gate import make_gate
from m3e_export.oracle.tokens import check_tokens

__all__ = ["Oracle", "check_tokens", "load_oracle", "make_gate", "original"]
