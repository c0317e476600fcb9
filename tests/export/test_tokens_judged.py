"""Where transformers is installed, it judges the tokens before any vector is judged."""

from __future__ import annotations

import shutil

import pytest
from tokenizers import Tokenizer, normalizers

from m3e_export import CheckpointError, ExportRequest, export
from m3e_export.checkpoint import load
from m3e_export.texts import LOOK_ALIKES, built_in
from synthetic import update_json


@pytest.fixture
def misread(monkeypatch):
    """As if a step of the tokenizer had not been understood."""

    def loaded(folder, model_type="bert", lower_case=False):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        return tokenizer

    monkeypatch.setattr(load, "load_tokenizer", loaded)


def test_other_tokens_are_named_as_the_cause(tiny_checkpoint, tmp_path, misread):
    with pytest.raises(
        CheckpointError, match=r"tokens differ .* from token \d+ on of .* here, .* there"
    ) as raised:
        export(ExportRequest(str(tiny_checkpoint), tmp_path / "bundle"))
    assert "higher precision" not in str(raised.value)
    assert not (tmp_path / "bundle").exists()


def test_a_users_texts_are_not_quoted(tiny_checkpoint, tmp_path, misread, monkeypatch):
    monkeypatch.setattr("m3e_export.oracle.tokens.LOOK_ALIKES", ())
    texts = tmp_path / "gate.txt"
    texts.write_text("\n".join(f"SECRET {number}" for number in range(30)), encoding="utf-8")
    with pytest.raises(CheckpointError, match="tokens differ") as raised:
        export(ExportRequest(str(tiny_checkpoint), tmp_path / "bundle", gate=str(texts)))
    assert "secret" not in str(raised.value).lower()


def test_the_numpy_oracle_takes_the_tokenizer_as_it_was_read(tiny_checkpoint, tmp_path, misread):
    export(ExportRequest(str(tiny_checkpoint), tmp_path / "bundle", oracle="numpy"))


def test_settings_of_the_tokenizer_reach_the_bundle(tiny_checkpoint, tmp_path):
    """A lower-casing that only tokenizer_config.json asks for, which the file contradicts."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    update_json(folder / "tokenizer_config.json", do_lower_case=True)
    bundle = export(ExportRequest(str(folder), tmp_path / "bundle"))
    assert bundle.manifest.artifacts[0].fidelity.min_cosine > 0.99999


def test_look_alikes_are_none_of_the_gates_texts():
    assert not set(LOOK_ALIKES) & set(built_in("gate"))
