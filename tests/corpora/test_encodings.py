"""Texts in other encodings than UTF-8, however the files are cut."""

import json

import numpy as np
import pytest

from corpus_files import read_json_lines, write_parquet
from m3e_corpora.errors import ResumeError
from m3e_runtime.errors import InvalidTextError, OptionError

# Second bytes among ASCII (0x5C, 0x7C, digits) and characters of four bytes.
TEXTS = ["你好，世界", "丂乗亅乗|\\", 'a "b" 誠 c', "龥㐀𠀀€", "", "最后"]


def content(kind, texts):
    if kind == "jsonl":
        return "".join(json.dumps({"正文": text}, ensure_ascii=False) + "\n" for text in texts)
    if kind == "csv":
        return "正文\n" + "".join('"' + text.replace('"', '""') + '"\n' for text in texts)
    return "".join(f"{text}\n" for text in texts)


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("partition_bytes", [1, 3, 7, 1 << 20])
@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv"])
def test_gb18030_is_read_however_it_is_cut(encode, encoder, tmp_path, out, kind, partition_bytes, bom):
    file = tmp_path / f"in.{kind}"
    file.write_bytes((bom + content(kind, TEXTS)).encode("gb18030"))
    field = None if kind == "txt" else "正文"
    encode(file, out / "v.jsonl", encoding="GB18030", field=field, partition_bytes=partition_bytes)
    assert [row[field or "text"] for row in read_json_lines(out / "v.jsonl")] == TEXTS
    encode(file, out / "v.npy", encoding="gb18030", field=field, partition_bytes=partition_bytes)
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(TEXTS))


def test_no_character_of_gb18030_holds_what_ends_a_line_or_a_field():
    characters = [chr(code) for code in range(0x80, 0x110000) if not 0xD800 <= code < 0xE000]
    assert not set("".join(characters).encode("gb18030")) & set(b'\n\r",\t')


@pytest.mark.parametrize("name", ["gbk", "gb2312", "big5", "shift_jis", "euc_kr", "cp1252", "utf-8-sig"])
def test_supersets_of_ascii_are_taken(encode, tmp_path, out, name):
    texts = {"big5": ["繁體"], "shift_jis": ["表ソ"], "euc_kr": ["한국"], "cp1252": ["é€"]}.get(
        name, ["中文"]
    )
    (tmp_path / "in.txt").write_bytes("\n".join([*texts, "a"]).encode(name))
    encode(tmp_path / "in.txt", out / "v.jsonl", encoding=name)
    assert [row["text"] for row in read_json_lines(out / "v.jsonl")] == [*texts, "a"]


@pytest.mark.parametrize(
    "name",
    [
        *("utf-16", "utf-16-le", "utf-32", "utf-7", "hz", "cp037", "idna", "punycode", "unicode_escape"),
        "base64",
    ],
)
def test_encodings_without_lines_of_bytes_are_refused(encode, tmp_path, out, name):
    (tmp_path / "in.txt").write_text("a")
    with pytest.raises(OptionError, match=f"--encoding {name}: not a superset of ASCII"):
        encode(tmp_path / "in.txt", out / "v.npy", encoding=name)
    with pytest.raises(OptionError, match="--encoding nope: unknown"):
        encode(tmp_path / "in.txt", out / "v.npy", encoding="nope")


def test_parquet_has_no_encoding_to_name(encode, tmp_path, out):
    file = write_parquet(tmp_path / "in.parquet", {"text": ["a"]})
    with pytest.raises(OptionError, match="--encoding is for text, CSV and JSON Lines"):
        encode(file, out / "v.npy", encoding="gb18030")


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv"])
def test_a_character_that_breaks_off_at_a_lines_end_spoils_one_row(encode, tmp_path, out, kind):
    lines = content(kind, ["你", "X", "好"]).encode("gb18030").split(b"\n")
    lines = [
        line.replace(b"X", b"\x810") if kind != "csv" else line.replace(b'"X"', b"\x810") for line in lines
    ]
    (tmp_path / f"in.{kind}").write_bytes(b"\n".join(lines))
    field = None if kind == "txt" else "正文"
    options = {"encoding": "gb18030", "field": field}
    encode(tmp_path / f"in.{kind}", out / "v.jsonl", on_error="skip", **options)
    assert [row[field or "text"] for row in read_json_lines(out / "v.jsonl")] == ["你", "好"]
    place = "line 3" if kind == "csv" else "line 2"
    with pytest.raises(InvalidTextError, match=f"{place}: not GB18030 .*--on-error skip"):
        encode(tmp_path / f"in.{kind}", out / "w.jsonl", **options)


def test_a_job_goes_on_in_its_encoding_only(encode, tmp_path, out):
    (tmp_path / "in.txt").write_bytes("\n".join(TEXTS).encode("gb18030"))
    encode(tmp_path / "in.txt", f"{out}/v/", encoding="gb18030", partition_bytes=20)
    assert (
        json.loads((out / "v" / "_m3e" / "job.json").read_text())["job"]["columns"]["encoding"] == "gb18030"
    )
    assert encode(tmp_path / "in.txt", f"{out}/v/", encoding="GB18030", resume=True).texts == len(TEXTS)
    with pytest.raises(ResumeError, match="encoding was 'gb18030' and is 'utf-8'"):
        encode(tmp_path / "in.txt", f"{out}/v/", resume=True)


def test_the_message_of_an_undecodable_line_names_the_option(encode, tmp_path, out):
    (tmp_path / "in.txt").write_bytes("中文".encode("gbk"))
    with pytest.raises(InvalidTextError, match=r"in\.txt, line 1: not UTF-8 .*--encoding gb18030"):
        encode(tmp_path / "in.txt", out / "v.npy")
