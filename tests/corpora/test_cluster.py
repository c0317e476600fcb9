"""Workers that fit into a cluster, and the transfer of a bundle to them."""

import shutil

import numpy as np
import pytest

from m3e_corpora.executors.bundle_transfer import install_bundle, read_bundle
from m3e_corpora.executors.cluster import Machine, size_pool
from m3e_runtime import Encoder
from m3e_runtime.errors import BundleIntegrityError, OptionError

HEAD, SMALL, LARGE, GPUS = Machine(0, 0), Machine(4, 0), Machine(64, 0), Machine(16, 4)


@pytest.mark.parametrize(
    ("machines", "on_gpu", "threads", "workers", "expected"),
    [
        ([HEAD, SMALL, SMALL], False, None, None, (2, 4, 0)),
        ([LARGE], False, None, None, (8, 8, 0)),
        ([SMALL, LARGE], False, None, None, (17, 4, 0)),
        ([SMALL, LARGE], False, 16, None, (4, 16, 0)),
        ([LARGE], False, None, 3, (3, 8, 0)),
        ([SMALL], False, None, 50, (50, 4, 0)),
        ([SMALL, GPUS], True, None, None, (4, 4, 1)),
        ([GPUS, Machine(4, 8)], True, None, None, (8, 1, 1)),
        ([GPUS], True, 8, None, (2, 8, 1)),
        ([GPUS], False, None, None, (2, 8, 0)),
    ],
)
def test_workers_fill_the_cluster(machines, on_gpu, threads, workers, expected):
    assert size_pool(machines, on_gpu, threads, workers) == expected


@pytest.mark.parametrize(
    ("machines", "on_gpu", "threads"),
    [([], False, None), ([HEAD], False, None), ([SMALL], True, None), ([SMALL, LARGE], False, 65)],
)
def test_a_cluster_without_room_is_told(machines, on_gpu, threads):
    with pytest.raises(OptionError, match="no machine of the cluster"):
        size_pool(machines, on_gpu, threads, None)


@pytest.fixture
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("M3E_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_cache")
def test_a_bundle_is_transferred_with_the_artifact_that_is_wanted(tiny_bundle, encoder, corpus):
    name = encoder.artifact.name
    files = read_bundle(tiny_bundle, name)
    assert len(files) < len(read_bundle(tiny_bundle, None))
    folder = install_bundle(files)
    assert install_bundle(files) == folder
    arrived = Encoder.load(folder, artifact=name)
    np.testing.assert_array_equal(arrived.encode(corpus), encoder.encode(corpus))
    assert install_bundle(read_bundle(tiny_bundle, None)) != folder


@pytest.mark.usefixtures("_cache")
def test_a_damaged_bundle_is_not_transferred_and_a_changed_one_does_not_load(tiny_bundle, tmp_path):
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    folder = install_bundle(read_bundle(bundle, None))
    for damaged in (bundle, folder):
        (damaged / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(BundleIntegrityError):
        read_bundle(bundle, None)
    with pytest.raises(BundleIntegrityError):
        Encoder.load(folder)
