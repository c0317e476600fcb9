"""From a name to a folder: local folders first, then the hub, of which only data files are asked for."""

import sys
import types

import pytest

from m3e_export import CheckpointError, DependencyMissingError
from m3e_export.checkpoint.source import fetch, source_name


class Hub:
    """Stands for huggingface_hub: serves ``folder`` for the one id it knows."""

    def __init__(self, folder, files):
        self.folder, self.files, self.asked = folder, files, []

    def module(self):
        module = types.ModuleType("huggingface_hub")
        module.HfApi = lambda: types.SimpleNamespace(list_repo_files=self.list_repo_files)
        module.snapshot_download = self.snapshot_download
        return module

    def list_repo_files(self, hub_id, revision=None):
        if hub_id != "moka-ai/m3e-base":
            raise OSError("404 not found")
        return self.files

    def snapshot_download(self, hub_id, revision=None, **options):
        self.asked.append({"hub_id": hub_id, "revision": revision, **options})
        if hub_id != "moka-ai/m3e-base":
            raise OSError("not cached")
        return str(self.folder)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path, ["config.json", "model.safetensors", "pytorch_model.bin", "modeling_evil.py"])
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub.module())
    return hub


def test_a_folder_is_itself_and_the_hub_is_not_asked(tmp_path, hub):
    assert fetch(str(tmp_path)) == tmp_path
    assert hub.asked == []


def test_an_id_is_fetched_without_code_and_without_a_pickle_beside_safetensors(tmp_path, hub):
    assert fetch("moka-ai/m3e-base", revision="abc") == tmp_path
    (asked,) = hub.asked
    assert asked["revision"] == "abc"
    assert not any(pattern.endswith((".py", ".bin", "*")) for pattern in asked["allow_patterns"])


def test_a_pickle_is_fetched_where_there_is_nothing_else(hub):
    hub.files = ["config.json", "pytorch_model.bin"]
    fetch("moka-ai/m3e-base")
    assert "pytorch_model*.bin" in hub.asked[0]["allow_patterns"]


def test_a_hub_that_cannot_be_reached_gives_what_the_cache_has(tmp_path, hub, monkeypatch):
    def offline(hub_id, revision=None):
        raise OSError("no network")

    monkeypatch.setattr(hub, "list_repo_files", offline)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub.module())
    assert fetch("moka-ai/m3e-base") == tmp_path
    assert hub.asked[-1]["local_files_only"]


def test_an_unknown_id_says_so(hub):
    with pytest.raises(CheckpointError, match=r"nobody/nothing.*404"):
        fetch("nobody/nothing")


@pytest.mark.parametrize("name", ["a/b/c", "../nowhere", "has space", "https://example.org/x"])
def test_what_is_neither_folder_nor_id_is_refused_before_the_hub_is_asked(name, hub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError):
        fetch(name)
    assert hub.asked == []


def test_an_id_without_huggingface_hub_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DependencyMissingError, match=r"m3e-runtime\[export\]"):
        fetch("moka-ai/m3e-base")


@pytest.mark.parametrize(
    "written", ["model", "model/", "./model", "../here/model//", "{folder}/model/", "~/model"]
)
def test_a_folder_is_called_by_its_name_however_it_is_written(written, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    (folder / "model").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    written = written.format(folder=folder)
    assert source_name(written, fetch(written)) == "model"


def test_what_is_fetched_is_called_by_its_id(tmp_path):
    assert source_name("moka-ai/m3e-base", tmp_path / "snapshot") == "moka-ai/m3e-base"
