"""The model that artifacts are judged against: PyTorch when installed, plain numpy otherwise."""

from m3e_export.oracle.choice import Oracle, load_oracle
from m3e_export.oracle.reference import ask

__all__ = ["Oracle", "ask", "load_oracle"]
