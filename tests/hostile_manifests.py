"""Changes to a manifest that every reader refuses."""

from __future__ import annotations

__all__ = ["CHANGES", "put"]


def drop(*path):
    def change(manifest):
        for key in path[:-1]:
            manifest = manifest[key]
        del manifest[path[-1]]

    return change


def put(*path_and_value):
    *path, value = path_and_value

    def change(manifest):
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = value

    return change


CHANGES = {
    **{
        f"without {key}": drop(key) for key in ("dimension", "artifacts", "tokenization", "golden", "pooling")
    },
    "without a file's hash": drop("tokenization", "file", "sha256"),
    "without fidelity": drop("artifacts", 0, "fidelity"),
    "an unknown field": put("surprise", 1),
    "an unknown field in an artifact": put("artifacts", 0, "command", "rm"),
    "an unknown field in a file": put("tokenization", "file", "url", "http://localhost"),
    "dimension a string": put("dimension", "64"),
    "dimension a fraction": put("dimension", 64.5),
    "dimension zero": put("dimension", 0),
    "dimension negative": put("dimension", -64),
    "dimension huge": put("dimension", 1 << 62),
    "dimension beyond 64 bits": put("dimension", 1 << 80),
    "max_length zero": put("tokenization", "max_length", 0),
    "max_length huge": put("tokenization", "max_length", 1 << 40),
    "pooling no name": put("pooling", 3),
    "similarity unknown": put("similarity", "jaccard"),
    "format unknown": put("artifacts", 0, "format", "pickle"),
    "dialect unknown": put("artifacts", 0, "dialect", "python"),
    "precision unknown": put("artifacts", 0, "precision", "int4"),
    "no artifacts": put("artifacts", []),
    "an artifact without files": put("artifacts", 0, "files", []),
    "an engine without its graph": lambda manifest: manifest["artifacts"][0].update(
        format="tensorrt", files=manifest["artifacts"][0]["files"][:1]
    ),
    "artifacts null": put("artifacts", None),
    "include_prompt a word": put("include_prompt", "no"),
    "truncate_dim of nothing": put("truncate_dim", 0),
    "truncate_dim beyond the vectors": put("truncate_dim", 10**6),
    "route without tasks": put("route", {"name": "query"}),
    "prompts of numbers": put("prompts", {"query": 5}),
    "default prompt absent": put("default_prompt_name", "query"),
    "golden vectors too short": lambda manifest: put("golden", "vectors", manifest["golden"]["vectors"][:-8])(
        manifest
    ),
    "golden vectors not base64": put("golden", "vectors", "***"),
    "golden vectors not whole floats": put("golden", "vectors", "AAA="),
    "golden vectors empty": put("golden", "vectors", ""),
    "golden texts fewer": lambda manifest: manifest["golden"]["texts"].pop(),
}
