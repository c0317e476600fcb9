"""Checkpoints shaped like M3E's, with random weights and a generated vocabulary.

Everything is written with numpy, safetensors and tokenizers alone; torch is imported for pickles only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

__all__ = [
    "TINY",
    "make_checkpoint",
    "make_tokenizer_files",
    "modules_of",
    "random_tensors",
    "read_json",
    "rewrite_tensors",
    "update_json",
    "vocabulary",
    "write_json",
    "write_weights",
]

TINY: dict[str, int] = {"layers": 2, "hidden": 64, "heads": 4, "intermediate": 128, "vocab_size": 2000}
"""Sizes of the smallest useful model, as arguments of :func:`make_checkpoint`."""

_SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
_WORDS = (
    *("the", "of", "and", "to", "in", "is", "that", "it", "for", "was", "on", "are", "as", "with", "they"),
    *("at", "be", "this", "from", "have", "or", "by", "one", "had", "not", "but", "what", "all", "were"),
    *("when", "we", "can", "an", "your", "which", "if", "do", "will", "each", "about", "how", "up", "out"),
    *("then", "many", "some", "so", "these", "would", "other", "into", "has", "more", "two", "like", "time"),
    *("make", "first", "been", "who", "now", "people", "over", "only", "way", "find", "use", "water", "long"),
    *("very", "after", "words", "good", "know", "model", "text", "vector", "weather", "today", "hello"),
    *("world", "short", "sentence", "card", "payment", "account", "nothing", "number", "different"),
)
_PIECES = ("s", "ed", "ing", "er", "ly", "tion", "es", "al", "en", "ment", "ness", "able", "ous")
_FREQUENT = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学"
    "如今天气很好绑定银行卡花呗更换改混合文本字句子短长测试中文英向量模型语义相似度计算你好世界"
)


def vocabulary(size: int) -> list[str]:
    """``size`` tokens: BERT's special ids, ASCII and its ## pieces, English words, Chinese characters."""
    ascii_characters = [chr(code) for code in range(33, 127)]
    letters = [chr(code) for code in (*range(48, 58), *range(65, 91), *range(97, 123))]
    wanted = dict.fromkeys(
        [
            *ascii_characters,
            *(f"##{letter}" for letter in letters),
            *_WORDS,
            *(f"##{piece}" for piece in _PIECES),
            *"，。！？、：；（）《》“”…—",
            *_FREQUENT,
            *(chr(code) for code in range(0x4E00, 0x9FA6)),
            *(f"##{chr(code)}" for code in range(0x4E00, 0x9FA6)),
        ]
    )
    head = [_SPECIAL.get(index, f"[unused{index}]") for index in range(104)]
    tokens = (head + list(wanted))[:size]
    if len(tokens) < size or size <= len(head):
        raise ValueError(f"no vocabulary of {size} tokens can be made")
    return tokens


def random_tensors(
    layers: int,
    hidden: int,
    intermediate: int,
    vocab_size: int,
    positions: int = 512,
    seed: int = 0,
    pooler: bool = False,
) -> dict[str, np.ndarray]:
    """A BERT state dict in float32, large enough in its weights that every part of it matters."""
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float, mean: float = 0.0) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(scale) + np.float32(mean)

    tensors: dict[str, np.ndarray] = {}

    def linear(name: str, inputs: int, outputs: int) -> None:
        tensors[f"{name}.weight"] = normal(outputs, inputs, scale=0.5 * inputs**-0.5)
        tensors[f"{name}.bias"] = normal(outputs, scale=0.1)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = normal(hidden, scale=0.1, mean=1.0)
        tensors[f"{name}.bias"] = normal(hidden, scale=0.1)

    for name, rows in (("word", vocab_size), ("position", positions), ("token_type", 2)):
        tensors[f"embeddings.{name}_embeddings.weight"] = normal(rows, hidden, scale=0.05)
    norm("embeddings.LayerNorm")
    for index in range(layers):
        base = f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            linear(f"{base}.attention.self.{part}", hidden, hidden)
        linear(f"{base}.attention.output.dense", hidden, hidden)
        norm(f"{base}.attention.output.LayerNorm")
        linear(f"{base}.intermediate.dense", hidden, intermediate)
        linear(f"{base}.output.dense", intermediate, hidden)
        norm(f"{base}.output.LayerNorm")
    if pooler:
        linear("pooler.dense", hidden, hidden)
    return tensors


def make_checkpoint(
    folder: Path,
    layers: int,
    hidden: int,
    heads: int,
    intermediate: int,
    vocab_size: int,
    *,
    layout: str = "sentence-transformers",
    pooling: str = "mean",
    normalize: bool = False,
    weights: str = "safetensors",
    prefix: str = "",
    dtype: Any = np.float32,
    seed: int = 0,
    positions: int = 512,
    norm_names: tuple[str, str] = ("weight", "bias"),
    position_ids: bool = False,
    pooler: bool = False,
    tokenizer: str = "tokenizer.json",
    lower_case: bool = False,
    max_seq_length: int | None = 512,
    model_max_length: float | None = 512,
    tokenizer_config: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write a checkpoint into ``folder`` (made if absent) and return it.

    Args:
        folder: where to.
        layers: sizes of the model, like the next four.
        hidden: see ``layers``.
        heads: see ``layers``.
        intermediate: see ``layers``.
        vocab_size: see ``layers``.
        layout: ``sentence-transformers``, ``uniem`` or ``plain``.
        pooling: ``mean`` or ``cls``, written the way the layout writes it.
        normalize: adds a Normalize module (sentence-transformers only).
        weights: ``safetensors``, ``pickle``, ``sharded-safetensors`` or ``sharded-pickle``.
        prefix: put before every tensor name.
        dtype: of the stored tensors: float32, float16 or ml_dtypes.bfloat16.
        seed: of the weights.
        positions: ``max_position_embeddings``.
        norm_names: what layer normalization calls scale and shift; TensorFlow said gamma and beta.
        position_ids: add the integer buffer that old transformers saved.
        pooler: add the pooler that BERT was pretrained with and sentence vectors do not use.
        tokenizer: ``tokenizer.json`` or ``vocab.txt``.
        lower_case: of the tokenizer.
        max_seq_length: in sentence_bert_config.json (sentence-transformers only).
        model_max_length: in tokenizer_config.json; None leaves it out.
        tokenizer_config: further entries of tokenizer_config.json.
        config: further entries of config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        prefix + _renamed(name, norm_names): tensor.astype(dtype)
        for name, tensor in random_tensors(
            layers, hidden, intermediate, vocab_size, positions, seed, pooler
        ).items()
    }
    if position_ids:
        tensors[f"{prefix}embeddings.position_ids"] = np.arange(positions, dtype=np.int64)[None, :]
    write_weights(folder, tensors, weights)
    make_tokenizer_files(folder, vocabulary(vocab_size), tokenizer, lower_case, model_max_length)
    if tokenizer_config:
        update_json(folder / "tokenizer_config.json", **tokenizer_config)
    uniem = {"last_mean": "mean", "cls": "cls"}
    strategy = next(name for name, kind in uniem.items() if kind == pooling)
    write_json(
        folder / "config.json",
        {
            "architectures": ["BertModel"],
            "attention_probs_dropout_prob": 0.1,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "hidden_size": hidden,
            "initializer_range": 0.02,
            "intermediate_size": intermediate,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": positions,
            "model_type": "bert",
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "pad_token_id": 0,
            "position_embedding_type": "absolute",
            "torch_dtype": np.dtype(dtype).name,
            "transformers_version": "4.29.1",
            "type_vocab_size": 2,
            "use_cache": True,
            "vocab_size": vocab_size,
            **({"uniem_pooling_strategy": strategy} if layout == "uniem" else {}),
            **(config or {}),
        },
    )
    if layout == "sentence-transformers":
        _write_modules(folder, hidden, pooling, normalize, max_seq_length)
    return folder


def modules_of(*kinds: str, base: str = "sentence_transformers.models") -> list[dict[str, Any]]:
    """The content of modules.json for modules such as ``Transformer``, ``Pooling``."""
    return [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"{base}.{kind}"}
        for i, kind in enumerate(kinds)
    ]


def write_weights(folder: Path, tensors: dict[str, np.ndarray], kind: str = "safetensors") -> None:
    """Write ``tensors`` as one file or two shards with an index; ``kind`` as in :func:`make_checkpoint`."""
    name, suffix = ("pytorch_model", "bin") if kind.endswith("pickle") else ("model", "safetensors")
    save = _save_pickle if suffix == "bin" else _save_safetensors
    if not kind.startswith("sharded-"):
        save(tensors, folder / f"{name}.{suffix}")
        return
    weight_map = {}
    names = sorted(tensors)
    for number, keys in enumerate((names[::2], names[1::2]), start=1):
        shard = f"{name}-{number:05}-of-00002.{suffix}"
        save({key: tensors[key] for key in keys}, folder / shard)
        weight_map.update(dict.fromkeys(keys, shard))
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": weight_map}
    write_json(folder / f"{name}.{suffix}.index.json", index)


def rewrite_tensors(folder: Path, **changes: np.ndarray | None) -> None:
    """Change tensors of model.safetensors, ``__`` in a name for a dot; None removes one."""
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    _save_safetensors(tensors, folder / "model.safetensors")


def read_json(file: Path) -> Any:
    """Content of a JSON file."""
    return json.loads(file.read_text(encoding="utf-8"))


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file, its folder included."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")


def update_json(file: Path, remove: tuple[str, ...] = (), **changes: Any) -> None:
    """Set and remove keys of a JSON object."""
    content = {**read_json(file), **changes}
    write_json(file, {key: value for key, value in content.items() if key not in remove})


def _renamed(name: str, norm_names: tuple[str, str]) -> str:
    for kind, new in zip(("weight", "bias"), norm_names, strict=True):
        if name.endswith(f"LayerNorm.{kind}"):
            return f"{name[: -len(kind)]}{new}"
    return name


def _save_safetensors(tensors: dict[str, np.ndarray], file: Path) -> None:
    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, file, metadata={"format": "pt"})


def _save_pickle(tensors: dict[str, np.ndarray], file: Path) -> None:
    import torch

    def convert(array: np.ndarray) -> Any:
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
        return torch.from_numpy(array.copy())

    torch.save({name: convert(array) for name, array in tensors.items()}, file)


def make_tokenizer_files(
    folder: Path,
    tokens: list[str],
    kind: str = "tokenizer.json",
    lower_case: bool = False,
    model_max_length: float | None = 512,
) -> None:
    """Write BERT's tokenizer over ``tokens``; the arguments are those of :func:`make_checkpoint`."""
    if kind == "vocab.txt":
        (folder / kind).write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    else:
        vocab = {token: index for index, token in enumerate(tokens)}
        built = Tokenizer(WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
        built.normalizer = BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lower_case
        )
        built.pre_tokenizer = BertPreTokenizer()
        built.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
        )
        built.add_special_tokens(list(_SPECIAL.values()))
        built.save(str(folder / kind))
    special = {
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
    }
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {
            **special,
            "clean_up_tokenization_spaces": True,
            "do_basic_tokenize": True,
            "do_lower_case": lower_case,
            "never_split": None,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
            "tokenizer_class": "BertTokenizer",
            **({} if model_max_length is None else {"model_max_length": model_max_length}),
        },
    )


def _write_modules(
    folder: Path, hidden: int, pooling: str, normalize: bool, max_seq_length: int | None
) -> None:
    kinds = ["Transformer", "Pooling"] + (["Normalize"] if normalize else [])
    write_json(folder / "modules.json", modules_of(*kinds))
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": hidden,
            "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    if normalize:
        (folder / "2_Normalize").mkdir(exist_ok=True)
    length = {} if max_seq_length is None else {"max_seq_length": max_seq_length}
    write_json(folder / "sentence_bert_config.json", {**length, "do_lower_case": False})
