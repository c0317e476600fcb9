"""The exporter's tokenizers give the ids of transformers' for whatever a text may hold."""

from __future__ import annotations

import io
import shutil
import sys
import unicodedata
from functools import partial

import pytest

from families import (
    corpus,
    write_albert,
    write_byte_level_bpe,
    write_mpnet_wordpiece,
    write_unigram,
    write_wordpiece,
)
from m3e_export import CheckpointError, UnsupportedModelError
from m3e_export.checkpoint.tokenizer import load_tokenizer, special_token_names, tokenizer_length
from m3e_export.errors import DependencyMissingError
from strange_texts import COUNT, generated
from synthetic import update_json, write_json
from tokenizer_kinds import ALBERT, WORDPIECE, make_wordpiece, sentencepiece_model


@pytest.fixture(scope="module")
def strings() -> list[str]:
    return generated()


def ids(folder, strings, model_type="bert"):
    return [e.ids for e in load_tokenizer(folder, model_type).encode_batch(strings)]


def assert_same_ids(folder, strings, model_type="bert"):
    """Ours against AutoTokenizer, and both made for the same model."""
    differing(ids(folder, strings, model_type), transformers_ids(folder, strings, model_type), strings)


def transformers_ids(folder, strings, model_type):
    from transformers import AutoTokenizer

    write_json(folder / "config.json", {"model_type": model_type})
    return AutoTokenizer.from_pretrained(folder)(strings)["input_ids"]


def assert_same_but_for_ties(folder, strings, model_type, ties=5):
    """``ties``: most texts that may have the same ids in another order. Returns our ids, and how many."""
    found, expected = ids(folder, strings, model_type), transformers_ids(folder, strings, model_type)
    differing(list(map(sorted, found)), list(map(sorted, expected)), strings)
    others = sum(a != b for a, b in zip(found, expected, strict=True))
    assert others <= ties
    return found, others


def differing(found, expected, strings):
    different = [(text, a, b) for text, a, b in zip(strings, found, expected, strict=True) if a != b]
    assert not different, f"{len(different)} of {len(strings)} differ, first {different[0]!r}"


@pytest.fixture
def same_ids(strings, matrix):
    """:func:`assert_same_ids` on all the strings; docs/support.md has a row of it."""

    def check(row, folder, model_type, ties=0):
        """See :func:`assert_same_but_for_ties`."""
        found, others = assert_same_but_for_ties(folder, strings, model_type, ties)
        columns = {"texts": len(strings), "tokens": sum(map(len, found)), "texts with other ids": others}
        for column, number in columns.items():
            matrix("tokenizers").check(row, column, f"{number}", agrees_with(number, ties))

    return check


def agrees_with(number, ties):
    """Which exact ties fall otherwise depends on the library's version; all else does not."""
    return lambda written: int(written) == number or max(int(written), number) <= ties


@pytest.fixture
def wordpiece(tmp_path):
    return partial(make_wordpiece, tmp_path / "model")


@pytest.mark.parametrize("options", WORDPIECE)
@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
def test_wordpiece(kind, options, wordpiece, same_ids):
    same_ids(f"WordPiece, {options}, {kind}", wordpiece(kind, **WORDPIECE[options]), "bert")


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
def test_mpnets_wordpiece(kind, wordpiece, same_ids):
    folder = wordpiece(kind, write=write_mpnet_wordpiece, **WORDPIECE["lower-cased"])
    same_ids(f"MPNet's WordPiece, lower-cased, {kind}", folder, "mpnet")


@pytest.mark.parametrize("options", WORDPIECE)
@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("model_type", ["distilbert", "ernie", "mpnet"])
def test_wordpiece_of_berts_relatives(kind, options, model_type, wordpiece, strings):
    write = write_mpnet_wordpiece if model_type == "mpnet" else write_wordpiece
    assert_same_ids(wordpiece(kind, write=write, **WORDPIECE[options]), strings[:1000], model_type)


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
def test_wordpiece_where_nothing_is_said(kind, wordpiece, strings):
    """No tokenizer_config.json: lower-cased, whatever tokenizer.json says, since BertTokenizer is so."""
    folder = wordpiece(kind, lower_case=False)
    (folder / "tokenizer_config.json").unlink()
    assert_same_ids(folder, strings[:2000])


def test_a_class_that_takes_tokenizer_json_as_it_is_ignores_the_settings(wordpiece, strings):
    folder = wordpiece("tokenizer.json", lower_case=False)
    update_json(
        folder / "tokenizer_config.json", do_lower_case=True, tokenizer_class="PreTrainedTokenizerFast"
    )
    assert_same_ids(folder, strings[:2000])


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
def test_mpnets_wordpiece_where_nothing_is_said(kind, tmp_path, strings):
    """The model's family says the class, whose special tokens are its own: the vocabulary has BERT's too."""
    folder = write_mpnet_wordpiece(tmp_path / "model", kind)
    (folder / "tokenizer_config.json").unlink()
    assert_same_ids(folder, strings[:2000], "mpnet")
    names = special_token_names(folder, load_tokenizer(folder, "mpnet"), "mpnet")
    assert (names["cls_token"], names["unk_token"], names["pad_token"]) == ("<s>", "[UNK]", "<pad>")


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.json"])
@pytest.mark.parametrize("space", ["", ", space before"])
def test_byte_level_bpe(kind, space, tmp_path, same_ids):
    settings = {"add_prefix_space": True} if space else {}
    files = kind if kind == "tokenizer.json" else "vocab.json + merges.txt"
    same_ids(f"byte-level BPE{space}, {files}", write_byte_level_bpe(tmp_path, kind, **settings), "roberta")


@pytest.mark.parametrize(
    ("name", "model_type"), [("XLMRobertaTokenizer", "xlm-roberta"), ("CamembertTokenizer", "camembert")]
)
def test_unigram(name, model_type, tmp_path, same_ids):
    """All but exact ties, of which there is about one in ten thousand texts.

    Two cuts of a text into the same pieces have one score, but for rounding. transformers 5 hands these two
    classes the scores as Python reads them from tokenizer.json; the tokenizers library, which reads the file
    itself in the runtime as in transformers 4, rounds some of them otherwise in the last bit.
    """
    same_ids(f"Unigram, {name}, tokenizer.json", write_unigram(tmp_path, name), model_type, ties=5)


@pytest.mark.parametrize("options", ALBERT)
def test_unigram_of_albert(options, tmp_path, same_ids):
    """The settings win over the file, which is that of an uncased model."""
    folder = write_albert(tmp_path, **ALBERT[options])
    assert_same_ids(folder, ["``a''", "a `` b '' ``", "``", " '' "], "albert")
    same_ids(f"Unigram, AlbertTokenizer, {options}, tokenizer.json", folder, "albert", ties=5)


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
def test_wordpiece_of_albert(kind, wordpiece, strings):
    """Chinese ones have BERT's vocabulary, and its class in the settings."""
    assert_same_ids(wordpiece(kind, lower_case=True), strings[:2000], "albert")


def test_special_tokens_of_albert_where_nothing_is_said(tmp_path):
    folder = write_albert(tmp_path)
    (folder / "tokenizer_config.json").unlink()
    names = special_token_names(folder, load_tokenizer(folder, "albert"), "albert")
    assert (names["cls_token"], names["pad_token"], names["unk_token"]) == ("[CLS]", "<pad>", "<unk>")


def test_unigram_of_a_class_that_takes_tokenizer_json_as_it_is(tmp_path, same_ids):
    name = "PreTrainedTokenizerFast"
    same_ids(f"Unigram, {name}, tokenizer.json", write_unigram(tmp_path, name), "xlm-roberta")


def test_a_sentencepiece_model_is_converted_where_the_packages_are_installed(tmp_path, same_ids):
    pytest.importorskip("sentencepiece", reason="converting needs sentencepiece, in no extra")
    folder = sentencepiece_model(tmp_path / "model")
    same_ids("Unigram, XLMRobertaTokenizer, sentencepiece.bpe.model", folder, "xlm-roberta")


@pytest.mark.parametrize("options", ALBERT.values(), ids=ALBERT.keys())
@pytest.mark.parametrize("kind", ["spiece.model", "tokenizer.json"])
def test_a_sentencepiece_model_of_albert(kind, options, tmp_path, strings):
    """One that SentencePiece trained, with its table of characters, and what transformers makes of it."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="converting needs sentencepiece, in no extra")
    from transformers import AutoTokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(),
        model_writer=model,
        vocab_size=1000,
        character_coverage=1.0,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=2,
    )
    (tmp_path / "spiece.model").write_bytes(model.getvalue())
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "AlbertTokenizer", **options})
    if kind == "tokenizer.json":
        write_json(tmp_path / "config.json", {"model_type": "albert"})
        AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
        (tmp_path / "spiece.model").unlink()
        assert "Precompiled" in (tmp_path / kind).read_text()
    assert_same_but_for_ties(tmp_path, strings, "albert")


SENTENCEPIECE = [("sentencepiece.bpe.model", "xlm-roberta"), ("spiece.model", "albert")]


@pytest.mark.parametrize(("name", "model_type"), SENTENCEPIECE)
def test_a_sentencepiece_model_without_the_packages_says_what_to_install(
    name, model_type, tmp_path, monkeypatch
):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(DependencyMissingError, match=rf"{name} .*pip install .* sentencepiece protobuf"):
        load_tokenizer(tmp_path, model_type)


@pytest.mark.parametrize(("name", "model_type"), SENTENCEPIECE)
def test_a_broken_sentencepiece_model_is_a_checkpoint_error(name, model_type, tmp_path):
    pytest.importorskip("sentencepiece", reason="converting needs sentencepiece, in no extra")
    (tmp_path / name).write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError):
        load_tokenizer(tmp_path, model_type)


@pytest.mark.parametrize(
    "normalizer", [{"type": "Sequence"}, {"type": "Sequence", "normalizers": [5]}, [5], 5]
)
def test_a_damaged_normalizer_of_albert_is_a_checkpoint_error(normalizer, tmp_path):
    folder = write_albert(tmp_path)
    update_json(folder / "tokenizer.json", normalizer=normalizer)
    with pytest.raises(CheckpointError):
        load_tokenizer(folder, "albert")


def test_tokens_that_a_trainer_added_keep_their_ids(tmp_path, strings):
    folder = write_wordpiece(tmp_path / "model", "vocab.txt")
    write_json(folder / "added_tokens.json", {"<b>": 2001, "<a>": 2000})
    assert_same_ids(folder, [*strings[:500], "x<a>y<b> <B>"])
    assert load_tokenizer(folder).token_to_id("<b>") == 2001


def test_special_tokens_under_other_names_are_read_from_the_settings(tmp_path, strings):
    folder = write_wordpiece(tmp_path / "model", "vocab.txt")
    (folder / "special_tokens_map.json").unlink()
    token = {"content": "[unused2]", "lstrip": True, "rstrip": False, "normalized": False}
    update_json(
        folder / "tokenizer_config.json", cls_token="[unused1]", mask_token={"__type": "AddedToken", **token}
    )
    assert_same_ids(folder, [*strings[:500], "a [unused2] b"])
    names = special_token_names(folder, load_tokenizer(folder))
    assert (names["cls_token"], names["mask_token"]) == ("[unused1]", "[unused2]")


def test_the_real_tokenizer_of_minilm(minilm, tmp_path, same_ids):
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(minilm / name, tmp_path / name)
    same_ids("WordPiece of the real all-MiniLM-L6-v2, tokenizer.json", tmp_path, "bert")


UNKNOWN_TO_RUST = "\u061d"  # punctuation since Unicode 14; the tokenizers library does not split there


@pytest.mark.parametrize("lower_case", [True, False])
def test_the_python_tokenizer_of_bert(lower_case, tmp_path, strings):
    """The slow one of transformers 4, kept in 5, on characters that both know.

    It composes characters first (NFC), drops unassigned ones and splits at newer punctuation; the fast one,
    which AutoTokenizer gives, does not, and we do as that does.
    """
    from transformers import BertTokenizerLegacy

    folder = write_wordpiece(tmp_path / "model", "vocab.txt", lower_case=lower_case)
    unknown = ("Cn", "Co")
    shared = [
        unicodedata.normalize("NFC", text)
        for text in strings
        if UNKNOWN_TO_RUST not in text and all(unicodedata.category(c) not in unknown for c in text)
    ]
    assert len(shared) > COUNT // 2
    slow = BertTokenizerLegacy.from_pretrained(folder)
    differing(ids(folder, shared), [slow(text)["input_ids"] for text in shared], shared)


def vocabulary(content):
    return lambda folder: (folder / "vocab.txt").write_bytes(content)


def settings(**changes):
    return lambda folder: update_json(folder / "tokenizer_config.json", **changes)


def twice(folder):
    lines = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join([*lines, lines[200]]))


WORDPIECE_DAMAGE = {
    "a token twice": twice,
    "not UTF-8": vocabulary(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n\xff\xfe\n"),
    "empty": vocabulary(b""),
    "empty lines": vocabulary(b"\n\n\n"),
    "no special tokens": vocabulary(b"a\nb\n"),
    "no start token": vocabulary(b"[PAD]\n[UNK]\n[SEP]\na\n"),
    "zeros": vocabulary(bytes(1000)),
    "a special token that is a number": settings(cls_token=5),
    "a special token without content": settings(cls_token={"lstrip": True}),
    "a special token of spaces": settings(cls_token="not there"),
    "no unknown token": settings(unk_token=None),
    "accents a word": settings(strip_accents="yes"),
    "added tokens a list": settings(added_tokens_decoder=[1, 2]),
    "added tokens without numbers": settings(added_tokens_decoder={"first": {"content": "x"}}),
    "added tokens of numbers": settings(added_tokens_decoder={"1": 5}),
    "added tokens' numbers words": lambda folder: write_json(folder / "added_tokens.json", {"x": "five"}),
    "special tokens a list": lambda folder: write_json(folder / "special_tokens_map.json", []),
}


@pytest.mark.parametrize("damage", WORDPIECE_DAMAGE.values(), ids=WORDPIECE_DAMAGE.keys())
def test_a_damaged_wordpiece_vocabulary_is_a_checkpoint_error(damage, tmp_path):
    folder = write_wordpiece(tmp_path / "model", "vocab.txt")
    (folder / "special_tokens_map.json").unlink()
    damage(folder)
    with pytest.raises(CheckpointError):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", b""),
        ("vocab.json", b"[]"),
        ("vocab.json", b"{}"),
        ("vocab.json", b'{"a": -1}'),
        ("vocab.json", b'{"a": "b"}'),
        ("vocab.json", b'{"<s>": 0, "<pad>": 1}'),
        ("vocab.json", b"\xff\xfe"),
        ("merges.txt", b"\xff\xfe\n"),
        ("merges.txt", b"#version: 0.2\na\n"),
        ("merges.txt", b"#version: 0.2\nnot there\n"),
        ("merges.txt", b"#version: 0.2\na b c\n"),
    ],
)
def test_a_damaged_byte_level_vocabulary_is_a_checkpoint_error(name, content, tmp_path):
    folder = write_byte_level_bpe(tmp_path / "model", "vocab.json")
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError):
        load_tokenizer(folder, "roberta")


def test_merges_without_a_vocabulary_are_a_checkpoint_error(tmp_path):
    folder = write_byte_level_bpe(tmp_path / "model", "vocab.json")
    (folder / "vocab.json").unlink()
    with pytest.raises(CheckpointError, match=r"vocab.json and merges.txt"):
        load_tokenizer(folder, "roberta")


def test_a_class_that_needs_more_than_its_vocabulary_is_refused_by_name(tmp_path):
    folder = write_wordpiece(tmp_path / "model", "vocab.txt")
    update_json(folder / "tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer")
    with pytest.raises(UnsupportedModelError, match="BertJapaneseTokenizer"):
        load_tokenizer(folder)


LENGTHS = [(512, 512), (512.0, 512)]
NO_LENGTHS = [(value, None) for value in (1e30, float("nan"), float("inf"), -5, 0, True, "512", None, [512])]


@pytest.mark.parametrize(("said", "expected"), [*LENGTHS, *NO_LENGTHS])
def test_a_length_that_means_nothing_is_no_length(said, expected, tmp_path):
    write_json(tmp_path / "tokenizer_config.json", {"model_max_length": said})
    assert tokenizer_length(tmp_path) == expected


def change_tokenizer(folder, **changes):
    update_json(folder / "tokenizer.json", **changes)
    return folder


FOREIGN_STEPS = {
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
}


@pytest.mark.parametrize("part", FOREIGN_STEPS)
@pytest.mark.parametrize("kind", ["wordpiece", "mpnet", "unigram", "byte-level", "albert"])
def test_steps_that_the_class_builds_itself_are_not_taken_from_the_file(
    kind, part, tmp_path, strings, caplog
):
    write, model_type = {
        "wordpiece": (write_wordpiece, "bert"),
        "mpnet": (write_mpnet_wordpiece, "mpnet"),
        "unigram": (write_unigram, "xlm-roberta"),
        "byte-level": (write_byte_level_bpe, "roberta"),
        "albert": (write_albert, "albert"),
    }[kind]
    folder = change_tokenizer(write(tmp_path), **{part: FOREIGN_STEPS[part]})
    assert_same_but_for_ties(folder, strings[:1000], model_type)
    assert part in caplog.text or part == "post_processor"


def test_special_tokens_that_only_the_settings_name(tmp_path, strings):
    folder = write_wordpiece(tmp_path)
    update_json(folder / "tokenizer_config.json", cls_token="[unused1]", unk_token="[unused2]")
    assert_same_ids(folder, strings[:2000])


@pytest.mark.parametrize("place", ["tokenizer_config.json", "tokenizer.json"])
def test_truncation_at_the_left_is_refused(place, tmp_path):
    folder = write_wordpiece(tmp_path)
    if place == "tokenizer.json":
        truncation = {"direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
        change_tokenizer(folder, truncation=truncation)
    else:
        update_json(folder / place, truncation_side="left")
    with pytest.raises(UnsupportedModelError, match="truncation_side"):
        load_tokenizer(folder)


def test_special_tokens_that_are_split_are_refused(tmp_path):
    folder = write_wordpiece(tmp_path)
    update_json(folder / "tokenizer_config.json", split_special_tokens=True)
    with pytest.raises(UnsupportedModelError, match="split_special_tokens"):
        load_tokenizer(folder)
