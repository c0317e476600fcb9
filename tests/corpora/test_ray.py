"""Two actors on one machine: the bytes of one process, whatever dies."""

import functools
import threading

import numpy as np
import psutil
import pytest

from corpus_files import files_of, write_text
from m3e_corpora import CorpusRequest, encode_corpus
from m3e_corpora.cli import main
from m3e_corpora.executors.ray import EncodeBatches, RayExecutor
from m3e_runtime import ChunkOptions
from m3e_runtime.errors import InvalidTextError, OptionError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'm3e-runtime[ray]'")

OPTIONS = {"keep": ("id",), "partition_bytes": 600}
CHUNKS = {
    "keep": ("id",),
    "partition_bytes": 20_000,
    "over_long": "chunk",
    "chunking": ChunkOptions(tokens=16, overlap=4, late=True),
}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("M3E_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def encode_on_ray(tiny_bundle):
    def call(source, output, bundle=tiny_bundle, **options):
        request = CorpusRequest(bundle, (str(source),), str(output), threads=1, **options)
        return encode_corpus(request, functools.partial(RayExecutor, actors=2))

    return call


@pytest.fixture
def expected(encode, source, tmp_path):
    encode(source, f"{tmp_path}/v/", **OPTIONS)
    return files_of(tmp_path / "v")


def actors():
    """The processes of our actors."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if process.name().startswith("ray::MapWorker")]


def test_two_actors_give_the_bytes_of_one_process(encode_on_ray, source, out, expected):
    seen = set()
    stop = threading.Event()

    def watch():
        while not stop.wait(0.05):
            seen.update(process.pid for process in actors())

    watching = threading.Thread(target=watch)
    watching.start()
    summary = encode_on_ray(source, f"{out}/v/", **OPTIONS)
    stop.set()
    watching.join()
    assert files_of(out / "v") == expected
    assert summary.texts == 900
    assert summary.tokens_per_second > 0
    assert len(seen) == 2


def test_chunks_and_pairs_have_the_bytes_of_one_process(
    encode, encode_on_ray, source, pairs, scoring_bundles, out, tmp_path
):
    for name, given, options in (
        ("chunks", source, CHUNKS),
        ("pairs", pairs, {"bundle": scoring_bundles[1], "keep": ("id",), "partition_bytes": 6000}),
    ):
        expected = encode(given, f"{tmp_path}/{name}/", **options)
        summary = encode_on_ray(given, f"{out}/{name}/", **options)
        assert files_of(out / name) == files_of(tmp_path / name)
        assert (summary.texts, summary.divided) == (expected.texts, expected.divided)
        assert summary.partitions > 2


def test_an_actor_that_is_killed_is_replaced_and_nothing_is_lost_or_doubled(
    encode_on_ray, source, out, expected, killing_one
):
    with killing_one(actors, 5):
        encode_on_ray(source, f"{out}/v/", **OPTIONS)
    assert files_of(out / "v") == expected


def test_what_ray_began_one_process_goes_on_with_and_the_other_way_round(
    encode, encode_on_ray, source, break_row, out
):
    break_row()
    with pytest.raises(InvalidTextError, match=r"in\.jsonl, line 501: field 'text' is not a string"):
        encode_on_ray(source, f"{out}/v/", **OPTIONS)
    summary = encode(source, f"{out}/v/", resume=True, on_error="skip", **OPTIONS)
    assert 0 < summary.resumed < summary.partitions
    assert (summary.texts, summary.skipped) == (900, 1)
    (out / "v" / "part-00002.parquet").unlink()
    again = encode_on_ray(source, f"{out}/v/", resume=True, on_error="skip", **OPTIONS)
    assert again.resumed == summary.partitions - 1
    assert (out / "v" / "part-00002.parquet").exists()


def test_the_command(tiny_bundle, encoder, corpus, tmp_path, out, capsys):
    write_text(tmp_path / "in.txt", corpus)
    arguments = [str(tiny_bundle), str(tmp_path / "in.txt"), "-o", str(out / "v.npy"), "--executor", "ray"]
    assert main([*arguments, "--actors", "2", "--threads", "1", "--partition-size", "3k"]) == 0
    assert "300 texts" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(corpus))
    assert main([*arguments, "--force", "--bundle-everywhere"]) == 0
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(corpus))
    assert main([*arguments, "--force", "--threads", "99"]) == 2
    assert "99 processors" in capsys.readouterr().err
    assert main([*arguments[:2], "-o", "-", "--executor", "ray"]) == 2


def test_a_bundle_that_is_damaged_is_told_before_anything_is_begun(
    encode_on_ray, tiny_bundle, source, out, tmp_path
):
    with pytest.raises(OptionError, match="no-such-artifact"):
        encode_on_ray(source, f"{out}/v/", artifact="no-such-artifact")
    assert list(out.iterdir()) == []


def test_vectors_for_a_data_set_of_ray(tiny_bundle, encoder, corpus):
    rows = [{"id": number, "text": text} for number, text in enumerate(corpus)]
    found = ray.data.from_items(rows).map_batches(
        EncodeBatches,
        batch_size=64,
        fn_constructor_kwargs={"bundle": str(tiny_bundle), "normalize_embeddings": True},
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=1,
    )
    table = sorted(found.take_all(), key=lambda row: row["id"])
    vectors = np.stack([row["embedding"] for row in table])
    np.testing.assert_array_equal(vectors, encoder.encode(corpus, normalize_embeddings=True))
    with pytest.raises(OptionError, match="gives a text several vectors, and a row has one"):
        EncodeBatches(tiny_bundle, truncation="chunk")
