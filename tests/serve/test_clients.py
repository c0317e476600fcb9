"""Widely used clients, unmodified, against a running service."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from m3e_runtime import Encoder
from m3e_runtime.scheduling import QueueLimits

TEXTS = [
    "How do I change the bank card linked to my account?",
    "The weather is lovely today.",
    "如何更换花呗绑定银行卡",
    "A recipe for tomato soup with basil.",
]
QUERY = "replace the card of my account"
ADA = "text-embedding-ada-002"


@pytest.fixture(scope="module")
def minilm_served(request) -> Path:
    made_before = os.environ.get("M3E_BUNDLE")
    return Path(made_before) if made_before else request.getfixturevalue("minilm_bundle")


@pytest.fixture(scope="module")
def original(minilm_served):
    return Encoder.load(minilm_served)


@pytest.fixture(scope="module")
def service(start, minilm_served):
    from m3e_serve.settings import ModelSource

    settings = {"models": (ModelSource("minilm", minilm_served),), "aliases": {ADA: "minilm"}}
    return start(**settings, max_texts=100)


@pytest.fixture(scope="module")
def expected(original):
    return original.encode([*TEXTS, QUERY], normalize_embeddings=True)


def same(found, expected):
    """Equal bit for bit, after converting double precision back to float32."""
    np.testing.assert_array_equal(np.asarray(found, dtype=np.float32), expected)


class TestOpenAI:
    @pytest.fixture
    def openai(self):
        return pytest.importorskip("openai", reason="openai is not installed")

    @pytest.fixture
    def client(self, openai, service):
        with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
            yield client

    @pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
    def test_vectors(self, client, expected, options):
        answer = client.embeddings.create(model="minilm", input=TEXTS, **options)
        assert [each.index for each in answer.data] == list(range(len(TEXTS)))
        vectors = [each.embedding for each in answer.data]
        if options.get("encoding_format") == "base64":
            import base64

            vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]
        same(vectors, expected[:-1])
        assert answer.usage.prompt_tokens == answer.usage.total_tokens > len(TEXTS)

    def test_one_text_and_dimensions(self, client, original):
        answer = client.embeddings.create(model=ADA, input=QUERY, dimensions=64, user="me")
        found = original.encode([QUERY], truncate_dim=64, normalize_embeddings=True)
        same([each.embedding for each in answer.data], found)

    def test_asynchronously_and_many_at_once(self, openai, service, expected):
        async def main():
            async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none") as client:
                texts = [*TEXTS, QUERY] * 10
                return await asyncio.gather(
                    *(client.embeddings.create(model="minilm", input=text) for text in texts)
                )

        found = [answer.data[0].embedding for answer in asyncio.run(main())]
        same(found, np.tile(expected, (10, 1)))

    def test_models(self, client):
        assert [model.id for model in client.models.list()] == ["minilm", ADA]
        assert client.models.retrieve(ADA).owned_by == "m3e-runtime"

    def test_errors_are_the_clients_exceptions(self, client, openai):
        with pytest.raises(openai.NotFoundError) as found:
            client.embeddings.create(model="gpt-4", input="a")
        assert found.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as found:
            client.embeddings.create(model="minilm", input=[[9906, 1917]])
        assert found.value.code == "token_ids_not_supported"
        assert found.value.param == "input"
        assert found.value.request_id
        with pytest.raises(openai.BadRequestError, match="at most 100"):
            client.embeddings.create(model="minilm", input=["a"] * 101)

    def test_a_wrong_key_is_an_authentication_error(self, openai, start):
        import hashlib

        guarded = start(key_digests=(hashlib.sha256(b"secret").digest(),))
        for key, allowed in (("secret", True), ("another", False)):
            with openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=key) as client:
                if allowed:
                    assert client.embeddings.create(model="tiny", input="a").data
                else:
                    with pytest.raises(openai.AuthenticationError):
                        client.embeddings.create(model="tiny", input="a")
        guarded.stop()

    def test_the_client_retries_after_429(self, openai, start, hold):
        from concurrent.futures import ThreadPoolExecutor

        encoders = []
        full = start(
            lambda service: encoders.append(service.models.default.encoder), queue=QueueLimits(texts=1)
        )
        held = hold(encoders[0])
        with (
            ThreadPoolExecutor(2) as pool,
            openai.OpenAI(base_url=f"{full.url}/v1", api_key="none") as client,
        ):
            ask = {"model": "tiny", "input": "a"}
            first = pool.submit(client.embeddings.create, **ask)
            assert held.busy.wait(20)
            with pytest.raises(openai.RateLimitError):
                client.with_options(max_retries=0).embeddings.create(**ask)
            second = pool.submit(client.embeddings.create, **ask)
            while full.service.metrics.rejected.labels("rate_limit_exceeded")._value.get() < 2:
                assert not second.done()
            held.free.set()
            assert first.result().data == second.result().data
        full.stop()

    def test_the_client_does_not_retry_a_request_that_takes_too_long(self, openai, start):
        slow = start(request_timeout=0.05)
        slow.service.models.default.scheduler._pace.tokens_per_second = 1000.0
        with (
            openai.OpenAI(base_url=f"{slow.url}/v1", api_key="none") as client,
            pytest.raises(openai.APIStatusError, match="send at most") as refused,
        ):
            client.embeddings.create(model="tiny", input=TEXTS * 20)
        assert refused.value.status_code == 413
        assert slow.service.metrics.requests.labels("/v1/embeddings", "413")._value.get() == 1
        slow.stop()

    def test_azure(self, openai, service, expected):
        with openai.AzureOpenAI(
            azure_endpoint=service.url, api_key="none", api_version="2024-10-21", max_retries=0
        ) as client:
            answer = client.embeddings.create(model="minilm", input=TEXTS)
            same([each.embedding for each in answer.data], expected[:-1])
            with pytest.raises(openai.NotFoundError):
                client.embeddings.create(model="gpt-4", input="a")

    def test_azure_with_a_key(self, openai, start):
        import hashlib

        guarded = start(key_digests=(hashlib.sha256(b"secret").digest(),))
        for key in ("secret", "another"):
            with openai.AzureOpenAI(
                azure_endpoint=guarded.url, azure_deployment="tiny", api_key=key, api_version="2024-10-21"
            ) as client:
                if key == "secret":
                    assert client.embeddings.create(model="tiny", input="a").data
                else:
                    with pytest.raises(openai.AuthenticationError):
                        client.embeddings.create(model="tiny", input="a")
        guarded.stop()


class TestOllama:
    @pytest.fixture
    def client(self, service):
        ollama = pytest.importorskip("ollama", reason="ollama is not installed")
        return ollama.Client(host=service.url)

    def test_vectors(self, client, original, expected):
        answer = client.embed(model="minilm", input=TEXTS, options={"temperature": 0}, keep_alive="5m")
        same(answer.embeddings, expected[:-1])
        assert answer.model == "minilm"
        assert answer.prompt_eval_count == sum(len(original.tokenizer.encode(text)) for text in TEXTS)
        same(client.embed(model=f"{ADA}:latest", input=QUERY).embeddings[0], expected[-1])
        short = client.embed(model="minilm", input=TEXTS, dimensions=64).embeddings
        same(short, original.encode(TEXTS, truncate_dim=64, normalize_embeddings=True))

    def test_one_prompt(self, client, original):
        same(client.embeddings(model="minilm", prompt=QUERY).embedding, original.encode(QUERY))

    def test_no_text_gives_no_vector(self, client):
        assert client.embed(model="minilm", input="").embeddings == []
        assert client.embed(model="minilm", input=[]).embeddings == []
        assert client.embeddings(model="minilm", prompt="").embedding == []

    def test_models(self, client):
        assert [each.model for each in client.list().models] == ["minilm", ADA]

    def test_errors_are_the_clients_exception(self, client):
        import ollama

        long = "今" * 5000
        for status, asked in (
            (404, {"model": "llama3", "input": "a"}),
            (400, {"model": "minilm", "input": "a", "options": {"num_ctx": 8}}),
            (400, {"model": "minilm", "input": ["a", long], "truncate": False}),
            (400, {"model": "minilm", "input": ["a"] * 101}),
        ):
            with pytest.raises(ollama.ResponseError) as found:
                client.embed(**asked)
            assert found.value.status_code == status
            assert found.value.error


CHUNK = "今天天气很好，适合出去走走。" * 71 + "完。完。完。"
"""A chunk of 1000 characters, the usual size of text splitters."""


class TestLargeBatches:
    """2000 chunks, in the clients' default batches."""

    @pytest.fixture(scope="class")
    def tiny(self, start):
        running = start(aliases={ADA: "tiny"})
        yield running
        running.stop()

    def test_langchain(self, tiny, encoder):
        module = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
        embeddings = module.OpenAIEmbeddings(
            base_url=f"{tiny.url}/v1", api_key="none", model=ADA, check_embedding_ctx_length=False
        )
        found = embeddings.embed_documents([CHUNK] * 2000)
        same(found, np.tile(encoder.encode([CHUNK], normalize_embeddings=True), (2000, 1)))

    def test_langchain_js(self, tiny, encoder, in_node):
        found = in_node(
            """
            import { OpenAIEmbeddings } from "@langchain/openai";
            const [url, chunk] = [process.argv[2], process.argv[3]];
            const embeddings = new OpenAIEmbeddings(
              { model: "text-embedding-ada-002", apiKey: "none", configuration: { baseURL: url + "/v1" } });
            const found = await embeddings.embedDocuments(Array(2000).fill(chunk));
            console.log(JSON.stringify([found.length, found[1999]]));
            """,
            tiny.url,
            CHUNK,
        )
        assert found[0] == 2000
        same(found[1], encoder.encode(CHUNK, normalize_embeddings=True))


class TestLangChain:
    @pytest.fixture
    def embeddings(self, service):
        module = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")

        def make(**options):
            return module.OpenAIEmbeddings(base_url=f"{service.url}/v1", api_key="none", model=ADA, **options)

        return make

    def test_texts(self, embeddings, expected):
        ours = embeddings(check_embedding_ctx_length=False)
        same(ours.embed_documents(TEXTS), expected[:-1])
        same(ours.embed_query(QUERY), expected[-1])

    def test_asynchronously(self, embeddings, expected):
        ours = embeddings(check_embedding_ctx_length=False)
        same(asyncio.run(ours.aembed_documents(TEXTS)), expected[:-1])

    def test_token_ids_are_rejected_with_a_remedy(self, embeddings, monkeypatch):
        """By default, LangChain sends ids of OpenAI's tokenizer."""
        import openai
        import tiktoken

        class Tokenizer:
            def encode(self, text, **_):
                return [9906] * len(text)

            encode_ordinary = encode

        monkeypatch.setattr(tiktoken, "encoding_for_model", lambda name: Tokenizer())
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            embeddings().embed_documents(TEXTS)

    def test_vector_store(self, embeddings):
        from langchain_core.vectorstores import InMemoryVectorStore

        store = InMemoryVectorStore.from_texts(TEXTS, embeddings(check_embedding_ctx_length=False))
        assert store.similarity_search(QUERY, k=1)[0].page_content == TEXTS[0]


class TestLlamaIndex:
    @pytest.fixture
    def embedding(self, service):
        module = pytest.importorskip(
            "llama_index.embeddings.openai", reason="llama-index-embeddings-openai is not installed"
        )
        return module.OpenAIEmbedding(api_base=f"{service.url}/v1", api_key="none", model_name=ADA)

    def test_texts(self, embedding, expected):
        same(embedding.get_text_embedding_batch(TEXTS), expected[:-1])
        same(embedding.get_query_embedding(QUERY), expected[-1])

    def test_asynchronously(self, embedding, expected):
        same(asyncio.run(embedding.aget_text_embedding_batch(TEXTS)), expected[:-1])


@pytest.mark.parametrize("version", [[], ["--http2"], ["--http1.0"]])
def test_curl(service, expected, version):
    """Without TLS, ``--http2`` sends ``Upgrade``, which the service ignores."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    body = json.dumps({"model": "minilm", "input": TEXTS}, ensure_ascii=False)
    command = ["curl", "-sS", *version, f"{service.url}/v1/embeddings"]
    command += ["-H", "Content-Type: application/json", "-d", body]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    same([each["embedding"] for each in json.loads(done.stdout)["data"]], expected[:-1])


JAVA = """
import java.net.URI;
import java.net.http.*;
import java.net.http.HttpRequest.BodyPublishers;
import java.util.concurrent.*;
import java.util.stream.*;

/** As Spring AI and langchain4j ask: the JDK's client as it comes, which offers HTTP/2 with each request. */
public class Ask {
  public static void main(String[] args) throws Exception {
    var client = HttpClient.newHttpClient();
    for (boolean chunked : new boolean[] {false, true}) {
      var body = args[1].getBytes("UTF-8");
      var publisher = BodyPublishers.ofByteArray(body);
      var request = HttpRequest.newBuilder(URI.create(args[0])).header("Content-Type", "application/json")
          .POST(chunked ? BodyPublishers.fromPublisher(publisher) : publisher).build();
      var asked = IntStream.range(0, 20).mapToObj(
          number -> client.sendAsync(request, HttpResponse.BodyHandlers.ofString())).toList();
      for (var answer : asked) System.out.println(answer.get().statusCode() + " " + answer.get().body());
    }
    var large = BodyPublishers.ofByteArray(new byte[30 << 20]);
    var request = HttpRequest.newBuilder(URI.create(args[0])).POST(large).build();
    var refused = client.send(request, HttpResponse.BodyHandlers.ofString());
    System.out.println(refused.statusCode() + " " + refused.body());
  }
}
"""


def test_the_client_of_the_jdk(service, expected, tmp_path):
    if shutil.which("javac") is None:
        pytest.skip("no JDK is installed")
    (tmp_path / "Ask.java").write_text(JAVA, encoding="utf-8")
    subprocess.run(["javac", "-encoding", "UTF-8", "Ask.java"], cwd=tmp_path, check=True)
    body = json.dumps({"model": "minilm", "input": TEXTS})
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", tmp_path, "Ask", f"{service.url}/v1/embeddings", body]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    *answers, refused = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert len(answers) == 40
    for status, content in answers:
        assert status == "200", content
        same([each["embedding"] for each in json.loads(content)["data"]], expected[:-1])
    assert refused[0] == "413"
    assert json.loads(refused[1])["error"]["code"] == "body_too_large"


NODE = """
const [url, body] = process.argv.slice(1);
const ask = (body) => fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body});
(async () => {
  for (const sent of [body, new Uint8Array(30 << 20), body]) {
    const answer = await ask(sent);
    console.log(JSON.stringify([answer.status, await answer.json()]));
  }
})();
"""


def test_the_fetch_of_node(service, expected):
    """It goes on sending after a rejection, and would get no response if the connection were reset."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    body = json.dumps({"model": "minilm", "input": TEXTS})
    command = ["node", "-e", NODE, f"{service.url}/v1/embeddings", body]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    first, refused, last = map(json.loads, done.stdout.splitlines())
    for status, content in (first, last):
        assert status == 200
        same([each["embedding"] for each in content["data"]], expected[:-1])
    assert refused[0] == 413
    assert refused[1]["error"]["code"] == "body_too_large"
