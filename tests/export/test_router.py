"""Models with a Router: each route is exported by itself, and gives what sentence-transformers gives."""

import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Normalize, Pooling, Router, Transformer

import synthetic
from m3e_corpora.cli import main as encode_main
from m3e_eval.encoder import ArtifactEncoder, load_reference
from m3e_export import ExportRequest, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.checkpoint.sentence_config import read_sentence_config
from m3e_export.cli import main
from m3e_export.errors import CheckpointError, OptionError, UnsupportedModelError, UntrustedCheckpointError
from m3e_export.oracle.numpy_oracle import NumpyOracle
from m3e_runtime import Encoder
from m3e_runtime.integrations.embedder import TextEmbedder
from m3e_runtime.integrations.routed import RoutedSentenceTransformer
from m3e_runtime.integrations.sentence_transformers import SentenceTransformer as DropIn
from m3e_runtime.manifest import Route

SENTENCES = ["今天天气很好", "a", "How do I change the card linked to my account?", "字" * 90]
HIDDEN = synthetic.TINY["hidden"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return [synthetic.make_checkpoint(folder / str(seed), **synthetic.TINY, seed=seed) for seed in (0, 1)]


def two_encoders(bases):
    query, document = (Transformer(str(base)) for base in bases)
    return [
        Router.for_query_document([query, Pooling(HIDDEN, pooling_mode="cls")], [document, Pooling(HIDDEN)]),
        Normalize(),
    ]


def one_encoder(bases):
    """The old way of Asym: a Dense layer for queries alone."""
    dense = Dense(HIDDEN, HIDDEN, activation_function=torch.nn.ReLU())
    routes = Router({"query": [dense], "document": []}, default_route="document")
    return [Transformer(str(bases[0])), Pooling(HIDDEN), routes]


def mapped(bases):
    """Tasks that are called otherwise than routes."""
    first, second = (Transformer(str(base)) for base in bases)
    routes = {"left": [first, Pooling(HIDDEN)], "right": [second, Pooling(HIDDEN)]}
    mappings = {("query", None): "right", ("document", None): "left"}
    return [Router(routes, route_mappings=mappings)]


MODELS = {"two encoders": two_encoders, "one encoder": one_encoder, "mapped": mapped}
TASKS = {"mapped": {"right": "query", "left": "document"}}


@pytest.fixture
def saved(bases, tmp_path):
    def save(name):
        torch.manual_seed(0)
        model = SentenceTransformer(modules=MODELS[name](bases), device="cpu", prompts={"query": "查询: "})
        model.save_pretrained(str(tmp_path / "saved"))
        return tmp_path / "saved"

    return save


@pytest.mark.parametrize("name", MODELS)
def test_each_route_gives_what_its_task_gives(name, saved, tmp_path, few_texts):
    folder = saved(name)
    model = SentenceTransformer(str(folder), device="cpu")
    vectors = []
    for route, task in TASKS.get(name, {"query": "query", "document": "document"}).items():
        expected = np.stack([model.encode(text, task=task) for text in SENTENCES])
        vectors.append(expected)
        checkpoint = load_checkpoint(str(folder), route=route)
        found = NumpyOracle(checkpoint).encode(SENTENCES, lambda _: None)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        request = ExportRequest(str(folder), tmp_path / route, gate=str(few_texts), route=route)
        bundle = export(request)  # judged by sentence-transformers, by this route
        assert "sentence-transformers" in bundle.manifest.artifacts[0].fidelity.oracle
        np.testing.assert_allclose(Encoder.load(bundle.path).encode(SENTENCES), expected, atol=3e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01
    query = Encoder.load(tmp_path / ("right" if name == "mapped" else "query"))
    expected = np.stack([model.encode_query(text) for text in SENTENCES])
    np.testing.assert_allclose(query.encode(SENTENCES, prompt_name="query"), expected, atol=3e-5)


def test_tasks_choose_among_bundles_as_in_sentence_transformers(saved, tmp_path, few_texts):
    folder = saved("one encoder")
    original = SentenceTransformer(str(folder), device="cpu")
    for route in ("query", "document"):
        export(ExportRequest(str(folder), tmp_path / route, gate=str(few_texts), route=route))
    routes = {route: tmp_path / route for route in ("query", "document")}
    model = RoutedSentenceTransformer(routes, default_route="document")
    for found, expected in (
        (model.encode_query(SENTENCES), original.encode_query(SENTENCES)),
        (model.encode_document(SENTENCES), original.encode_document(SENTENCES)),
        (model.encode(SENTENCES, task="query"), original.encode(SENTENCES, task="query")),
        (model.encode(SENTENCES), original.encode(SENTENCES)),
    ):
        np.testing.assert_allclose(found, expected, atol=3e-5)
    expected = original.similarity(original.encode_query("你好"), original.encode_document(SENTENCES))
    found = model.similarity(model.encode_query("你好"), model.encode_document(SENTENCES))
    np.testing.assert_allclose(found, expected, atol=3e-5)
    with pytest.raises(OptionError, match=r"passage.*document, query"):
        model.encode(SENTENCES, task="passage")
    with pytest.raises(OptionError, match="task=None"):
        RoutedSentenceTransformer(routes).encode(SENTENCES)


TASKS_OF_ROUTES = {
    "two encoders": ({"query": "query", "document": "document"}, "document"),
    "one encoder": ({"query": "query", "document": "document"}, "document"),
    "mapped": ({"query": "right", "document": "left", "left": "left", "right": "right"}, "left"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_manifest_knows_the_tasks_of_every_route(name, saved, tmp_path, few_texts):
    folder = saved(name)
    tasks, default = TASKS_OF_ROUTES[name]
    (router,) = (
        module
        for module in SentenceTransformer(str(folder), device="cpu")
        if hasattr(module, "route_mappings")
    )
    assert {task: router._resolve_route(task, "text") for task in tasks} == tasks
    assert router._resolve_route(None, "text") == default
    route = tasks["query"]
    bundle = export(ExportRequest(str(folder), tmp_path / "bundle", gate=str(few_texts), route=route))
    assert bundle.manifest.route == Route(route, tasks, default)
    assert Encoder.load(bundle.path).info["route"] == route


def test_a_bundle_refuses_what_belongs_to_another_route(saved, tmp_path, few_texts, capsys):
    folder = saved("one encoder")
    bundle = export(ExportRequest(str(folder), tmp_path / "b", gate=str(few_texts), route="query")).path
    encoder, model, embedder = Encoder.load(bundle), DropIn(str(bundle)), TextEmbedder(bundle)
    texts = tmp_path / "texts.txt"
    texts.write_text("你好")
    for refused in (
        lambda: encoder.encode("你好", prompt_name="document"),
        lambda: encoder.encode("你好", prompt_name="document", prompt=""),
        lambda: next(encoder.encode_iter(["你好"], prompt_name="document", prompt=[""])),
        lambda: model.encode_document("你好"),
        lambda: model.encode("你好", task="document"),
        lambda: embedder.documents(["你好"]),
    ):
        with pytest.raises(OptionError, match=r"'document'.*m3e-export --route document"):
            refused()
    np.testing.assert_array_equal(model.encode_query("你好"), embedder.queries(["你好"])[0])
    with pytest.raises(OptionError, match="passage"):
        model.encode("你好", task="passage")
    command = [str(bundle), str(texts), "-o", str(tmp_path / "out.npy")]
    assert encode_main([*command, "--prompt-name", "document"]) == 2
    assert "--route document" in capsys.readouterr().err
    assert encode_main([*command, "--prompt-name", "query"]) == 0


@pytest.mark.parametrize("route", ["query", "document"])
def test_the_evaluation_follows_the_route_of_the_bundle(route, saved, tmp_path, few_texts):
    folder = saved("one encoder")
    bundle = export(ExportRequest(str(folder), tmp_path / "b", gate=str(few_texts), route=route))
    reference = load_reference(str(folder), bundle)
    expected = SentenceTransformer(str(folder), device="cpu").encode(SENTENCES, task=route)
    np.testing.assert_allclose(reference.vectors(SENTENCES), expected, atol=1e-5)
    found = ArtifactEncoder(bundle, bundle.manifest.artifacts[0].name).vectors(SENTENCES)
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_bundles_whose_vectors_cannot_be_compared_are_no_routes(tiny_bundle, saved, tmp_path, few_texts):
    folder = saved("one encoder")
    file = folder / "config_sentence_transformers.json"
    synthetic.update_json(file, similarity_fn_name="dot")
    export(ExportRequest(str(folder), tmp_path / "query", gate=str(few_texts), route="query"))
    with pytest.raises(OptionError, match=r"cannot be compared.*dot"):
        RoutedSentenceTransformer({"query": tmp_path / "query", "document": tiny_bundle})
    with pytest.raises(OptionError, match="at least one"):
        RoutedSentenceTransformer({})
    with pytest.raises(OptionError, match="passage"):
        RoutedSentenceTransformer({"query": tmp_path / "query"}, default_route="passage")


@pytest.mark.parametrize("name", MODELS)
def test_without_a_route_the_model_is_refused_with_its_routes(name, saved, capsys):
    folder = saved(name)
    routes = "left, right" if name == "mapped" else "document, query"
    with pytest.raises(UnsupportedModelError, match=f"{routes}.*--route"):
        load_checkpoint(str(folder))
    assert main([str(folder), "-o", str(folder.parent / "bundle")]) == 4
    assert "--route" in capsys.readouterr().err


def test_the_command_names_bundles_after_routes(saved, monkeypatch, few_texts):
    folder = saved("one encoder")
    monkeypatch.chdir(folder.parent)
    assert main([str(folder), "--route", "query", "--gate", str(few_texts)]) == 0
    assert (folder.parent / "saved-query-fp32" / "manifest.json").exists()


def test_a_route_that_there_is_not_is_refused(saved, bases):
    with pytest.raises(OptionError, match=r"passage.*document, query"):
        load_checkpoint(str(saved("one encoder")), route="passage")
    with pytest.raises(OptionError, match="no Router"):
        load_checkpoint(str(bases[0]), route="query")


def test_a_route_of_a_folder_without_modules_is_refused(tmp_path):
    folder = synthetic.make_checkpoint(tmp_path / "plain", **synthetic.TINY, layout="plain")
    with pytest.raises(OptionError, match=r"modules\.json"):
        load_checkpoint(str(folder), route="query")


def test_a_route_of_a_given_graph_is_refused(saved, tmp_path):
    request = ExportRequest(str(saved("one encoder")), tmp_path / "bundle", exporter="given", route="query")
    with pytest.raises(OptionError, match="--route"):
        export(request)


def test_the_files_of_asym_are_read(saved):
    folder = saved("one encoder")
    modules = synthetic.read_json(folder / "modules.json")
    modules[2]["type"] = "sentence_transformers.models.Asym"
    synthetic.write_json(folder / "modules.json", modules)
    router = folder / modules[2]["path"]
    (router / "router_config.json").rename(router / "config.json")
    assert [kind for kind, _ in read_sentence_config(folder, route="query").dense] == ["Dense"]
    assert not read_sentence_config(folder, route="document").dense


def changed(folder, **changes):
    file = next(folder.rglob("router_config.json"))
    file.write_text(json.dumps({**synthetic.read_json(file), **changes}))


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"types": {"query_0_Dense": "evil.Dense"}}, UnsupportedModelError, "custom code"),
        ({"types": {}}, CheckpointError, "query_0_Dense"),
        ({"types": []}, CheckpointError, "structure"),
        ({"structure": {"query": "x"}}, CheckpointError, "structure"),
        ({"structure": {}}, CheckpointError, "structure"),
        ({"structure": {"query": [["x"]]}}, CheckpointError, "no type"),
        (
            {
                "structure": {"query": ["../../x"]},
                "types": {"../../x": "sentence_transformers.models.Dense"},
            },
            UntrustedCheckpointError,
            "leads out",
        ),
        ({"parameters": ["x"]}, CheckpointError, "parameters"),
        ({"parameters": {"default_route": "passage"}}, CheckpointError, "default_route"),
        (
            {"parameters": {"route_mappings": {"('query', None)": "passage"}}},
            CheckpointError,
            "route_mappings",
        ),
        ({"parameters": {"route_mappings": {"open('x')": "query"}}}, CheckpointError, "route_mappings"),
        ({"parameters": {"route_mappings": ["query"]}}, CheckpointError, "route_mappings"),
        (
            {"structure": {"query": ["x"]}, "types": {"x": "sentence_transformers.models.StaticEmbedding"}},
            UnsupportedModelError,
            "StaticEmbedding",
        ),
    ],
)
def test_broken_routers_are_refused(changes, error, named, saved):
    folder = saved("one encoder")
    changed(folder, **changes)
    with pytest.raises(error, match=named):
        load_checkpoint(str(folder), route="query")
