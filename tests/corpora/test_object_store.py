"""Inputs in an object store: moto plays S3 on this machine."""

import urllib.parse

import numpy as np
import pytest
from pyarrow import fs

from corpus_files import files_of, write_json_lines, write_parquet, write_text
from m3e_corpora.errors import UnreadableInputError
from m3e_runtime.errors import M3EError

server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")


class Store:
    """A bucket."""

    def __init__(self, port):
        options = {"scheme": "http", "endpoint_override": f"127.0.0.1:{port}", "region": "us-east-1"}
        self._query = urllib.parse.urlencode(options)
        self.system = fs.S3FileSystem(
            access_key="key", secret_key="secret", allow_bucket_creation=True, **options
        )
        self.system.create_dir("bucket")

    def put(self, file, path):
        with self.system.open_output_stream(f"bucket/{path}") as stream:
            stream.write(file.read_bytes())

    def uri(self, path):
        return f"s3://bucket/{path}?{self._query}"


@pytest.fixture(scope="module")
def store():
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    _, port = running.get_host_and_port()
    yield Store(port)
    running.stop()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize("name", ["in.jsonl", "in.parquet", "in.txt"])
def test_a_remote_file_gives_the_bytes_of_a_local_one(store, encode, corpus, tmp_path, out, name):
    file = tmp_path / name
    if name == "in.txt":
        write_text(file, corpus)
    elif name == "in.jsonl":
        write_json_lines(file, ({"text": text} for text in corpus))
    else:
        write_parquet(file, {"text": corpus}, row_group_size=70)
    store.put(file, name)
    encode(file, f"{out}/local/", partition_bytes=1000)
    summary = encode(store.uri(name), f"{out}/remote/", partition_bytes=1000)
    assert summary.texts == len(corpus)
    parts = {name: content for name, content in files_of(out / "local").items() if "part-" in name}
    assert len(parts) > 3
    assert {name: files_of(out / "remote")[name] for name in parts} == parts


@pytest.mark.parametrize("end", ["", "/"])
def test_a_remote_folder_is_searched(store, encode, encoder, corpus, tmp_path, out, end):
    for number, at in enumerate((0, 100, 200)):
        write_text(tmp_path / "part.txt", corpus[at : at + 100])
        store.put(tmp_path / "part.txt", f"folder/{number}/part.txt")
    store.put(tmp_path / "part.txt", "folder/_hidden/part.txt")
    store.put(tmp_path / "part.txt", "folder/README.md")
    encode(store.uri(f"folder{end}"), out / "v.npy")
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(corpus))


def test_a_job_goes_on_and_sees_what_has_changed(store, encode, corpus, tmp_path, out):
    write_text(tmp_path / "in.txt", corpus)
    store.put(tmp_path / "in.txt", "changing.txt")
    first = encode(store.uri("changing.txt"), f"{out}/v/", partition_bytes=1000)
    (out / "v" / "part-00001.parquet").unlink()
    again = encode(store.uri("changing.txt"), f"{out}/v/", partition_bytes=1000, resume=True)
    assert again.resumed == first.partitions - 1
    write_text(tmp_path / "in.txt", corpus[:-1])
    store.put(tmp_path / "in.txt", "changing.txt")
    with pytest.raises(M3EError, match=r"changed|other inputs"):
        encode(store.uri("changing.txt"), f"{out}/v/", partition_bytes=1000, resume=True)


@pytest.mark.parametrize("path", ["missing.txt", "missing/"])
def test_what_is_not_there_is_told(store, encode, out, path):
    with pytest.raises(UnreadableInputError, match="missing"):
        encode(store.uri(path), out / "v.npy")
    assert list(out.iterdir()) == []
