"""An encoder of the tiny model, a way to call ``encode_corpus``, and texts to give it."""

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from corpus_files import write_json_lines
from m3e_corpora import CorpusRequest, encode_corpus
from m3e_runtime import Encoder
from scoring_bundles import PAIRS


@pytest.fixture(scope="session")
def encoder(tiny_bundle):
    return Encoder.load(tiny_bundle)


@pytest.fixture
def encode(tiny_bundle):
    """``encode(inputs, output, **options)`` with the tiny model; inputs may be one path or several."""

    def call(inputs, output, bundle=tiny_bundle, **options):
        names = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        return encode_corpus(CorpusRequest(bundle, tuple(map(str, names)), str(output), **options))

    return call


@pytest.fixture(scope="session")
def corpus():
    """Three hundred texts of several kinds and lengths; some are empty, some come twice."""
    random = np.random.default_rng(0)
    characters = [chr(0x4E00 + n) for n in range(500)] + list("abc ,，。")
    texts = ["".join(random.choice(characters, length)) for length in random.integers(0, 60, 290)]
    return [*texts[:150], *texts[:10], *texts[150:]]


@pytest.fixture
def source(tmp_path, corpus):
    """Nine hundred texts with ids, in JSON Lines."""
    rows = ({"id": number, "text": text} for number, text in enumerate(corpus * 3))
    return write_json_lines(tmp_path / "in.jsonl", rows)


@pytest.fixture
def pairs(tmp_path):
    """A file of queries and passages."""
    rows = ({"id": place, "query": query, "text": text} for place, (query, text) in enumerate(PAIRS))
    return write_json_lines(tmp_path / "pairs.jsonl", rows)


@pytest.fixture
def break_row(source):
    """Make row 501 of ``source`` one that cannot be encoded."""

    def call():
        lines = source.read_bytes().splitlines(keepends=True)
        lines.insert(500, b'{"id": 7, "text": null}\n')
        source.write_bytes(b"".join(lines))

    return call


@pytest.fixture
def killing_one(out):
    """``with killing_one(workers, parts):`` kills a process when so many parts are in ``out/v``.

    ``workers()`` gives the processes. In the end one must have been killed, before the last part was there.
    """

    def parts_done():
        return len(list((out / "v").glob("part-*")))

    @contextmanager
    def during(workers, parts):
        killed_at = []

        def kill():
            deadline = time.monotonic() + 60
            while not killed_at and time.monotonic() < deadline:
                if parts_done() >= parts:
                    for process in workers()[:1]:
                        process.kill()
                        killed_at.append(parts_done())
                time.sleep(0.005)

        killing = threading.Thread(target=kill)
        killing.start()
        yield
        killing.join()
        assert killed_at
        assert killed_at[0] < parts_done()

    return during
