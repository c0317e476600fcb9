"""The bundles that are served, and what every route does with them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import MANIFEST_NAME
from m3e_runtime.scheduling import AsyncEncoder, Priority
from m3e_runtime.tokenization import TokenIds
from m3e_serve.errors import ApiError
from m3e_serve.models.router import check_names
from m3e_serve.models.token_lists import check_parts, token_lists
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ModelSource, ServeSettings

_LEAST_BYTES = 1 << 15
"""Of an answer that is sent in pieces: each costs a change of threads."""

__all__ = ["Embedded", "Models", "ServedModel", "load_encoder"]


@dataclass(frozen=True)
class Embedded:
    """Vectors, float32 ``[n, d]``, and the tokens that they were computed from."""

    vectors: npt.NDArray[np.float32]
    tokens: int


class ServedModel:
    """A bundle with the scheduler in front of it.

    Attributes:
        routes: by their names, the routes of the same model that are served under the same name, itself among
            them; empty for a model without a Router.
    """

    def __init__(
        self, name: str, encoder: Encoder, settings: ServeSettings, metrics: Metrics, label: str | None = None
    ) -> None:
        """``label`` is the model's in the metrics, by default its name."""
        if settings.pad_to is not None and settings.pad_to < encoder.dimension:
            raise OptionError(f"pad_to={settings.pad_to}: the vectors of {name} have {encoder.dimension}.")
        self.name = name
        self.encoder = encoder
        self.routes: Mapping[str, ServedModel] = {}
        self.created = int((encoder.bundle.path / MANIFEST_NAME).stat().st_mtime)
        self.vocabulary = encoder.tokenizer.tokenizer.get_vocab_size(with_added_tokens=True)
        self._metrics = metrics.of_model(label or name)
        self._seconds = settings.request_timeout
        self.scheduler = AsyncEncoder(
            encoder,
            limits=settings.queue,
            on_run=lambda report: self._metrics.ran(report, self.scheduler.waiting_tokens),
        )

    async def embed(
        self,
        texts: Sequence[str],
        priority: Priority,
        *,
        truncate: bool,
        normalize: bool,
        dimensions: int | None = None,
        prompt: str = "",
        keep_end: bool = False,
    ) -> Embedded:
        """Vectors of ``texts``; the options are those of :meth:`m3e_runtime.Encoder.encode`.

        With ``keep_end`` texts that are too long are cut at the left, the prompt first.

        Raises:
            M3EError: as :meth:`m3e_runtime.AsyncEncoder.encode`.
            TextTooLongError: a text would be cut, and ``truncate`` is false.
            ApiError: the vectors have fewer than ``dimensions`` numbers.
        """
        self.check_dimensions(dimensions)
        if keep_end and prompt and not self.encoder.bundle.manifest.include_prompt:
            raise ApiError(
                422, "truncation_direction: left would cut the prompt, which this model leaves out."
            )
        start = time.perf_counter()
        token_ids = await self.scheduler.tokenize(
            [prompt + text for text in texts] if prompt else texts, priority, truncate, keep_end
        )
        seconds = time.perf_counter() - start
        return await self._embed(token_ids, priority, normalize, dimensions, seconds, prompt)

    def check_dimensions(self, dimensions: int | None, longest: int | None = None) -> None:
        """Check that a vector has ``dimensions`` numbers, or can be padded to ``longest``.

        Raises:
            ApiError: it has fewer.
        """
        longest = longest or self.encoder.full_dimension
        if dimensions is not None and dimensions > longest:
            message = f"dimensions={dimensions}: the model has {longest}."
            raise ApiError(400, message, "invalid_value", "dimensions", tei_status=422)

    async def embed_ids(
        self, inputs: Sequence[Sequence[int]], priority: Priority, *, normalize: bool, dimensions: int | None
    ) -> Embedded:
        """Vectors of texts that the client tokenized for this model, special tokens included.

        Raises:
            M3EError: as :meth:`embed`.
            ApiError: an id or a length that the model does not have.
        """
        self.check_dimensions(dimensions)
        most = self.encoder.max_seq_length
        for index, ids in enumerate(inputs):
            if not ids:
                raise ApiError(
                    400, f"input {index} has no token ids.", "invalid_value", "input", tei_status=422
                )
            if len(ids) > most:
                raise ApiError(400, f"input {index} has {len(ids)} token ids; at most {most} are possible.",
                               "context_length_exceeded", "input", tei_status=413)  # fmt: skip
            if min(ids) < 0 or max(ids) >= self.vocabulary:
                raise ApiError(400, f"input {index} has a token id that is not below {self.vocabulary}.",
                               "invalid_value", "input", "Tokenizer", 422)  # fmt: skip
        token_ids = [np.array(ids, dtype=np.int32) for ids in inputs]
        return await self._embed(token_ids, priority, normalize, dimensions, 0.0)

    async def token_lists(
        self, texts: Sequence[str], priority: Priority, add_special_tokens: bool
    ) -> AsyncGenerator[bytes, None]:
        """The tokens of ``texts`` as JSON; see :func:`m3e_serve.models.token_lists.token_lists`.

        Yields:
            Pieces of some kilobytes. Each is made when it is asked for.

        Raises:
            M3EError: as :meth:`m3e_runtime.AsyncEncoder.tokenize`, before the first piece.
            ApiError: a text that cannot be divided, before the first piece.
        """
        scheduler, tokenizer = self.scheduler, self.encoder.tokenizer
        with scheduler.tokenizing(texts, priority):
            await scheduler.in_thread(lambda: check_parts(tokenizer.splits, texts))
            pieces = token_lists(tokenizer.tokenizer, tokenizer.splits, texts, add_special_tokens)
            while piece := await scheduler.in_thread(lambda: _joined(pieces)):
                yield piece

    async def _embed(
        self,
        token_ids: Sequence[TokenIds],
        priority: Priority,
        normalize: bool,
        dimensions: int | None,
        tokenize_seconds: float,
        prompt: str = "",
    ) -> Embedded:
        encoded = await self.scheduler.encode_tokens(token_ids, priority, prompt, self._seconds)
        self._metrics.encoded(tokenize_seconds, encoded)
        options = self.encoder.output_options(dimensions, normalize)
        vectors = await self.scheduler.finish(encoded, options)
        return Embedded(vectors, sum(map(len, token_ids)))


class Models:
    """The bundles by name."""

    def __init__(self, models: Sequence[ServedModel], settings: ServeSettings) -> None:
        self.all = tuple(models)
        self._any_name = settings.any_model
        by_name = {name: _together([each for each in models if each.name == name]) for name in _names(models)}
        self.default = by_name[models[0].name]
        self.several = len(by_name) > 1
        self.names = {**by_name, **{alias: by_name[name] for alias, name in settings.aliases.items()}}

    @staticmethod
    def open(settings: ServeSettings, metrics: Metrics) -> Models:
        """Load every bundle.

        Raises:
            M3EError: as :meth:`m3e_runtime.Encoder.load`.
            OptionError: bundles of one name that are not routes of one model.
        """
        check_names(settings.models)
        return Models([_open(source, settings, metrics) for source in settings.models], settings)

    def choose(self, name: str | None) -> ServedModel:
        """The model for a request that says ``name``, or says none, which is enough where one is served.

        Raises:
            ApiError: 404, there is none of that name; or it must be said which.
        """
        if not self.several and (name is None or self._any_name):
            return self.default
        if name is None:
            message = f"`model` is missing; there are: {', '.join(self.names)}."
            raise ApiError(400, message, "invalid_value", "model", tei_status=422)
        return self.find(name)

    def find(self, name: str) -> ServedModel:
        """The model that is listed as ``name``.

        Raises:
            ApiError: 404, there is none.
        """
        with suppress(KeyError):
            return self.names[name]
        raise ApiError(
            404,
            f"The model does not exist; there are: {', '.join(self.names)}.",
            "model_not_found",
            "model",
        )

    @property
    def alive(self) -> bool:
        """Whether every engine takes requests."""
        return all(model.scheduler.alive for model in self.all)

    async def start(self) -> None:
        """Start the engines, and measure their speed."""
        for model in self.all:
            await model.scheduler.warm_up()

    async def close(self) -> None:
        """Answer who waits, and stop."""
        for model in self.all:
            await model.scheduler.close()
            model.encoder.close()


def _joined(pieces: Iterator[bytes]) -> bytes:
    """The next pieces, of :data:`_LEAST_BYTES` together where there are so many; none at the end."""
    joined = bytearray()
    for piece in pieces:
        joined += piece
        if len(joined) >= _LEAST_BYTES:
            break
    return bytes(joined)


def _names(models: Sequence[ServedModel]) -> list[str]:
    return list(dict.fromkeys(model.name for model in models))


def _together(models: Sequence[ServedModel]) -> ServedModel:
    """What stands for ``models`` of one name: the route of texts without a task, else the first."""
    known = [(model, model.encoder.bundle.manifest.route) for model in models]
    routes = {route.name: model for model, route in known if route is not None}
    for model in routes.values():
        model.routes = routes
    _, first = known[0]
    return routes.get(first.default or "", models[0]) if first is not None else models[0]


def _open(source: ModelSource, settings: ServeSettings, metrics: Metrics) -> ServedModel:
    encoder = load_encoder(source, settings)
    alone = [each.name for each in settings.models].count(source.name) == 1
    label = source.name if alone else f"{source.name}:{encoder.info['route']}"
    return ServedModel(source.name, encoder, settings, metrics, label)


def load_encoder(source: ModelSource, settings: ServeSettings) -> Encoder:
    """Load one bundle as the settings say.

    Raises:
        M3EError: as :meth:`m3e_runtime.Encoder.load`.
    """
    return Encoder.load(
        source.path,
        device=settings.device,
        artifact=settings.artifact,
        backend=settings.backend,
        threads=settings.threads,
        verify=settings.verify,
    )
