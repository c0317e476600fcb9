"""Files of one's own: recognized by their columns, refused with a reason. Needs no mteb."""

from __future__ import annotations

import json

import pytest

from m3e_eval import t2ranking
from m3e_eval.errors import DataError
from m3e_eval.local import Judgements, Labelled, Pairs, read_local


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def run(name, content):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return file

    return run


def test_kinds_are_recognized_by_their_columns(data):
    similarity = read_local(data / "similarity.jsonl")
    pairs = read_local(data / "pairs.csv")
    assert isinstance(similarity, Pairs)
    assert similarity.graded
    assert max(similarity.values) == 5
    assert isinstance(pairs, Pairs)
    assert not pairs.graded
    assert set(pairs.values) == {0, 1}
    judged = read_local(data / "retrieval.tsv")
    assert isinstance(judged, Judgements)
    assert {2, 1, 0} == set(judged.relevant["q0"].values())
    labelled = read_local(data / "topics.jsonl")
    assert isinstance(labelled, Labelled)
    assert labelled.split == "test"
    assert set(labelled.train[1]) == {0, 1, 2, 3}


def test_equal_passages_are_one_and_unanswerable_queries_go(write):
    lines = ["query\tpassage\trelevance", "a\tsame\t2", "b\tsame\t0", 'b\tanother "one\t0', "c\tsame\t1"]
    found = read_local(write("x.tsv", "\n".join(lines)))
    assert list(found.passages.values()) == ["same", 'another "one']
    assert set(found.queries.values()) == {"a", "c"}


def test_byte_order_mark_crlf_aliases_and_blank_lines(write):
    content = '\ufeffsentence1,sentence2,score\r\n你好,您好,5\r\n\r\na,b,1\r\n"c, c",d,0.5\r\n'
    found = read_local(write("x.csv", content))
    assert found.first == ["你好", "a", "c, c"]
    assert found.values == [5, 1, 0.5]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("x.txt", "a", "ends in .txt"),
        ("x.jsonl", "", "no rows"),
        ("x.csv", "text1,text2,score\n", "no rows"),
        ("x.csv", "a,b\n1,2\n", r"columns \(a, b\) fit no kind"),
        ("x.csv", "text1,text2,score,label\na,b,1,1\n", "more than one kind"),
        ("x.csv", "text1,text2,score\na,b\n", "line 2: 2 fields, but the first line has 3"),
        ("x.csv", "text1,text2,score\na,b,high\n", "line 2: score is 'high'; a number"),
        ("x.csv", "text1,text2,score\na,b,nan\n", "line 2: score is 'nan'; a number"),
        ("x.csv", "text1,text2,score\na,b,1\na,b,1\na,b,1\n", "different values"),
        ("x.csv", "text1,text2,score\na,b,1\na,b,2\n", "at least 3 pairs"),
        ("x.csv", "text1,text2,score\na, ,1\na,b,2\na,c,3\n", "line 2: text2 is ' '"),
        ("x.csv", "text1,text2,label\na,b,2\n", "label is 2; it must be 0 or 1"),
        ("x.tsv", "query\tpassage\trelevance\nq\tp\t0.5\n", "relevance is 0.5; an integer"),
        ("x.tsv", "query\tpassage\trelevance\nq\tp\t-1\n", "relevance is -1; an integer"),
        ("x.tsv", "query\tpassage\trelevance\nq\tp\t0\n", "no query has a passage with a relevance above 0"),
        ("x.csv", "text,label,split\na,x,train\nb,y,train\n", "splits are train; train and test"),
        ("x.csv", "text,label,split\na,x,test\n", "splits are test; train and"),
        ("x.csv", "text,label,split\na,x,train\nb,x,test\n", "only one label in train"),
        (
            "x.csv",
            "text,label,split\na,x,train\nb,y,train\nc,z,test\n",
            "line 4: label 'z' is not one of the 2 labels in train",
        ),
        ("x.jsonl", "{\n", "line 1: not valid JSON"),
        ("x.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("x.jsonl", '{"text1": 1, "text2": "b", "score": 1}\n' * 2 + '{"score": 2}\n', "text1 is 1; a text"),
        (
            "x.jsonl",
            '{"text1": "\\ud800", "text2": "b", "score": 1}\n{"score": 0}\n{"score": 2}',
            "surrogate",
        ),
        ("x.csv", "text1,text2,score\n中,文,1\n".encode("gb18030"), "not UTF-8"),
    ],
)
def test_bad_files_are_refused_with_a_reason(write, name, content, problem):
    file = write(name, content)
    with pytest.raises(DataError, match=problem) as caught:
        read_local(file)
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_local(tmp_path / "none.jsonl")


def test_the_split_can_be_told(write):
    rows = [("a", 0, "train"), ("b", 1, "train"), ("c", 0, "test"), ("d", 1, "validation")]
    lines = [json.dumps({"text": text, "label": label, "split": split}) for text, label, split in rows]
    file = write("x.jsonl", "\n".join(lines))
    assert read_local(file).split == "test"
    assert read_local(file, "validation").judged == (["d"], [1])
    with pytest.raises(DataError, match="train and dev are needed"):
        read_local(file, "dev")


@pytest.mark.parametrize("header", [True, False])
def test_t2ranking_is_cut_after_passage_10000(write, header):
    names = ("pid\ttext\n", "qid\ttext\n", "qid\t-\tpid\trel\n") if header else ("", "", "")
    found = t2ranking.from_files(
        write("collection.tsv", names[0] + '0\t"零\n9\t九\n10000\t一万\n10001\t不要\nnot read at all\n'),
        write("queries.dev.tsv", names[1] + "0\t问零\n1\t只有零分\n2\t太远\n3\t问九\n"),
        write(
            "qrels.dev.tsv",
            names[2] + "0\t0\t0\t3\n0\t0\t9\t0\n1\t0\t9\t0\n2\t0\t10001\t3\n3\t0\t9\t1\n3\t0\t10000\t2\n",
        ),
    )
    assert found.passages == {"0": '"零', "9": "九", "10000": "一万"}
    assert found.queries == {"0": "问零", "3": "问九"}
    assert found.relevant == {"0": {"0": 3, "9": 0}, "3": {"9": 1, "10000": 2}}


def test_a_t2ranking_file_that_is_a_pointer_of_git_lfs_says_to_pull(write):
    pointer = write("collection.tsv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match="git lfs pull"):
        t2ranking.from_files(pointer, pointer, pointer)


def test_a_broken_t2ranking_file_is_refused(write):
    collection = write("collection.tsv", "0\t零\n1 no tabulator\n")
    with pytest.raises(DataError, match="line 2: not 2 fields"):
        t2ranking.from_files(collection, collection, collection)
