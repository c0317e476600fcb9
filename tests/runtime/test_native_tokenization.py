"""The engine's tokenizer behind TextTokenizer, and its fallback, the package ``tokenizers``."""

import copy
import json
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from families import write_byte_level_bpe, write_mpnet_wordpiece, write_unigram, write_wordpiece
from m3e_runtime import BundleError, Encoder, InvalidTextError
from m3e_runtime.backends import native
from m3e_runtime.errors import TextTooLongError
from m3e_runtime.tokenization import TextTokenizer
from strange_texts import generated
from tokenizer_files import added_token, tokenizer_json

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))

LIMIT = 16

LONG = {
    "words": "The quick brown fox jumps over the lazy dog. " * 2000,
    "Chinese": "今天天气很好，我们去公园玩吧。" * 6000,
    "one ideograph": "好" * 100_000,
    "one letter": "a" * 100_000,
    "spaces": " " * 100_000,
    "zeros": "\x00" * 100_000,
    "emoji": "😀" * 50_000,
    "spaces, then a word": " " * 50_000 + "word",
}


def both(folder, max_length=LIMIT, threads=1):
    """The tokenizer of a folder in the engine, and in the package."""
    file = folder / "tokenizer.json"
    own = TextTokenizer.from_file(file, max_length, threads)
    assert own.info == "native"
    return own, TextTokenizer.from_file(file, max_length, native=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    return {
        "WordPiece, cased": write_wordpiece(folder / "cased", lower_case=False),
        "WordPiece, lower-cased": write_wordpiece(folder / "lower-cased", lower_case=True),
        "MPNet's": write_mpnet_wordpiece(folder / "mpnet", lower_case=True),
        "byte-level": write_byte_level_bpe(folder / "byte-level"),
        "Unigram": write_unigram(folder / "unigram"),
    }


NAMES = ["WordPiece, cased", "WordPiece, lower-cased", "MPNet's", "byte-level", "Unigram"]


@pytest.fixture
def file(folders):
    return folders["WordPiece, lower-cased"] / "tokenizer.json"


def assert_same(found, expected):
    ids, cut = found
    expected_ids, expected_cut = expected
    assert cut == expected_cut
    assert {each.dtype for each in ids} <= {np.dtype(np.int32)}
    assert [each.tolist() for each in ids] == [each.tolist() for each in expected_ids]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_those_of_the_reference(name, threads, folders):
    own, reference = both(folders[name], threads=threads)
    texts = [*generated(3000), "", " ", "a"]
    assert_same(own.encode_batch_marked(texts), reference.encode_batch_marked(texts))
    assert_same(own.encode_batch_marked([]), ([], []))


@pytest.mark.parametrize("name", NAMES)
def test_single_texts_are_those_of_the_reference(name, folders):
    own, reference = both(folders[name])
    for text in [*generated(1000), "", "\x00", "a\x00b", "word " * 300]:
        found = own.encode(text)
        assert found.tolist() == reference.encode(text).tolist(), repr(text)
        assert found.dtype == np.int32
        assert found.flags.writeable


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("name", NAMES)
def test_long_texts_are_those_of_the_reference(name, kind, folders):
    own, reference = both(folders[name], 256)
    texts = [LONG[kind], "short", LONG[kind][:20_000]]
    assert_same(own.encode_batch_marked(texts), reference.encode_batch_marked(texts))
    for text in texts:
        assert own.encode(text).tolist() == reference.encode(text).tolist()


@pytest.mark.parametrize("limit", [2, 3, 40])
def test_another_limit_holds_for_every_method(limit, file):
    own, reference = both(file.parent)
    texts = generated(200)
    limited, expected = own.limited(limit), reference.limited(limit)
    assert limited.max_length == limited.tokenizer.truncation["max_length"] == limit
    assert_same(limited.encode_batch_marked(texts), expected.encode_batch_marked(texts))
    assert [limited.encode(text).tolist() for text in texts] == [
        expected.encode(text).tolist() for text in texts
    ]
    assert_same(own.encode_batch_marked(texts), reference.encode_batch_marked(texts))


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_the_package_is_the_same(name, folders):
    own, reference = both(folders[name])
    texts = generated(300)
    assert [ids.tolist() for ids in own.encode_tails(texts)] == [
        ids.tolist() for ids in reference.encode_tails(texts)
    ]
    for prompt in ("", "query: ", "为这个句子生成表示：", "[SEP]", "</s>"):
        assert own.prompt_length(prompt) == reference.prompt_length(prompt)
    assert own.special_tokens == reference.special_tokens
    assert own.vocabulary_size == reference.vocabulary_size
    assert own.tokenizer.to_str() == reference.tokenizer.to_str()


def test_the_size_of_a_vocabulary_with_gaps_is_beyond_its_largest_id(tmp_path):
    model = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "a": 100, "b": 7}}
    written = [tokenizer_json(model), tokenizer_json(model, added_tokens=[added_token("new")])]
    bert = {"type": "BertProcessing", "cls": ["b", 7], "sep": ["end", 300]}
    written.append(tokenizer_json(model, post_processor=bert))
    for content, size in zip(written, (101, 101, 301), strict=True):
        (tmp_path / "tokenizer.json").write_text(content)
        own, reference = both(tmp_path)
        assert own.vocabulary_size == reference.vocabulary_size == size
        assert max(own.encode("a").tolist()) < size


@pytest.mark.parametrize("wrong", [5, None, b"bytes", ["a"], "\ud800", "a\udfffb"])
def test_texts_that_are_none_get_the_same_errors(wrong, file):
    said = []
    for tokenizer in both(file.parent):
        for call in (
            lambda: tokenizer.encode(wrong),  # noqa: B023 - called at once
            lambda: tokenizer.encode_batch(["fine", wrong]),  # noqa: B023
            lambda: tokenizer.encode_batch_marked([wrong]),  # noqa: B023
            lambda: tokenizer.encode_in_pieces(["a", "b", wrong]),  # noqa: B023
            lambda: tokenizer.encode_tails([wrong]),  # noqa: B023
        ):
            with pytest.raises(InvalidTextError) as error:
                call()
            said.append(str(error.value))
    assert said[:5] == said[5:]
    assert said[0].startswith("text 0 ")
    assert said[1].startswith("text 1 ")


@pytest.mark.parametrize("text", ["word " * 20, "word " * 1000, "word " * 100_000])
def test_texts_that_are_too_long_get_the_same_errors(text, file):
    said = []
    for tokenizer in both(file.parent):
        assert tokenizer.encode("short", truncate=False).tolist() == tokenizer.encode("short").tolist()
        for call in (tokenizer.encode, lambda text, truncate: tokenizer.encode_batch(["a", text], truncate)):  # noqa: B023
            with pytest.raises(TextTooLongError) as error:
                call(text, truncate=False)
            said.append(str(error.value))
    assert said[:2] == said[2:]
    assert f"and the model takes {LIMIT}" in said[0]
    assert ("at least 17 tokens" in said[0]) == (len(text) > 16_384)


def test_str_subclasses_are_texts(file):
    class Text(str):
        __slots__ = ()

    own, reference = both(file.parent)
    for text in (Text("hello world"), np.str_("hello world")):
        assert own.encode(text).tolist() == reference.encode(text).tolist()
        assert_same(own.encode_batch_marked([text]), reference.encode_batch_marked([text]))


def test_many_threads_share_one(file):
    own, reference = both(file.parent, threads=2)
    texts = generated(400)
    expected = [ids.tolist() for ids in reference.encode_batch(texts)]

    def work(_):
        together = [ids.tolist() for ids in own.encode_batch(texts)]
        return together == expected and [own.encode(text).tolist() for text in texts] == expected

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_tokenizes(file):
    own, _ = both(file.parent, threads=2)
    texts = generated(2000)
    expected = [ids.tolist() for ids in own.encode_batch(texts)]
    child = os.fork()
    if child == 0:  # no pytest in here: leave by os._exit only
        try:
            signal.alarm(60)
            same = [ids.tolist() for ids in own.encode_batch(texts)] == expected
        except BaseException:
            same = False
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_copies_share_what_is_loaded(file):
    own, _ = both(file.parent)
    text = "今天天气很好 hello"
    for duplicate in (copy.copy(own), copy.deepcopy(own), own.limited(40)):
        assert duplicate.encode(text).tolist() == own.encode(text).tolist()
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        pickle.dumps(own._fast)


def test_encoders_are_pickled_and_copied(tiny_bundle):
    encoder = Encoder.load(tiny_bundle, threads=1)
    assert encoder.info["tokenizer"] == "native"
    expected = encoder.encode(["你好", "hello"])
    for same in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder), copy.copy(encoder)):
        assert same.info["tokenizer"] == "native"
        np.testing.assert_array_equal(same.encode(["你好", "hello"]), expected)


def test_the_file_can_be_deleted_after_it_is_loaded(file, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(file.read_bytes())
    own, reference = both(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert own.tokenizer.to_str() == reference.tokenizer.to_str()


def changed(file, tmp_path, **members):
    content = json.loads(file.read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | members), encoding="utf-8")
    return tmp_path / "tokenizer.json"


def test_what_the_engine_does_not_have_falls_back_and_says_why(file, tmp_path):
    step = {"type": "Split", "pattern": {"Regex": "(?=[^a-z]{3})"}, "behavior": "Isolated", "invert": False}
    other = changed(file, tmp_path, pre_tokenizer=step)
    fallen = TextTokenizer.from_file(other, LIMIT)
    reference = TextTokenizer.from_file(other, LIMIT, native=False)
    assert fallen.info.startswith("tokenizers ")
    assert "(?=[^a-z]{3})" in fallen.info
    texts = generated(200)
    assert_same(fallen.encode_batch_marked(texts), reference.encode_batch_marked(texts))


def test_without_the_engine_the_package_does_it(file):
    script = (
        "import sys\n"
        "sys.modules['m3e_runtime._native'] = None\n"
        "from m3e_runtime.tokenization import TextTokenizer\n"
        "from pathlib import Path\n"
        "found = TextTokenizer.from_file(Path(sys.argv[1]), 16)\n"
        "print(found.info, found.encode('hello').tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True)
    assert done.stdout.startswith("tokenizers "), done.stderr
    assert done.stdout.endswith(f"{both(file.parent)[0].encode('hello').tolist()}\n")


@pytest.mark.parametrize("content", [b"", b"{}", b"not JSON", b'{"version": "1.0"}', b"\xff" * 100])
def test_what_is_no_tokenizer_is_refused(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"not a tokenizer\.json"):
        TextTokenizer.from_file(tmp_path / "tokenizer.json", LIMIT)
    with pytest.raises(BundleError, match=r"not a tokenizer\.json"):
        TextTokenizer.from_file(tmp_path / "missing.json", LIMIT)


def test_an_encoder_does_not_import_the_package(tiny_bundle):
    script = (
        "import sys\n"
        "from m3e_runtime import Encoder\n"
        "encoder = Encoder.load(sys.argv[1])\n"
        "encoder.tokenizer.prompt_length('query: ')\n"
        "encoder.encode('你好'), encoder.encode(['a', 'b' * 100_000]), encoder.info\n"
        "print({'tokenizers', 'm3e_runtime.long_texts'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tiny_bundle)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_special_ids_are_those_of_the_reference(name, folders):
    own, reference = both(folders[name])
    for prompt in ("", "query: ", "query: [SEP]", "query</s>", "为这个句子生成表示："):
        assert own.prompt_length(prompt) == reference.prompt_length(prompt)
    assert own._fast.special_ids == reference._fast.special_ids


def without_the_package(expression, file):
    """The result, or the error, of an expression in a process where ``tokenizers`` is not installed."""
    script = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'tokenizers': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from pathlib import Path\n"
        "from m3e_runtime.errors import DependencyMissingError\n"
        "from m3e_runtime.tokenization import TextTokenizer\n"
        "try:\n"
        "    tokenizer = TextTokenizer.from_file(Path(sys.argv[1]), 16)\n"
        f"    print({expression})\n"
        "except DependencyMissingError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True)
    assert not done.stderr
    return done.stdout


def test_the_package_is_not_needed_where_the_engine_reads_the_file(file):
    ids = both(file.parent)[0].encode("hello").tolist()
    assert without_the_package("tokenizer.encode('hello').tolist()", file) == f"{ids}\n"


@pytest.mark.parametrize(
    "expression", ["tokenizer.tokenizer", "tokenizer.splits", "tokenizer.encode_tails(['hello'])"]
)
def test_what_needs_the_package_says_so(expression, file):
    assert "pip install 'm3e-runtime[tokenizers]'" in without_the_package(expression, file)


def test_a_file_that_needs_the_package_says_so_and_why(file, tmp_path):
    step = {"type": "Split", "pattern": {"Regex": "(?=[^a-z]{3})"}, "behavior": "Isolated", "invert": False}
    message = without_the_package("tokenizer", changed(file, tmp_path, pre_tokenizer=step))
    assert str(tmp_path) in message
    assert "(?=[^a-z]{3})" in message
    assert "pip install 'm3e-runtime[tokenizers]'" in message
