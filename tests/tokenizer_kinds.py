"""The kinds of tokenizers in docs/support.md, as the tokenizer.json that the exporter writes for each."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from families import (
    corpus,
    pieces_of,
    train_unigram,
    write_albert,
    write_byte_level_bpe,
    write_mpnet_wordpiece,
    write_unigram,
    write_wordpiece,
)
from m3e_export.checkpoint.tokenizer import load_tokenizer
from synthetic import update_json, write_json

__all__ = [
    "ALBERT",
    "KINDS",
    "NEED_SENTENCEPIECE",
    "WORDPIECE",
    "make_kind",
    "make_wordpiece",
    "sentencepiece_model",
]

WORDPIECE = {
    "cased": {"lower_case": False},
    "lower-cased": {"lower_case": True},
    "lower-cased, accents kept": {"lower_case": True, "strip_accents": False},
    "cased, accents stripped": {"lower_case": False, "strip_accents": True},
    "Chinese not split": {"lower_case": True, "tokenize_chinese_chars": False},
}
ALBERT: dict[str, dict[str, Any]] = {
    "uncased": {},
    "cased": {"do_lower_case": False},
    "accents kept": {"keep_accents": True},
    "cased, accents kept": {"do_lower_case": False, "keep_accents": True},
}


def make_wordpiece(
    folder: Path,
    kind: str,
    lower_case: bool,
    write: Callable[..., Path] = write_wordpiece,
    **settings: Any,
) -> Path:
    """A folder of one of ``WORDPIECE``; ``kind`` is the name of the file with the vocabulary."""
    write(folder, kind, lower_case=lower_case)
    update_json(folder / "tokenizer_config.json", **settings)
    return folder


def sentencepiece_model(folder: Path) -> Path:
    """XLM-RoBERTa's form of the Unigram model: <unk>, <s>, </s> first, no <pad>, no <mask>."""
    from transformers.convert_slow_tokenizer import import_protobuf

    protobuf = import_protobuf()
    model = protobuf.ModelProto()
    for piece, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3)):
        model.pieces.add(piece=piece, score=0.0, type=kind)
    for piece, score in pieces_of(train_unigram())[5:]:
        model.pieces.add(piece=piece, score=score, type=1)
    model.trainer_spec.model_type = 1
    model.trainer_spec.unk_id = 0
    folder.mkdir(exist_ok=True)
    (folder / "sentencepiece.bpe.model").write_bytes(model.SerializeToString())
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    return folder


def xlm_roberta_with_characters(folder: Path) -> Path:
    """XLM-RoBERTa's model as SentencePiece trains it, with its table of characters."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=corpus(),
        model_writer=model,
        vocab_size=1500,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    folder.mkdir(exist_ok=True)
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    return folder


def _kinds() -> dict[str, tuple[str, Callable[[Path], Path]]]:
    """By row of the table: the model's type, and what makes its folder."""
    kinds: dict[str, tuple[str, Callable[[Path], Path]]] = {}
    for file in ("tokenizer.json", "vocab.txt"):
        for name, options in WORDPIECE.items():
            kinds[f"WordPiece, {name}, {file}"] = (
                "bert",
                lambda folder, file=file, options=options: make_wordpiece(folder, file, **options),
            )
        kinds[f"MPNet's WordPiece, lower-cased, {file}"] = (
            "mpnet",
            lambda folder, file=file: make_wordpiece(folder, file, True, write_mpnet_wordpiece),
        )
    for space, settings in (("", {}), (", space before", {"add_prefix_space": True})):
        for file, files in (("tokenizer.json", "tokenizer.json"), ("vocab.json", "vocab.json + merges.txt")):
            kinds[f"byte-level BPE{space}, {files}"] = (
                "roberta",
                lambda folder, file=file, settings=settings: write_byte_level_bpe(folder, file, **settings),
            )
    for name, model_type in (
        ("XLMRobertaTokenizer", "xlm-roberta"),
        ("CamembertTokenizer", "camembert"),
        ("PreTrainedTokenizerFast", "xlm-roberta"),
    ):
        kinds[f"Unigram, {name}, tokenizer.json"] = (
            model_type,
            lambda folder, name=name: write_unigram(folder, name),
        )
    for name, settings in ALBERT.items():
        kinds[f"Unigram, AlbertTokenizer, {name}, tokenizer.json"] = (
            "albert",
            lambda folder, settings=settings: write_albert(folder, **settings),
        )
    kinds["Unigram, XLMRobertaTokenizer, sentencepiece.bpe.model"] = ("xlm-roberta", sentencepiece_model)
    kinds["Unigram, XLMRobertaTokenizer, with its table of characters"] = (
        "xlm-roberta",
        xlm_roberta_with_characters,
    )
    return kinds


_KINDS = _kinds()
KINDS = tuple(_KINDS)
"""Their names: the rows of the table that need no real checkpoint, and one that SentencePiece trains."""

NEED_SENTENCEPIECE = tuple(kind for kind in KINDS if "sentencepiece" in kind or "characters" in kind)


def make_kind(name: str, folder: Path) -> Tokenizer:
    """The tokenizer that the exporter makes of a checkpoint of this kind, which goes into ``folder``."""
    model_type, make = _KINDS[name]
    return load_tokenizer(make(folder), model_type)
