"""Late chunking: vectors are means of the states that sentence-transformers gives for a whole text."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest

import synthetic
from families import write_byte_level_bpe, write_unigram, write_wordpiece
from m3e_export import ExportRequest, export
from m3e_runtime import ChunkOptions, Encoder, OptionError
from m3e_runtime.chunking import Chunker
from m3e_runtime.chunking.windows import WindowReader
from m3e_runtime.tokenization import TextTokenizer, TokenIds

TEXT = (
    "今天天气很好。It costs 3.14 dollars! “真的吗？”他问道……\r\n"
    "He left, and nobody said a word about it. 好。"
)
LATE = ChunkOptions(tokens=16, late=True)


@pytest.fixture(scope="module")
def reference(tiny_checkpoint):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_checkpoint), device="cpu")


@pytest.fixture(scope="module")
def tiny(tiny_bundle):
    return Encoder.load(tiny_bundle, artifact="fp32-native", verify=False)


def pooled(reference, text: str, spans: list[tuple[int, int]], prompt: str = "") -> np.ndarray:
    """The means of the states of tokens within spans of characters; special tokens and prompt at the ends."""
    states = reference.encode(prompt + text, output_value="token_embeddings", convert_to_numpy=False).numpy()
    offsets = reference.tokenizer(prompt + text, return_offsets_mapping=True)["offset_mapping"]
    rows = []
    for start, end in spans:
        inside = [start < last - len(prompt) <= end and first < last for first, last in offsets]
        tokens = np.flatnonzero(inside)
        begin = 0 if start == 0 else tokens[0]
        stop = len(offsets) if end == len(text) else tokens[-1] + 1
        rows.append(states[begin:stop].mean(axis=0))
    return np.array(rows)


@pytest.mark.parametrize("prompt", ["", "问题："])
@pytest.mark.parametrize("overlap", [0, 5])
def test_vectors_are_means_of_the_states_of_a_whole_text(tiny, reference, prompt, overlap) -> None:
    options = ChunkOptions(16 if not prompt else 20, overlap, late=True)
    found = tiny.encode_chunks(TEXT, prompt=prompt, chunking=options)
    assert len(found) > 3
    spans = list(zip(found.start.tolist(), found.end.tolist(), strict=True))
    expected = pooled(reference, TEXT, spans, prompt)
    assert np.abs(found.vectors - expected).max() < 1e-5


def test_a_text_of_one_chunk_has_its_own_vector(tiny) -> None:
    for text in ("", "短", "今天天气很好。"):
        found = tiny.encode_chunks(text, chunking=LATE)
        assert np.abs(found.vectors[0] - tiny.encode(text)).max() < 1e-6


def test_a_text_beyond_the_limit_is_read_in_windows_with_context(tiny, reference) -> None:
    import torch

    text = TEXT * 20
    (chunks,) = Chunker(tiny.tokenizer, LATE).chunks_of_each([text])
    windows = list(WindowReader(tiny.tokenizer, include_prompt=True).windows(text, "", chunks))
    assert [at for window in windows for at in window.chunks] == list(range(len(chunks)))
    expected = []
    for window in windows:
        assert len(window.token_ids) <= tiny.max_seq_length
        inputs = {name: torch.tensor([ids]) for name, ids in inputs_of(window.token_ids).items()}
        states = reference(inputs)["token_embeddings"][0].detach().numpy()
        expected += [states[begin:end].mean(axis=0) for begin, end in window.tokens]
    found = tiny.encode_chunks(text, chunking=LATE)
    assert np.abs(found.vectors - np.array(expected)).max() < 1e-5
    begin, end = windows[1].tokens[1]
    chunk = chunks[windows[1].chunks[1]]
    assert windows[1].token_ids[begin:end].tolist() == chunk.token_ids[1:-1].tolist()
    assert windows[1].tokens[0][0] > 1  # chunks before it are its context


def inputs_of(token_ids: np.ndarray) -> dict[str, list[int]]:
    return {"input_ids": token_ids.tolist(), "attention_mask": [1] * len(token_ids)}


def test_models_that_pool_otherwise_are_refused_by_name(tiny_checkpoint, tmp_path) -> None:
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "cls")
    synthetic.update_json(
        checkpoint / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True
    )
    request = ExportRequest(str(checkpoint), tmp_path / "bundle", ("fp32",), gate="off", oracle="numpy")
    with pytest.raises(OptionError, match="needs mean pooling, and this model pools by cls"):
        Encoder.load(export(request).path).encode_chunks("a", chunking=LATE)


class Counting:
    """A tokenizer that counts the tokens that it gives."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self.tokens = 0

    def encode_batch_marked(self, texts: list[str]) -> tuple[list[TokenIds], list[bool]]:
        ids, cut = self._tokenizer.encode_batch_marked(texts)
        self.tokens += sum(map(len, ids))
        return ids, cut

    def __getattr__(self, name: str) -> object:
        return getattr(self._tokenizer, name)


@pytest.fixture(scope="module")
def long_tokenizers(tmp_path_factory) -> dict[str, TextTokenizer]:
    """Tokenizers of models that take 8192 tokens."""
    folder = tmp_path_factory.mktemp("tokenizers")
    written = {
        "WordPiece": write_wordpiece(folder / "wordpiece", lower_case=True),
        "byte-level": write_byte_level_bpe(folder / "byte-level"),
        "Unigram": write_unigram(folder / "unigram"),
    }
    return {name: TextTokenizer.from_file(it / "tokenizer.json", 8192) for name, it in written.items()}


@pytest.mark.parametrize("name", ["WordPiece", "byte-level"])
@pytest.mark.parametrize("text", ["It was. He left! ", "好。" * 4 + "走吧！", "a." + " " * 30])
def test_a_text_of_many_small_chunks_is_tokenized_a_few_times(long_tokenizers, name, text) -> None:
    """Not once for each chunk. The places are those that the tokens before each of them give."""
    tokenizer = Counting(long_tokenizers[name])
    text *= 8000 // len(long_tokenizers[name].encode(text))
    (chunks,) = Chunker(tokenizer, ChunkOptions(8, late=True)).chunks_of_each([text])
    assert len(chunks) > 200
    tokenizer.tokens = 0
    windows = list(WindowReader(tokenizer, include_prompt=True).windows(text, "", chunks))
    assert [at for window in windows for at in window.chunks] == list(range(len(chunks)))
    assert tokenizer.tokens < 40 * sum(len(window.token_ids) for window in windows)
    for window in windows[:1]:
        for at, (begin, end) in list(zip(window.chunks, window.tokens, strict=True))[1:-1:97]:
            before = tokenizer.encode(text[: chunks[at].start]).tolist()
            assert window.token_ids[:begin].tolist() == before[:begin]
            assert before[begin : begin + 1] != [window.token_ids[begin]]
            assert end > begin


@pytest.mark.parametrize("characters", ["abcdefghij", "ab今天 c好", "the of and", "a"])
def test_unigram_divides_text_without_spaces(long_tokenizers, characters) -> None:
    """The tokenizer reads the beginning of any part as that of a word. The places are those of the whole."""
    tokenizer = Counting(long_tokenizers["Unigram"])
    text = "".join(random.Random(7).choices(characters, k=4000))
    (chunks,) = Chunker(tokenizer, ChunkOptions(8, late=True)).chunks_of_each([text])
    assert len(chunks) > 200
    tokenizer.tokens = 0
    windows = list(WindowReader(tokenizer, include_prompt=True).windows(text, "", chunks))
    assert tokenizer.tokens < 60 * sum(len(window.token_ids) for window in windows)
    (window,) = windows
    for chunk, (begin, end) in list(zip(chunks, window.tokens, strict=True))[1:-1:7]:
        for place, found in ((chunk.start, begin), (chunk.end, end)):
            before = tokenizer.encode(text[:place])[:-1]
            same = int(np.append(before != window.token_ids[: len(before)], True).argmax())
            assert found == same or (place == chunk.end and found == begin + 1 > same)
