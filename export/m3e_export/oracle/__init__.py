"""The oracle: the original model, asked for its vectors.

:mod:`choice` picks it: :mod:`sentence_transformers_oracle`, :mod:`torch_oracle`, or :mod:`numpy_oracle` if
PyTorch is not installed. :mod:`gate` runs it on the gate's texts, and :mod:`tokens` compares token ids.
"""

from m3e_export.oracle.choice import Oracle, ScoreOracle, load_oracle, load_score_oracle, original
from m3e_export.oracle.gate import make_gate, make_score_gate
from m3e_export.oracle.tokens import check_tokens

__all__ = [
    "Oracle",
    "ScoreOracle",
    "check_tokens",
    "load_oracle",
    "load_score_oracle",
    "make_gate",
    "make_score_gate",
    "original",
]
