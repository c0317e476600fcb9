"""Whole downloads from both hubs, through their own client libraries, and exports from them.

The hubs are stand-ins on loopback with the routes that the clients ask for (hub_servers.py): the real hubs
are never asked. Each command runs in a process of its own, since huggingface-hub reads its environment when
it is imported.
"""

import importlib
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import hub_servers
from commands import COMMANDS
from hub_servers import COMMIT, GATED, KNOWN, TOKEN, Repository
from m3e_runtime import Encoder
from m3e_runtime.bundle import Bundle

WANTED = {
    "1_Pooling/config.json",
    "config.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
# Clients wait between their tries; the tests do not.
_EXPORT = """
import sys, time
time.sleep = lambda _: None
from m3e_export.cli import main
sys.exit(main(sys.argv[1:]))
"""
_FETCH = """
import json, os, sys, time
time.sleep = lambda _: None
from m3e_export.checkpoint.source import fetch
told, hub = [], sys.argv[1]
if hub == "modelscope":
    import modelscope_hub
for hub_id, revision, token in json.loads(sys.argv[2]):
    if hub == "modelscope":
        modelscope_hub.set_default_config(None)  # it keeps the token that it found first
    os.environ.pop(sys.argv[3], None)
    if token:
        os.environ[sys.argv[3]] = token
    try:
        found = fetch(hub_id, revision, hub)
        told.append(["found", found.revision])
    except Exception as error:
        told.append([type(error).__name__, str(error)])
print(json.dumps(told))
"""
_FETCH_BASE = """
import pathlib, sys
from m3e_export.checkpoint.adapter import fetch_base
fetch_base(pathlib.Path(sys.argv[1]), sys.argv[2])
"""


@dataclass
class Hub:
    """A running stand-in, and how a process is sent to it."""

    name: str
    repository: Repository
    address: str
    cache: Path

    @property
    def environment(self):
        addresses = {"HF_ENDPOINT": self.address, "MODELSCOPE_ENDPOINT": self.address}
        folders = {"HF_HOME": "cache", "MODELSCOPE_CACHE": "cache", "MODELSCOPE_HOME": "home"}
        places = {name: str(self.cache / folder) for name, folder in folders.items()}
        once = {"MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "1"}
        return hub_servers.clean_environment() | addresses | places | once

    def run(self, script, *arguments, **variables):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        environment = {**self.environment, **variables}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    def export(self, out, *options, hub_id=KNOWN, **variables):
        fast = ["--gate", "off", "--oracle", "numpy", "--target", "portable", "--json"]
        return self.run(_EXPORT, hub_id, "-o", out, "--hub", self.name, *fast, *options, **variables)

    def fetch(self, *cases, **variables):
        """What becomes of each (id, revision, token): its error's name and message, or its revision."""
        token = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}[self.name]
        said = self.run(_FETCH, self.name, json.dumps(cases), token, **variables)
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout)


@pytest.fixture(params=["huggingface", "modelscope"])
def hub(request, tiny_checkpoint, tmp_path):
    if request.param == "modelscope" and importlib.util.find_spec("modelscope_hub") is None:
        pytest.skip("modelscope-hub is not installed (the extra `modelscope`)")
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "repository")
    for name in ("modeling_evil.py", "pytorch_model.bin", "onnx/config.json", "1_Pooling/evil.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise SystemExit('code was run')")
    handler, branch = {
        "huggingface": (hub_servers.HuggingFaceServer, "main"),
        "modelscope": (hub_servers.ModelScopeServer, "master"),
    }[request.param]
    repository = Repository(folder, branch)
    with hub_servers.serve(handler, repository) as address:
        yield Hub(request.param, repository, address, tmp_path / "clients")


@pytest.fixture
def closed():
    """An address where nobody listens."""
    with socket.socket() as held:  # bound and not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_an_export_takes_the_files_that_it_needs_from_the_address_that_is_set(hub, out):
    said = hub.export(out / "bundle")
    assert said.returncode == 0, said.stderr
    assert hub.repository.downloaded() == WANTED
    told, source = json.loads(said.stdout), Bundle.open(out / "bundle").manifest.source
    revision = {"huggingface": COMMIT, "modelscope": "master"}[hub.name]
    assert (told["source"], told["hub"], told["revision"]) == (KNOWN, hub.name, revision)
    assert (source.id, source.hub, source.revision) == (KNOWN, hub.name, revision)
    assert Encoder.load(out / "bundle").encode("今天天气很好").shape == (64,)


def test_what_the_cache_has_is_used_while_the_hub_cannot_be_reached_and_this_is_told(hub, out, closed):
    assert hub.fetch((KNOWN, None, None))[0][0] == "found"
    hub.repository.asked.clear()
    hub.address = closed
    said = hub.export(out / "bundle")
    assert said.returncode == 0, said.stderr
    assert "using the copy in the cache" in said.stderr
    assert closed in said.stderr
    assert "m3e-export: Retrying" not in said.stderr  # the client says it itself
    assert hub.repository.asked == []


def test_what_the_cache_has_is_used_while_the_hub_is_out_of_order(hub, out):
    assert hub.fetch((KNOWN, None, None))[0][0] == "found"
    hub.repository.broken = True
    said = hub.export(out / "bundle")
    assert said.returncode == 0, said.stderr
    assert "using the copy in the cache" in said.stderr


def test_an_unreachable_hub_names_the_ways_out(hub, out, closed):
    hub.address = closed
    said = hub.export(out / "bundle")
    assert said.returncode == 4
    line = said.stderr.splitlines()[-1]
    assert f"({closed}) cannot be reached ([Errno 111] Connection refused)" in line
    ways = {
        "huggingface": ("HF_ENDPOINT=", "--hub modelscope", "local folder"),
        "modelscope": ("MODELSCOPE_ENDPOINT=", "--hub huggingface", "local folder"),
    }[hub.name]
    assert all(way in line for way in ways)
    assert not (out / "bundle").exists()


def test_missing_gated_and_refused_checkpoints_are_told_apart(hub):
    missing, revision, gated, refused, shown = hub.fetch(
        ("owner/other", None, TOKEN),
        (KNOWN, "v9", None),
        (GATED, None, None),
        (KNOWN, None, "wrong"),
        (KNOWN, COMMIT, TOKEN),
    )
    assert missing[0] == "CheckpointNotFoundError"
    assert "owner/other" in missing[1]
    assert revision[0] == "CheckpointNotFoundError"
    assert "'v9'" in revision[1]
    assert gated[0] == refused[0] == "CheckpointAccessError"
    assert "gated" in gated[1]
    assert "TOKEN" in refused[1]
    assert shown == ["found", COMMIT]


def test_a_private_checkpoint_asks_for_a_login_and_with_one_for_the_right_account(hub):
    alone, logged_in = hub.fetch(("owner/private", None, None), ("owner/private", None, TOKEN))
    assert alone[0] == logged_in[0] == "CheckpointNotFoundError"
    assert "TOKEN" in alone[1]
    if hub.name == "huggingface":
        assert "hf auth login" in alone[1]
        assert "account" in logged_in[1]


def test_a_checkpoint_that_has_left_the_hub_is_not_taken_from_the_cache(hub):
    assert hub.fetch((KNOWN, None, None))[0][0] == "found"
    (found,) = hub.fetch((KNOWN, None, "wrong"))
    assert found[0] == "CheckpointAccessError"


def test_pickles_are_taken_where_there_is_nothing_else(hub):
    (hub.repository.folder / "model.safetensors").unlink()
    assert hub.fetch((KNOWN, None, None))[0][0] == "found"
    assert hub.repository.downloaded() == WANTED - {"model.safetensors"} | {"pytorch_model.bin"}


def test_a_file_outside_of_the_repository_is_refused(hub, tmp_path):
    (hub.repository.folder / "a\\..\\..\\b.json").write_text("{}")
    ((error, message),) = hub.fetch((KNOWN, None, None))
    assert error == "UntrustedCheckpointError"
    assert "outside" in message
    assert hub.repository.downloaded() == set()


def test_files_of_an_earlier_state_are_never_taken_for_todays(hub):
    assert hub.fetch((KNOWN, None, None))[0][0] == "found"
    (hub.repository.folder / "model.safetensors").rename(hub.repository.folder / "model-1.safetensors")
    ((found, message),) = hub.fetch((KNOWN, None, None))
    if hub.name == "modelscope":  # which has one folder for a branch
        assert found == "CheckpointError"
        assert "model.safetensors" in message


def test_code_that_came_with_a_checkpoint_is_not_in_the_cache(hub):
    assert hub.fetch((KNOWN, None, None))[0][0] == "found"
    assert list(hub.cache.rglob("*.py")) == []
    assert list(hub.cache.rglob("model.safetensors")) != []


def test_the_base_model_of_an_adapter_comes_from_the_same_hub(hub, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": KNOWN}))
    said = hub.run(_FETCH_BASE, adapter, hub.name)
    assert said.returncode == 0, said.stderr
    assert hub.repository.downloaded() == WANTED


@pytest.mark.parametrize("command", ["m3e-export", "m3e-quickstart", "m3e-eval"])
def test_every_command_that_takes_a_checkpoint_takes_a_hub(command, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(COMMANDS[command]).main(["--help"])
    shown = capsys.readouterr().out
    assert "--hub {huggingface,modelscope}" in shown
    assert "HF_ENDPOINT" in shown
