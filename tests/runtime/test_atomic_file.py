"""Files that are complete or absent, and files of the cache that may be lost."""

import os

import pytest

from m3e_runtime.atomic_file import atomic_file
from m3e_runtime.cache import CacheEntry, keep_file
from m3e_runtime.errors import OutputError


def test_the_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "v.bin"
    target.write_bytes(b"old")
    with atomic_file(target) as stream:
        stream.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["v.bin"]


def fail_halfway(stream, error):
    stream.write(b"half")
    raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file_and_leaves_no_other(tmp_path, error):
    target = tmp_path / "v.bin"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_file(target) as stream:
        fail_halfway(stream, error)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["v.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_refusal_of_the_system_is_an_output_error(tmp_path, monkeypatch, step):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, refuse)
    with (
        pytest.raises(OutputError, match=r"v\.bin: cannot be written \(No space left"),
        atomic_file(tmp_path / "v.bin"),
    ):
        pass
    assert os.listdir(tmp_path) == []


def test_a_folder_that_does_not_exist_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), atomic_file(tmp_path / "no" / "v.bin"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_the_file_has_the_usual_permissions(tmp_path):
    with atomic_file(tmp_path / "v.bin"):
        pass
    (tmp_path / "other").touch()
    assert (tmp_path / "v.bin").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_cache_entry_comes_back_and_a_damaged_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("M3E_CACHE", str(tmp_path / "cache"))
    entry = CacheEntry("engines", {"gpu": "x"})
    assert entry.read() is None
    entry.write(b"content")
    assert entry.read() == b"content"
    assert [path.name for path in entry.path.parent.iterdir()] == [entry.path.name]
    entry.path.write_bytes(entry.path.read_bytes()[:-1])
    assert entry.read() is None


def test_a_file_that_cannot_be_kept_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    keep_file(tmp_path / "file" / "below", b"content")
    assert "cannot be kept for the next time" in caplog.text
    assert caplog.messages[0].count(str(tmp_path)) == 1
