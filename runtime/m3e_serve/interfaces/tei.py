"""Routes of Hugging Face's text-embeddings-inference (TEI). They use the first model."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

import m3e_runtime
from m3e_runtime import outputs
from m3e_runtime.errors import TextTooLongError
from m3e_serve.errors import ApiError
from m3e_serve.interfaces.inputs import RawInputs, WithoutChunks, read_inputs, refuse_chunks
from m3e_serve.interfaces.prompts import choose_prompt
from m3e_serve.models.served_model import Embedded, ServedModel
from m3e_serve.models.served_reranker import ServedReranker
from m3e_serve.requests.call import Call
from m3e_serve.requests.json_bodies import BodyDecoder
from m3e_serve.requests.response import Response, json_response, rows_response
from m3e_serve.service import Service

__all__ = [
    "Direction",
    "Embed",
    "EmbedRequest",
    "Info",
    "Similarity",
    "SimilarityInput",
    "SimilarityParameters",
    "SimilarityRequest",
    "Tokenize",
    "TokenizeRequest",
    "keeps_end",
]

_TEXT = re.compile(r"^text (\d+)")

Direction = Literal["Right", "right", "Left", "left"]
"""Side at which long texts are truncated. ``Right`` keeps the first tokens, ``Left`` the last."""


class EmbedRequest(WithoutChunks):
    """The body of ``/embed``."""

    inputs: RawInputs
    truncate: bool | None = None
    truncation_direction: str = "Right"
    prompt_name: str | None = None
    normalize: bool = True
    dimensions: Annotated[int, Meta(ge=1)] | None = None


class SimilarityInput(msgspec.Struct):
    """A text, and the texts to compare it with."""

    source_sentence: str
    sentences: list[str]


class SimilarityParameters(WithoutChunks):
    """Options, as in :class:`EmbedRequest`."""

    truncate: bool | None = None
    truncation_direction: str = "Right"
    prompt_name: str | None = None


class SimilarityRequest(msgspec.Struct):
    """The body of ``/similarity``."""

    inputs: SimilarityInput
    parameters: SimilarityParameters | None = None


class TokenizeRequest(msgspec.Struct):
    """The body of ``/tokenize``."""

    inputs: RawInputs
    add_special_tokens: bool = True
    prompt_name: str | None = None


_embed_decoder = BodyDecoder(EmbedRequest)
_similarity_decoder = BodyDecoder(SimilarityRequest)
_tokenize_decoder = BodyDecoder(TokenizeRequest)


class Embed:
    """``POST /embed``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """Vectors, of unit length unless ``normalize`` is false."""
        request = _embed_decoder.decode(call.body)
        refuse_chunks(request)
        model = self._service.models.default
        call.model = model.name
        embedded = await self._embed(call, request, model)
        call.tokens, call.truncated = embedded.tokens, embedded.truncated
        return await rows_response(embedded.vectors)

    async def _embed(self, call: Call, request: EmbedRequest, model: ServedModel) -> Embedded:
        settings = self._service.settings
        inputs = read_inputs(request.inputs, "inputs", settings.max_texts)
        model, prompt = choose_prompt(model, prompt_name=request.prompt_name)
        priority = call.priority(inputs.count)
        normalize, dimensions = request.normalize, request.dimensions
        keep_end = keeps_end(request.truncation_direction)  # checked beside token ids, too
        if not inputs.token_ids:
            truncate = settings.truncate if request.truncate is None else request.truncate
            return await model.embed(
                inputs.texts,
                priority,
                truncate=truncate,
                normalize=normalize,
                dimensions=dimensions,
                prompt=prompt,
                keep_end=keep_end,
            )
        if request.prompt_name is not None and (prompt or not model.routes):
            reason = "prompt_name is for texts; prepend the prompt's token ids to those in `inputs`."
            raise ApiError(422, reason)
        return await model.embed_ids(inputs.token_ids, priority, normalize=normalize, dimensions=dimensions)


class Similarity:
    """``POST /similarity``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """The cosine similarity of one text with each of the others."""
        request = _similarity_decoder.decode(call.body)
        settings, parameters = self._service.settings, request.parameters or SimilarityParameters()
        refuse_chunks(parameters)
        model, prompt = choose_prompt(self._service.models.default, prompt_name=parameters.prompt_name)
        others = read_inputs(list(request.inputs.sentences), "sentences", settings.max_texts).texts
        call.model = model.name
        try:
            embedded = await model.embed(
                [request.inputs.source_sentence, *others],
                call.priority(len(others)),
                truncate=settings.truncate if parameters.truncate is None else parameters.truncate,
                normalize=False,
                prompt=prompt,
                keep_end=keeps_end(parameters.truncation_direction),
            )
        except TextTooLongError as error:
            raise TextTooLongError(_TEXT.sub(_field_of_text, str(error), count=1)) from error
        call.tokens, call.truncated = embedded.tokens, embedded.truncated
        return json_response(outputs.similarity(embedded.vectors[:1], embedded.vectors[1:], "cosine")[0])


class Tokenize:
    """``POST /tokenize``: all tokens of each text, without truncation."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """Tokens with their positions in the texts, in characters."""
        request = _tokenize_decoder.decode(call.body)
        model, prefix = choose_prompt(self._service.models.default, prompt_name=request.prompt_name)
        inputs = read_inputs(request.inputs, "inputs", self._service.settings.max_texts)
        if inputs.token_ids:
            raise ApiError(
                422,
                "inputs: token ids are not supported here; send texts.",
                "token_ids_not_supported",
                tei_type="Tokenizer",
            )
        texts = [prefix + text for text in inputs.texts]
        call.model = model.name
        pieces = model.token_lists(texts, call.priority(len(texts)), request.add_special_tokens)
        return Response(await anext(pieces), rest=pieces)


class Info:
    """``GET /info``: TEI's fields for the first model, and ``m3e``, which has the ``info`` of each model."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """The models, and the limits of the service."""
        settings, model = self._service.settings, self._service.models.all[0]
        return json_response(
            {
                "model_id": model.name,
                "model_sha": model.manifest.source.weights_sha256,
                "model_dtype": model.precision,
                "model_type": _model_type(model),
                "max_concurrent_requests": settings.max_connections,
                "max_input_length": model.manifest.tokenization.max_length,
                "max_batch_tokens": model.token_budget,
                "max_batch_requests": None,
                "max_client_batch_size": settings.max_texts if model.task == "embed" else settings.max_pairs,
                "auto_truncate": settings.truncate,
                "tokenization_workers": 1,
                "version": m3e_runtime.__version__,
                "sha": None,
                "docker_label": None,
                "m3e": [
                    {
                        "name": each.name,
                        "task": each.task,
                        "prompts": sorted(each.manifest.prompts),
                        "licence": each.manifest.licence,
                        **{key: value for key, value in each.info.items() if key != "bundle"},
                    }
                    for each in self._service.models.all
                ],
            }
        )


def _model_type(model: ServedModel | ServedReranker) -> dict[str, Any]:
    """TEI's description of the model's kind."""
    if isinstance(model, ServedModel):
        return {"embedding": {"pooling": model.manifest.pooling}}
    labels = {str(index): label for index, label in enumerate(model.labels)}
    numbers = {label: index for index, label in enumerate(model.labels)}
    kind = "reranker" if model.is_reranker else "classifier"
    return {kind: {"id2label": labels, "label2id": numbers}}


def keeps_end(direction: str) -> bool:
    """Whether long texts keep their last tokens.

    Raises:
        ApiError: 422, an unknown direction.
    """
    if direction not in get_args(Direction):
        known = ", ".join(get_args(Direction))
        raise ApiError(422, f"truncation_direction={direction[:20]!r} is unknown; use one of {known}.")
    return direction.lower() == "left"


def _field_of_text(number: re.Match[str]) -> str:
    """The request's field with the text of this index. The source sentence is the first text."""
    index = int(number[1])
    return f"sentences[{index - 1}]" if index else "source_sentence"
