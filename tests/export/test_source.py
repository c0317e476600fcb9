"""From a name to a folder: local folders first, then the hub that was chosen."""

import sys

import pytest

from m3e_export import CheckpointError, DependencyMissingError, ExportRequest, export, exporter, quickstart
from m3e_export.checkpoint import source
from m3e_export.checkpoint.source import Origin, fetch, source_name
from m3e_export.errors import OptionError
from m3e_export.hubs import HUB_NAMES, Snapshot


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What the hubs are asked; each has every checkpoint, in ``tmp_path``."""
    calls = []

    class Hub:
        def __init__(self, name):
            self.name = name

        def snapshot(self, hub_id, revision):
            calls.append((self.name, hub_id, revision))
            return Snapshot(tmp_path, revision or "latest")

    monkeypatch.setattr(source, "hub_of", Hub)
    return calls


def test_a_folder_is_itself_and_no_hub_is_asked(tmp_path, asked):
    assert fetch(str(tmp_path), hub="modelscope") == Origin(tmp_path)
    assert asked == []


@pytest.mark.parametrize("hub", HUB_NAMES)
def test_an_id_goes_to_the_hub_that_was_chosen(hub, tmp_path, asked):
    assert fetch("moka-ai/m3e-base", "v1", hub) == Origin(tmp_path, hub, "v1")
    assert fetch("moka-ai/m3e-base", hub=hub).revision == "latest"
    assert asked == [(hub, "moka-ai/m3e-base", "v1"), (hub, "moka-ai/m3e-base", None)]


def test_a_revision_of_a_folder_is_refused(tmp_path):
    with pytest.raises(OptionError, match="--revision v1"):
        fetch(str(tmp_path), "v1")


@pytest.mark.parametrize("name", ["a/b/c", "../nowhere", "has space", "https://example.org/x"])
def test_what_is_neither_folder_nor_id_is_refused_before_a_hub_is_asked(name, asked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError):
        fetch(name)
    assert asked == []


@pytest.mark.parametrize(
    "written", ["model", "model/", "./model", "../here/model//", "{folder}/model/", "~/model"]
)
def test_a_folder_is_called_by_its_name_however_it_is_written(written, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    (folder / "model").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    written = written.format(folder=folder)
    assert source_name(written, fetch(written).folder) == "model"


def test_what_is_fetched_is_called_by_its_id(tmp_path):
    assert source_name("moka-ai/m3e-base", tmp_path / "snapshot") == "moka-ai/m3e-base"


@pytest.mark.parametrize(
    ("hub", "package", "extra"),
    [
        ("huggingface", "huggingface_hub", r"m3e-runtime\[export\]"),
        ("modelscope", "modelscope_hub", r"m3e-runtime\[export,modelscope\]"),
    ],
)
def test_a_hub_without_its_client_says_what_to_install(hub, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyMissingError, match=extra):
        fetch("moka-ai/m3e-base", hub=hub)


def test_an_unknown_hub_is_refused(tmp_path):
    with pytest.raises(OptionError, match="--hub elsewhere: choose from huggingface, modelscope"):
        export(ExportRequest("moka-ai/m3e-base", tmp_path / "bundle", hub="elsewhere"))


def test_quickstart_exports_from_the_hub_that_was_chosen(monkeypatch, capsys):
    def refuse(request, *_):
        raise CheckpointError(f"{request.checkpoint} on {request.hub}")

    monkeypatch.setattr(exporter, "export", refuse)
    assert quickstart.main(["owner/name", "--hub", "modelscope"]) == CheckpointError.exit_code
    assert "owner/name on modelscope" in capsys.readouterr().err
