"""Small late-interaction models: folders as sentence-transformers and as PyLate write them."""

from __future__ import annotations

import itertools
import string
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from families import make_family
from synthetic import update_json, write_json

__all__ = ["COLBERT_SIZE", "FIXED", "make_colbert", "make_pylate", "original_multi_vectors"]

COLBERT_SIZE = 48
"""Of the vectors of tokens; neither a multiple of 32 nor the width of the states."""

FIXED = {"strategy": "fixed", "attend": False, "length": 16}
"""The expansion of queries in the classic models."""


def make_colbert(
    folder: Path,
    family: str = "bert",
    sizes: tuple[int, ...] = (COLBERT_SIZE,),
    mask: dict[str, Any] | None = None,
    prompts: dict[str, str] | None = None,
    **transformer: Any,
) -> Path:
    """Write a MultiVectorEncoder with sentence-transformers.

    Args:
        folder: where to.
        family: of the encoder.
        sizes: outputs of the Dense modules.
        mask: arguments of MultiVectorMask, by default the punctuation as skip list.
        prompts: of queries and documents.
        transformer: arguments of Transformer, such as ``query_expansion``.
    """
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    base = make_family(folder.with_name(f"{folder.name}-base"), family)
    torch.manual_seed(1)
    widths = (64, *sizes)
    dense = [
        Dense(a, b, bias=b != COLBERT_SIZE, activation_function=None, module_input_name="token_embeddings")
        for a, b in itertools.pairwise(widths)
    ]
    words = {"skiplist_words": list(string.punctuation)}
    modules = [
        Transformer(str(base), max_seq_length=64, **transformer),
        *dense,
        MultiVectorMask(**(words if mask is None else mask)),
        Normalize(module_input_name="token_embeddings"),
    ]
    model = MultiVectorEncoder(modules=modules, device="cpu", prompts=prompts)
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def make_pylate(folder: Path, added: bool = False, **settings: Any) -> Path:
    """Write a folder of PyLate 1, whose prefixes are tokens of the vocabulary, or ``added`` to it."""
    import torch
    from safetensors.torch import save_file

    make_family(folder, "bert", config={"vocab_size": 2002})
    if added:
        _add_prefixes(folder)
        settings = {"query_prefix": "[Q] ", "document_prefix": "[D] ", **settings}
    (folder / "1_Pooling" / "config.json").unlink()
    (folder / "1_Pooling").rmdir()
    types = ("sentence_transformers.models.Transformer", "pylate.models.Dense.Dense")
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": kind}
        for at, (path, kind) in enumerate(zip(("", "1_Dense"), types, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 63, "do_lower_case": False})
    dense = {"in_features": 64, "out_features": COLBERT_SIZE, "bias": False, "use_residual": False}
    dense["activation_function"] = "torch.nn.modules.linear.Identity"
    write_json(folder / "1_Dense" / "config.json", dense)
    torch.manual_seed(1)
    weights = {"linear.weight": torch.randn(COLBERT_SIZE, 64) / 8}
    save_file(weights, folder / "1_Dense" / "model.safetensors")
    known = {
        "model_type": "ColBERT",
        "similarity_fn_name": "MaxSim",
        "query_prefix": "[unused1] ",
        "document_prefix": "[unused2] ",
        "query_length": 16,
        "document_length": 40,
        "attend_to_expansion_tokens": False,
        "skiplist_words": [".", ",", "!"],
        **settings,
    }
    write_json(folder / "config_sentence_transformers.json", known)
    return folder


def original_multi_vectors(folder: Path, texts: list[str], task: str | None) -> list[Any]:
    """What sentence-transformers gives for queries, documents or other texts."""
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device="cpu")
    encode = model.encode if task is None else getattr(model, f"encode_{task}")
    found: list[Any] = encode(texts, convert_to_numpy=True)
    return found


def _add_prefixes(folder: Path) -> None:
    """Add the prefixes as PyLate does: a lower-casing tokenizer does not find them in a text."""
    file = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.add_tokens(["[Q] ", "[D] "])
    tokenizer.save(file)
    update_json(folder / "tokenizer_config.json", do_lower_case=True)
