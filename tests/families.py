"""Checkpoints of every family, made by transformers' own classes, and small tokenizers trained for them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.decoders import ByteLevel, Metaspace, WordPiece

from synthetic import make_tokenizer_files, modules_of, update_json, vocabulary, write_json

__all__ = [
    "ALBERT_SPECIAL",
    "FAMILIES",
    "FOREIGN",
    "LONGEST",
    "corpus",
    "make_classifier",
    "make_family",
    "train_byte_level_bpe",
    "train_unigram",
    "write_albert",
    "write_byte_level_bpe",
    "write_mpnet_wordpiece",
    "write_unigram",
    "write_wordpiece",
]

_VOCABULARY = 2000
_SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_ALBERT = {**_SIZES, "num_hidden_layers": 3}
_DISTIL = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128}
# Positions 2 more than the longest text, as in the originals.
_ROBERTA = {**_SIZES, "max_position_embeddings": 130, "type_vocab_size": 1, "pad_token_id": 1}
_BERT = {"max_position_embeddings": 128, "pad_token_id": 0}
_ENDS = {"bos_token_id": 101, "cls_token_id": 101, "eos_token_id": 102, "sep_token_id": 102}
_MODERNBERT = {**_SIZES, **_BERT, **_ENDS, "local_attention": 16, "global_attn_every_n_layers": 2}

FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "albert": ("Albert", "albert", {**_ALBERT, **_BERT, "embedding_size": 32}),
    "albert, groups": (
        "Albert",
        "wordpiece",
        {
            **_ALBERT,
            **_BERT,
            "embedding_size": 64,
            "num_hidden_groups": 2,
            "inner_group_num": 2,
            "hidden_act": "relu",
        },
    ),
    "bert": ("Bert", "wordpiece", {**_SIZES, **_BERT}),
    "ernie": ("Ernie", "wordpiece", {**_SIZES, **_BERT, "use_task_id": True, "type_vocab_size": 4}),
    "ernie without tasks": ("Ernie", "wordpiece", {**_SIZES, **_BERT, "use_task_id": False}),
    "distilbert": ("DistilBert", "wordpiece", {**_DISTIL, **_BERT}),
    "distilbert, sinusoids": ("DistilBert", "wordpiece", {**_DISTIL, **_BERT, "sinusoidal_pos_embds": True}),
    "roberta": ("Roberta", "byte-level", {**_ROBERTA, "layer_norm_eps": 1e-5}),
    "xlm-roberta": ("XLMRoberta", "unigram", {**_ROBERTA, "layer_norm_eps": 1e-5}),
    "camembert": ("Camembert", "unigram", {**_ROBERTA, "layer_norm_eps": 1e-5}),
    # Long enough for distances beyond 128, from which on all are one.
    "mpnet": ("MPNet", "mpnet-wordpiece", {**_SIZES, "max_position_embeddings": 302}),
    "modernbert": ("ModernBert", "wordpiece", _MODERNBERT),
    "nomic_bert": ("NomicBert", "wordpiece", {**_SIZES, **_BERT}),
    "gte": ("Gte", "unigram", {**_SIZES, **_BERT, "pad_token_id": 1}),
    "eurobert": (
        "EuroBert",
        "general unigram",
        {
            **_SIZES,
            **_BERT,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "mask_token_id": 4,
            "num_key_value_heads": 2,
            "classifier_pooling": "mean",
        },
    ),
}
"""By name: the stem of transformers' classes, the kind of tokenizer, the entries of the configuration."""

LONGEST = {name: 300 if name == "mpnet" else 128 for name in FAMILIES}
"""Tokens that a text may have."""

ALBERT_SPECIAL = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
"""First in its vocabulary, in this order."""
_FOREIGN = {**_SIZES, **_BERT}
FOREIGN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "electra": ("Electra", "wordpiece", {**_FOREIGN, "embedding_size": 32}),
    "modernbert": ("ModernBert", "wordpiece", _MODERNBERT),
    "deberta-v2": (
        "DebertaV2",
        "general unigram",
        {
            **_ROBERTA,
            "max_position_embeddings": 128,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 16,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
        },
    ),
    "xlm": (
        "XLM",
        "general unigram",
        {"emb_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128, "pad_index": 1},
    ),
    "squeezebert": ("SqueezeBert", "wordpiece", {**_FOREIGN, "embedding_size": 64}),
    "convbert": ("ConvBert", "wordpiece", {**_FOREIGN, "embedding_size": 32}),
    "albert, shared layers": (
        "Albert",
        "wordpiece",
        {**_FOREIGN, "embedding_size": 32, "num_hidden_layers": 4},
    ),
}
"""Families for other exporters than our own, like :data:`FAMILIES`."""

_ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_ROBERTA_NAMES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_ALBERT_NAMES = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "[MASK]",
}
_SCRIPTS = ((0x61, 0x7B), (0xC0, 0x180), (0x4E00, 0x4E80), (0x3041, 0x3097), (0x30A1, 0x30FB))
_SCRIPTS += ((0xAC00, 0xAC80), (0x627, 0x64B), (0x3B1, 0x3CA), (0x430, 0x450), (0x30, 0x3A))


def make_family(folder: Path, name: str, *, prefix: str = "", config: dict[str, Any] | None = None) -> Path:
    """Write a checkpoint of one of the families with random weights into ``folder`` and return it.

    Args:
        folder: where to.
        name: the family.
        prefix: put before every tensor name.
        config: entries of the configuration that replace the family's.
    """
    hidden = _write(folder, name, "Model", config or {}, prefix)
    # The mean hardly shows what token looks at what: all move by the same distance.
    _write_modules(folder, hidden, "cls" if name == "mpnet" else "mean")
    return folder


def make_classifier(
    folder: Path, name: str, labels: int, *, prefix: str = "", config: dict[str, Any] | None = None
) -> Path:
    """As :func:`make_family`, for a model of ``labels`` labels without files of sentence-transformers."""
    _write(folder, name, "ForSequenceClassification", {"num_labels": labels, **(config or {})}, prefix)
    return folder


def make_masked_model(folder: Path, name: str) -> Path:
    """As :func:`make_family`, for a masked language model without files of sentence-transformers."""
    _write(folder, name, "ForMaskedLM", {}, "")
    return folder


def _write(folder: Path, name: str, suffix: str, config: dict[str, Any], prefix: str) -> int:
    """Write the model and the tokenizer; return the width of the states."""
    import torch
    import transformers

    stem, kind, entries = {**FOREIGN, **FAMILIES}[name]
    settings = getattr(transformers, f"{stem}Config")(**{"vocab_size": _VOCABULARY, **entries, **config})
    torch.manual_seed(0)
    model = getattr(transformers, stem + suffix)(settings).eval()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            _fill(torch, key, tensor)
    model.save_pretrained(folder)
    if prefix:
        _put_prefix(folder / "model.safetensors", prefix)
    _WRITE_TOKENIZER[kind](folder)
    return int(settings.hidden_size)


def _fill(torch: Any, name: str, tensor: Any) -> None:
    """Large enough that every part of the model matters, padding's rows included."""
    if "norm" in name.lower() and name.endswith("weight"):
        tensor.normal_(1.0, 0.1)
    elif tensor.ndim == 1:
        tensor.normal_(0.0, 0.1)
    elif "relative_attention_bias" in name:
        tensor.normal_(0.0, 6.0)
    elif "token_type" in name:
        tensor.normal_(0.0, 0.2)
    elif name in ("classifier.weight", "classifier.out_proj.weight"):
        tensor.normal_(0.0, 0.5)  # logits of several units, as those of trained rerankers
    elif "embeddings" in name:
        tensor.normal_(0.0, 0.05)
    else:
        tensor.normal_(0.0, 0.5 * tensor.shape[1] ** -0.5)


def _put_prefix(file: Path, prefix: str) -> None:
    from safetensors.numpy import load_file, save_file

    save_file(
        {prefix + key: value for key, value in load_file(file).items()}, file, metadata={"format": "pt"}
    )


def _write_modules(folder: Path, hidden: int, mode: str) -> None:
    write_json(folder / "modules.json", modules_of("Transformer", "Pooling"))
    pooling = {"word_embedding_dimension": hidden, "pooling_mode": mode}
    write_json(folder / "1_Pooling" / "config.json", pooling)


def write_wordpiece(folder: Path, kind: str = "tokenizer.json", **settings: Any) -> Path:
    """BERT's tokenizer over the synthetic vocabulary; ``kind`` is ``tokenizer.json`` or ``vocab.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer_files(folder, vocabulary(_VOCABULARY), kind, **settings)
    return folder


def write_mpnet_wordpiece(folder: Path, kind: str = "tokenizer.json", **settings: Any) -> Path:
    """MPNet's tokenizer: BERT's vocabulary between special tokens of its own; ``kind`` as for BERT."""
    write_wordpiece(folder, "vocab.txt", **settings)
    (folder / "special_tokens_map.json").unlink()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *vocabulary(_VOCABULARY - 5), "<mask>"]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    names = {**_ROBERTA_NAMES, "unk_token": "[UNK]"}
    update_json(folder / "tokenizer_config.json", tokenizer_class="MPNetTokenizer", **names)
    if kind == "tokenizer.json":
        ids = {token: number for number, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=settings.get("lower_case", False))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = WordPiece()
        tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
        tokenizer.save(str(folder / kind))
        (folder / "vocab.txt").unlink()
    return folder


def write_byte_level_bpe(folder: Path, kind: str = "tokenizer.json", **settings: Any) -> Path:
    """RoBERTa's tokenizer; ``kind`` is ``tokenizer.json`` or ``vocab.json``, beside which go the merges."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_byte_level_bpe()
    if kind == "tokenizer.json":
        tokenizer.save(str(folder / kind))
    else:
        tokenizer.model.save(str(folder))
    _write_settings(folder, "RobertaTokenizer", {**_ROBERTA_NAMES, **settings})
    return folder


def write_unigram(folder: Path, tokenizer_class: str = "XLMRobertaTokenizer", **settings: Any) -> Path:
    """XLM-RoBERTa's tokenizer, as tokenizer.json; it has a normalizer only where the class is general.

    transformers 5 keeps none but a precompiled one for XLMRobertaTokenizer, which only SentencePiece makes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_unigram(tokenizer_class == "PreTrainedTokenizerFast")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_settings(folder, tokenizer_class, {**_ROBERTA_NAMES, **settings})
    return folder


def write_albert(folder: Path, **settings: Any) -> Path:
    """ALBERT's tokenizer, as the tokenizer.json of an uncased model."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_unigram(special=ALBERT_SPECIAL)
    quotes = [normalizers.Replace(quote, '"') for quote in ("``", "''")]
    tokenizer.normalizer = normalizers.Sequence(
        [*quotes, normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_settings(folder, "AlbertTokenizer", {**_ALBERT_NAMES, **settings})
    return folder


_WRITE_TOKENIZER: dict[str, Callable[[Path], Path]] = {
    "albert": write_albert,
    "wordpiece": write_wordpiece,
    "mpnet-wordpiece": write_mpnet_wordpiece,
    "byte-level": write_byte_level_bpe,
    "unigram": write_unigram,
    "general unigram": partial(write_unigram, tokenizer_class="PreTrainedTokenizerFast"),
}


def _write_settings(folder: Path, tokenizer_class: str, settings: dict[str, Any]) -> None:
    content = {"tokenizer_class": tokenizer_class, "model_max_length": 1e30, **settings}
    write_json(folder / "tokenizer_config.json", content)


def corpus(lines: int = 3000, seed: int = 7) -> Iterator[str]:
    """Lines of made-up words, each word of one script."""
    chance = random.Random(seed)
    words = [
        "".join(chr(chance.randrange(*script)) for _ in range(chance.randint(1, 7)))
        for script in _SCRIPTS
        for _ in range(200)
    ]
    for _ in range(lines):
        yield " ".join(chance.choices(words, k=chance.randint(3, 12)))


def train_byte_level_bpe() -> Tokenizer:
    """A byte-level BPE with RoBERTa's special tokens and ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=_ROBERTA_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def train_unigram(normalized: bool = False, special: Sequence[str] = _ROBERTA_SPECIAL) -> Tokenizer:
    """A Unigram tokenizer with XLM-RoBERTa's special tokens and ids; ``<mask>`` is last there, not here."""
    tokenizer = Tokenizer(models.Unigram())
    if normalized:
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=_VOCABULARY, special_tokens=list(special), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return _with_short_scores(tokenizer)


def _with_short_scores(tokenizer: Tokenizer) -> Tokenizer:
    """``tokenizer`` with scores of six decimals, which every reader of JSON reads as the same numbers.

    ``tokenizers`` reads longer ones up to one unit of the last place away from Python, and then two ways to
    divide a word that score the same no longer do. Training gives other scores each time.
    """
    content = json.loads(tokenizer.to_str())
    content["model"]["vocab"] = [[piece, round(score, 6)] for piece, score in content["model"]["vocab"]]
    return Tokenizer.from_str(json.dumps(content))


def pieces_of(tokenizer: Tokenizer) -> list[tuple[str, float]]:
    """Pieces and scores of a Unigram tokenizer, in the order of their ids."""
    return [tuple(piece) for piece in json.loads(tokenizer.to_str())["model"]["vocab"]]
