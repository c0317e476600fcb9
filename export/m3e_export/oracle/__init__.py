"""The model that artifacts are judged against: PyTorch when installed, plain numpy otherwise."""

from m3e_export.oracle.choice import Oracle, load_oracle

__all__ = ["Oracle", "load_oracle"]
