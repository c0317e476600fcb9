"""Damaged and malicious checkpoints: a typed error, exit code 4, and nothing left behind."""

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from m3e_export import CheckpointError, ExportRequest, UnsupportedModelError, UntrustedCheckpointError, export
from m3e_export.cli import main
from synthetic import TINY, make_checkpoint, modules_of, read_json, rewrite_tensors, update_json, write_json

WORDS = "embeddings.word_embeddings.weight"
QUERY = "encoder__layer__0__attention__self__query__weight"
TYPES = "embeddings__token_type_embeddings__weight"


def safetensors(header, data=b""):
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def weights(content):
    return lambda folder: (folder / "model.safetensors").write_bytes(content)


def cut(share):
    def change(folder):
        file = folder / "model.safetensors"
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return change


def text(name, content):
    def change(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def config(**changes):
    return lambda folder: update_json(folder / "config.json", **changes)


def file_json(name, content):
    return lambda folder: write_json(folder / name, content)


def tensors(**changes):
    return lambda folder: rewrite_tensors(folder, **changes)


def without(name):
    return lambda folder: (folder / name).unlink()


def shards(content):
    def change(folder):
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        write_json(folder / "model.safetensors.index.json", content)

    return change


def module(**changes):
    def change(folder):
        modules = modules_of("Transformer", "Pooling")
        modules[1].update(changes)
        write_json(folder / "modules.json", modules)

    return change


def extra_token(folder):
    content = read_json(folder / "tokenizer.json")
    token = {**content["added_tokens"][0], "id": TINY["vocab_size"], "content": "[NEW]"}
    content["added_tokens"].append(token)
    write_json(folder / "tokenizer.json", content)


def linked_out(folder):
    outside = folder.parent / "outside"
    outside.mkdir()
    (folder / "1_Pooling" / "config.json").rename(outside / "config.json")
    (folder / "1_Pooling").rmdir()
    (folder / "1_Pooling").symlink_to(outside)


def array(*shape, value=0.5):
    return np.full(shape, value, np.float32)


DEEP = "[" * 100_000 + "]" * 100_000

DAMAGED = {
    "weights cut in half": cut(0.5),
    "weights without their last byte": cut(0.9999999),
    "weights of no bytes": cut(0),
    "a header only": weights(
        safetensors({WORDS: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}})
    ),
    "a header longer than the file": weights(struct.pack("<Q", 1 << 62) + b"{}"),
    "a header that is not JSON": weights(safetensors(b"not json at all")),
    "a header that is a list": weights(safetensors([])),
    "overlapping tensors": weights(
        safetensors(
            {
                "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                WORDS: {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            },
            bytes(12),
        )
    ),
    "offsets beyond the file": weights(
        safetensors({WORDS: {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 1 << 22]}}, bytes(64))
    ),
    "offsets backwards": weights(
        safetensors({WORDS: {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}}, bytes(8))
    ),
    "a huge shape over few bytes": weights(
        safetensors(
            {WORDS: {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 16]}}, bytes(16)
        )
    ),
    "no tensors": weights(safetensors({})),
    "weights of integers": tensors(**{QUERY: np.zeros((64, 64), np.int64)}),
    "NaN weights": tensors(**{QUERY: array(64, 64, value=np.nan)}),
    "infinite weights": tensors(**{QUERY: array(64, 64, value=np.inf)}),
    "a tensor of another shape": tensors(**{QUERY: array(64, 65)}),
    "a tensor of fewer dimensions": tensors(**{QUERY: array(64)}),
    "a missing tensor": tensors(**{QUERY: None}),
    "no word embeddings": tensors(embeddings__word_embeddings__weight=None),
    "two word embeddings": tensors(other__embeddings__word_embeddings__weight=array(2000, 64)),
    "token types without rows": tensors(**{TYPES: array(0, 64)}),
    "a scalar for token types": tensors(**{TYPES: np.float32(1).reshape(())}),
    "no weights": without("model.safetensors"),
    "an index that is a list": shards([]),
    "an index without a map": shards({}),
    "an index of numbers": shards({"weight_map": {WORDS: 5}}),
    "a shard that is missing": shards({"weight_map": {WORDS: "model-00001-of-00001.safetensors"}}),
    "a shard of another kind": shards({"weight_map": {WORDS: "config.json"}}),
    "config.json missing": without("config.json"),
    "config.json not JSON": text("config.json", "{not json"),
    "config.json not UTF-8": text("config.json", b"\xff\xfe{}"),
    "config.json a list": text("config.json", "[]"),
    "config.json nested 100 000 deep": text("config.json", DEEP),
    "hidden_size huge": config(hidden_size=1 << 40),
    "layers huge": config(num_hidden_layers=10**9),
    "layers more than there are": config(num_hidden_layers=1000),
    "vocabulary huge": config(vocab_size=10**12),
    "positions huge": config(max_position_embeddings=10**12),
    "heads zero": config(num_attention_heads=0),
    "heads that do not divide": config(num_attention_heads=7),
    "heads a string": config(num_attention_heads="4"),
    "layers negative": config(num_hidden_layers=-2),
    "layers a fraction": config(num_hidden_layers=2.5),
    "epsilon a word": config(layer_norm_eps="small"),
    "epsilon null": config(layer_norm_eps=None),
    "epsilon NaN": config(layer_norm_eps=float("nan")),
    "epsilon negative": config(layer_norm_eps=-1.0),
    "padding id a word": config(pad_token_id="zero"),
    "padding id a list": config(pad_token_id=[0]),
    "an activation that is a list": config(hidden_act=["gelu"]),
    "modules.json not a list": text("modules.json", "{}"),
    "modules.json of strings": text("modules.json", '["Transformer"]'),
    "modules.json nested 100 000 deep": text("modules.json", DEEP),
    "pooling folder missing": module(path="nowhere"),
    "pooling a number": file_json("1_Pooling/config.json", {"pooling_mode": 5}),
    "pooling a nested list": file_json("1_Pooling/config.json", {"pooling_mode": [["mean"]]}),
    "prompts a list": file_json("config_sentence_transformers.json", {"prompts": ["a"]}),
    "prompts of numbers": file_json("config_sentence_transformers.json", {"prompts": {"query": 5}}),
    "a default prompt that is absent": file_json(
        "config_sentence_transformers.json", {"default_prompt_name": "query"}
    ),
    "a default prompt that is a list": file_json(
        "config_sentence_transformers.json", {"prompts": {"q": ""}, "default_prompt_name": ["q"]}
    ),
    "a similarity that is a list": file_json(
        "config_sentence_transformers.json", {"similarity_fn_name": ["cosine"]}
    ),
    "longest input a word": file_json("sentence_bert_config.json", {"max_seq_length": "long"}),
    "longest input zero": file_json("sentence_bert_config.json", {"max_seq_length": 0}),
    "longest input negative": file_json("sentence_bert_config.json", {"max_seq_length": -5}),
    "no tokenizer": without("tokenizer.json"),
    "tokenizer.json not JSON": text("tokenizer.json", "{"),
    "tokenizer.json a list": text("tokenizer.json", "[]"),
    "tokenizer.json nested 100 000 deep": text("tokenizer.json", DEEP),
    "tokenizer.json without a model": text("tokenizer.json", "{}"),
    "tokenizer_config.json a list": text("tokenizer_config.json", "[]"),
    "tokenizer ids beyond the vocabulary": extra_token,
    "fewer embeddings than tokens": lambda folder: (
        update_json(folder / "config.json", vocab_size=1000),
        rewrite_tensors(folder, embeddings__word_embeddings__weight=array(1000, 64)),
    ),
}

UNTRUSTED = {
    "a shard above": shards({"weight_map": {WORDS: "../outside.safetensors"}}),
    "a shard in a folder": shards({"weight_map": {WORDS: "folder/model.safetensors"}}),
    "an absolute shard": shards({"weight_map": {WORDS: "/outside.safetensors"}}),
    "a shard above, for Windows": shards({"weight_map": {WORDS: "..\\outside.safetensors"}}),
    "a module path above": module(path="../outside"),
    "a deep module path above": module(path="1_Pooling/../../outside"),
    "an absolute module path": module(path="/etc"),
    "a module that is a link out": linked_out,
}

CUSTOM = {
    "a module of another package": module(type="evil.modules.Pooling"),
    "a module of the folder itself": module(type="modeling_custom.Pooling"),
    "a package with a similar name": module(type="sentence_transformers_evil.Pooling"),
    "a module without a type": module(type=""),
}


@pytest.fixture
def refused(tmp_path, capsys):
    """Export a checkpoint by function and by command; the error's type, exit 4, nothing left."""
    out = tmp_path / "out"
    out.mkdir()
    gate = tmp_path / "gate.txt"
    gate.write_text("\n".join(f"text {number}" for number in range(20)))

    def check(checkpoint, error=CheckpointError):
        with pytest.raises(error) as raised:
            export(ExportRequest(str(checkpoint), out / "bundle", gate=str(gate)))
        assert os.listdir(out) == []
        capsys.readouterr()
        assert main([str(checkpoint), "-o", str(out / "bundle"), "--gate", str(gate)]) == 4
        err = capsys.readouterr().err.strip()
        assert err.startswith("m3e-export: ")
        assert "Traceback" not in err
        assert os.listdir(out) == []
        return str(raised.value)

    return check


@pytest.fixture
def checkpoint(tmp_path):
    return make_checkpoint(tmp_path / "model", **TINY)


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_checkpoint_is_a_checkpoint_error(damage, checkpoint, refused):
    damage(checkpoint)
    refused(checkpoint)


@pytest.mark.parametrize("attack", UNTRUSTED.values(), ids=UNTRUSTED.keys())
def test_paths_out_of_the_checkpoint_are_refused(attack, checkpoint, refused):
    attack(checkpoint)
    refused(checkpoint, UntrustedCheckpointError)


@pytest.mark.parametrize("attack", CUSTOM.values(), ids=CUSTOM.keys())
def test_modules_of_custom_code_are_refused(attack, checkpoint, refused):
    attack(checkpoint)
    assert "custom code" in refused(checkpoint, UnsupportedModelError)


class Payload:
    """Runs on unpickling: makes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return (Path.touch, (self.victim,))


def save_raw(content, file):
    file.write_bytes(pickle.dumps(content, protocol=2))


def save_torch(content, file):
    import torch

    torch.save(content, file)


@pytest.mark.parametrize("save", [save_raw, save_torch])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(save, name, checkpoint, tmp_path, refused):
    pytest.importorskip("torch", reason="only torch reads pickles")
    victim = tmp_path / "victim"
    (checkpoint / "model.safetensors").unlink()
    save({WORDS: Payload(victim)}, checkpoint / name)
    if name != "pytorch_model.bin":
        write_json(checkpoint / "pytorch_model.bin.index.json", {"weight_map": {WORDS: name}})
    refused(checkpoint, UntrustedCheckpointError)
    assert not victim.exists()
    pickle.loads(pickle.dumps(Payload(victim)))  # the payload does work where pickles are trusted
    assert victim.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": "no tensor"}, {1: 2}])
def test_a_pickle_that_is_no_state_dict_is_a_checkpoint_error(content, checkpoint, refused):
    torch = pytest.importorskip("torch", reason="only torch reads pickles")
    (checkpoint / "model.safetensors").unlink()
    torch.save(content, checkpoint / "pytorch_model.bin")
    refused(checkpoint)


def test_python_files_in_a_checkpoint_never_run(checkpoint, tmp_path, capsys):
    """What trust_remote_code would import: named by the config, present, and not touched.

    Nor is a model exported whose code may compute something else than BERT.
    """
    victim = tmp_path / "victim"
    for name in ("modeling_custom.py", "tokenization_custom.py", "configuration_custom.py"):
        (checkpoint / name).write_text(f"open({str(victim)!r}, 'w')\nclass Custom: pass\n")
    auto_map = {
        kind: f"{module}_custom.Custom"
        for kind, module in (("AutoModel", "modeling"), ("AutoConfig", "configuration"))
    }
    update_json(checkpoint / "config.json", auto_map=auto_map)
    update_json(
        checkpoint / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "tokenization_custom.Custom"]}
    )
    command = [str(checkpoint), "-o", str(tmp_path / "bundle"), "--gate", "off"]
    assert main(command) == 4
    assert "auto_map: modeling_custom.Custom" in capsys.readouterr().err
    update_json(checkpoint / "config.json", remove=("auto_map",))
    assert main(command) == 0
    assert not victim.exists()
    written = tmp_path / "bundle"
    assert not any("_custom" in file.read_text(errors="replace") for file in written.rglob("*.json"))


# --- what looks like a checkpoint and is none, told by name


POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    b"size 409145437\n"
)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "modules.json"])
def test_a_git_lfs_pointer_says_to_pull(name, checkpoint, refused):
    (checkpoint / name).write_bytes(POINTER)
    message = refused(checkpoint)
    assert name in message
    assert "git lfs pull" in message


def test_a_pickle_that_is_a_git_lfs_pointer_says_to_pull(checkpoint, refused):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(POINTER)
    assert "git lfs pull" in refused(checkpoint)


def test_a_vocabulary_that_is_a_git_lfs_pointer_says_to_pull(checkpoint, refused):
    (checkpoint / "tokenizer.json").unlink()
    (checkpoint / "vocab.txt").write_bytes(POINTER)
    assert "git lfs pull" in refused(checkpoint)


def test_a_graph_that_is_a_git_lfs_pointer_says_to_pull(checkpoint, tmp_path):
    (checkpoint / "model.onnx").write_bytes(POINTER)
    with pytest.raises(CheckpointError, match="git lfs pull"):
        export(ExportRequest(str(checkpoint), tmp_path / "bundle", exporter="given"))


@pytest.mark.parametrize("alone", [True, False])
def test_a_peft_adapter_needs_its_base_and_no_weights_beside_it(alone, checkpoint, refused):
    write_json(
        checkpoint / "adapter_config.json",
        {"peft_type": "LORA", "base_model_name_or_path": "moka-ai/m3e-base"},
    )
    if alone:
        for name in ("config.json", "modules.json", "model.safetensors"):
            (checkpoint / name).unlink()
    assert ("moka-ai/m3e-base" if alone else "adapter_config.json") in refused(checkpoint)


def test_a_trainers_output_folder_names_the_checkpoints_below(tmp_path, refused):
    trainer = tmp_path / "output"
    for name in ("checkpoint-1000", "checkpoint-500", "runs"):
        (trainer / name).mkdir(parents=True)
    write_json(trainer / "checkpoint-500" / "config.json", {})
    write_json(trainer / "checkpoint-1000" / "adapter_config.json", {})
    assert "checkpoint-500, checkpoint-1000." in refused(trainer)


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.int8, "I8"), (np.uint8, "U8"), (np.int16, "I16"), (np.int64, "I64")]
)
def test_weights_of_a_dtype_that_is_not_read_are_refused_by_name(dtype, name, checkpoint, refused):
    rewrite_tensors(checkpoint, **{QUERY: np.zeros((64, 64), dtype)})
    message = refused(checkpoint, UnsupportedModelError)
    assert f"{QUERY.replace('__', '.')} has dtype {name}" in message


def test_weights_in_8_bit_floats_are_refused_by_name(checkpoint, refused):
    header = {WORDS: {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]}}
    (checkpoint / "model.safetensors").write_bytes(safetensors(header, bytes(4)))
    message = refused(checkpoint)
    assert WORDS in message
    assert "F8_E4M3" in message


def test_a_pickle_of_a_dtype_that_is_not_read_is_refused_by_name(checkpoint, refused):
    torch = pytest.importorskip("torch", reason="only torch reads pickles")
    (checkpoint / "model.safetensors").unlink()
    state = {WORDS: torch.zeros(2, 2).to(torch.float8_e4m3fn)}
    torch.save(state, checkpoint / "pytorch_model.bin")
    assert f"{WORDS} has dtype torch.float8_e4m3fn" in refused(checkpoint, UnsupportedModelError)


def test_buffers_of_integers_are_left_out(checkpoint, tmp_path):
    rewrite_tensors(
        checkpoint,
        embeddings__position_ids=np.arange(512),
        embeddings__token_type_ids=np.zeros((1, 512), np.int64),
        some__mask=np.ones(3, np.bool_),
    )
    assert export(ExportRequest(str(checkpoint), tmp_path / "bundle", gate="off")).manifest.dimension == 64


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq"])
def test_quantized_weights_are_refused_by_their_method(method, checkpoint, refused):
    update_json(checkpoint / "config.json", quantization_config={"quant_method": method, "bits": 4})
    message = refused(checkpoint, UnsupportedModelError)
    assert "quantization_config" in message
    assert method in message


def test_weights_of_another_framework_are_named(checkpoint, refused):
    (checkpoint / "model.safetensors").rename(checkpoint / "tf_model.h5")
    assert "tf_model.h5" in refused(checkpoint)


@pytest.mark.parametrize("oracle", ["numpy", "torch"])
def test_json_with_a_byte_order_mark_is_read(oracle, checkpoint, tmp_path):
    """By the original libraries, too, which are given a copy without the mark."""
    if oracle == "torch":
        pytest.importorskip("sentence_transformers")
    files = list(checkpoint.rglob("*.json"))
    assert len(files) >= 4
    for file in files:
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    gate = tmp_path / "gate.txt"
    gate.write_text("\ufeff" + "\n".join(f"text {number}" for number in range(20)), encoding="utf-8")
    request = ExportRequest(str(checkpoint), tmp_path / "bundle", gate=str(gate), oracle=oracle)
    bundle = export(request)
    assert bundle.manifest.golden.texts[0] == "text 0"
