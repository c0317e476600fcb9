"""Building tokenizers from vocabulary files, as transformers does, if there is no tokenizer.json."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from m3e_export.checkpoint.readable import readable_folder
from m3e_export.checkpoint.special_tokens import (
    ROBERTA_TOKENS,
    SpecialTokens,
    add_tokens,
    read_special_tokens,
)
from m3e_export.errors import CheckpointError
from m3e_runtime.extras import extra_packages

__all__ = ["byte_level_bpe", "unigram", "wordpiece"]


def wordpiece(folder: Path, settings: dict[str, Any], defaults: dict[str, str]) -> Tokenizer:
    """BERT's or MPNet's tokenizer from ``vocab.txt``.

    ``settings`` is the content of tokenizer_config.json. ``defaults`` are the default special tokens of the
    class.

    Raises:
        CheckpointError: the vocabulary is empty or ambiguous, or lacks special tokens.
    """
    named = read_special_tokens(folder, settings, defaults)
    vocabulary = _read_lines(folder / "vocab.txt")
    unknown, start, end = _needed(vocabulary, named, "unk_token", "cls_token", "sep_token")
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=bool(settings.get("do_lower_case", True)),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    add_tokens(tokenizer, folder, settings, named)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        pair=f"{start}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(token, vocabulary[token]) for token in (start, end)],
    )
    return tokenizer


def byte_level_bpe(folder: Path, settings: dict[str, Any]) -> Tokenizer:
    """RoBERTa's tokenizer from ``vocab.json`` and ``merges.txt``.

    Raises:
        CheckpointError: the vocabulary lacks special tokens.
        Exception: the library's errors for invalid files.
    """
    named = read_special_tokens(folder, settings, ROBERTA_TOKENS)
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    start, end = _needed(vocabulary, named, "cls_token", "sep_token")
    prefix = bool(settings.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    add_tokens(tokenizer, folder, settings, named)
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (start, vocabulary[start]), add_prefix_space=prefix
    )
    return tokenizer


def unigram(folder: Path, file: str, tokenizer_class: str) -> Tokenizer:
    """The SentencePiece model ``file`` in ``folder``, converted by a class of transformers.

    Raises:
        DependencyMissingError: transformers, sentencepiece or protobuf is not installed.
        Exception: the libraries' errors for an invalid file.
    """
    purpose = f"{folder}: there is {file} but no tokenizer.json; converting it"
    hint = "It needs `pip install sentencepiece protobuf`, too."
    with extra_packages(purpose, "torch", "sentencepiece", "google", "transformers", hint=hint):
        for package in ("sentencepiece", "google.protobuf", "transformers"):
            importlib.import_module(package)
    transformers = importlib.import_module("transformers")
    with readable_folder(folder) as readable:
        converted = getattr(transformers, f"{tokenizer_class}Fast").from_pretrained(
            str(readable), local_files_only=True
        )
    return Tokenizer.from_str(converted.backend_tokenizer.to_str())


def _read_lines(file: Path) -> dict[str, int]:
    """One token a line, whose number is its id. An empty line is a token that no text contains."""
    lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    vocabulary: dict[str, int] = {}
    for number, token in enumerate(lines):
        if token in vocabulary and token:
            first, second = vocabulary[token] + 1, number + 1
            raise CheckpointError(f"{file}: {token!r} is in line {first} and in line {second}.")
        vocabulary[token] = number
    return vocabulary


def _needed(vocabulary: dict[str, int], named: SpecialTokens, *parts: str) -> list[str]:
    tokens = [named[part].content if part in named else "" for part in parts]
    for part, token in zip(parts, tokens, strict=True):
        if not token or token not in vocabulary:
            raise CheckpointError(f"the vocabulary lacks the {part} {token!r}.")
    return tokens
