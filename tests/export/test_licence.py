"""The licence line: by hub id, card and config, never by what else stands in a path."""

import pytest

from m3e_export.checkpoint.licence import licence_of

UNKNOWN = "unknown: see the checkpoint"


def card(front):
    return f"---\n{front}\n---\n# A model\nBetter than moka-ai/m3e-base.\n"


@pytest.mark.parametrize("path", ["m3e/bge", "home/m3e/models/bge-small-zh", "my-m3e-comparison", "tiny-m3e"])
def test_a_path_that_contains_m3e_says_nothing(path, tmp_path):
    folder = tmp_path / path
    folder.mkdir(parents=True)
    assert licence_of(folder, str(folder), {"_name_or_path": str(folder)}) == UNKNOWN


def test_a_card_wins_over_the_path(tmp_path):
    folder = tmp_path / "m3e" / "bge"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(card("license: mit"))
    assert licence_of(folder, str(folder), {}).startswith("mit (")


@pytest.mark.parametrize("source", ["moka-ai/m3e-base", "moka-ai/m3e-small", "Moka-AI/M3E-Large"])
def test_m3e_by_its_hub_id(source, tmp_path):
    assert "research use only" in licence_of(tmp_path, source, {})


def test_m3e_by_its_name_under_another_owner(tmp_path):
    assert "research use only" in licence_of(tmp_path, "somebody/m3e-base", {})
    (tmp_path / "README.md").write_text(card("license: mit"))
    assert licence_of(tmp_path, "somebody/m3e-base", {}).startswith("mit (")


@pytest.mark.parametrize(
    "folder",
    ["m3e-base", "models--moka-ai--m3e-base/snapshots/abc", "models/moka-ai--m3e-base/snapshots/master"],
)
def test_m3e_by_the_folder_of_a_clone_or_of_the_cache(folder, tmp_path):
    (tmp_path / folder).mkdir(parents=True)
    assert "research use only" in licence_of(tmp_path / folder, str(tmp_path / folder), {})


def test_m3e_by_the_config(tmp_path):
    assert "research use only" in licence_of(tmp_path, "x", {"_name_or_path": "moka-ai/m3e-base"})


@pytest.mark.parametrize(
    "front", ["base_model: moka-ai/m3e-base", "license: mit\nbase_model:\n- moka-ai/m3e-base\ntags: [a]"]
)
def test_m3e_by_the_base_model_of_the_card(front, tmp_path):
    (tmp_path / "README.md").write_text(card(front))
    assert "research use only" in licence_of(tmp_path, "x", {})


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ('language: zh\nlicense: "cc-by-nc-4.0"', "cc-by-nc-4.0"),
        ("license:\n- mit\nlanguage: zh", "mit"),
    ],
)
@pytest.mark.parametrize("written", ["plain", "crlf", "mark"])
def test_the_licence_of_the_card(front, licence, written, tmp_path):
    text = card(front)
    text = text.replace("\n", "\r\n") if written == "crlf" else text
    (tmp_path / "README.md").write_bytes((b"\xef\xbb\xbf" if written == "mark" else b"") + text.encode())
    assert licence_of(tmp_path, "x", {}) == f"{licence} (as the checkpoint's model card says)"


def test_the_licence_of_the_config(tmp_path):
    assert licence_of(tmp_path, "x", {"license": "mit"}).startswith("mit (")


@pytest.mark.parametrize("text", ["", "no front matter", "---\nlanguage: zh\n---\n", "---\nlicense:\n---\n"])
def test_a_card_without_a_licence_leaves_it_unknown(text, tmp_path):
    (tmp_path / "README.md").write_text(text)
    assert licence_of(tmp_path, "x", {}) == UNKNOWN
