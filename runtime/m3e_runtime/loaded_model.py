"""A loaded bundle: its artifact, tokenizer and engine, and how texts are grouped for the engine."""

from __future__ import annotations

import abc
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from m3e_runtime import forked  # noqa: F401 - importing it registers it
from m3e_runtime.arguments import check_flag, check_text, id_arrays, whole_number
from m3e_runtime.backends import (
    Backend,
    Choice,
    Inputs,
    OutputsBackend,
    TokenBackend,
    native,
    open_best,
    run_all,
)
from m3e_runtime.backends.device import device_name
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import BundleError, OptionError
from m3e_runtime.late_interaction import attended_lengths
from m3e_runtime.planning import Batch, plan, plan_packed
from m3e_runtime.threads import available_threads
from m3e_runtime.token_outputs import Output, TokenResult
from m3e_runtime.tokenization import TextTokenizer, TokenIds

__all__ = ["LoadedModel"]

MOST_THREADS = 1024
"""The native engine's limit."""


class LoadedModel(abc.ABC):
    """What :class:`m3e_runtime.Encoder` and :class:`m3e_runtime.Reranker` share.

    A pickle holds the bundle's path and the options of ``load``; unpickling loads the bundle again. Copies
    share the engine.
    """

    _classifies: ClassVar[bool]
    """Whether the bundles of this class have a ``classification``."""

    def __init__(
        self,
        bundle: Bundle,
        choice: Choice,
        tokenizer: TextTokenizer,
        backend: Backend,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.bundle = bundle
        self.artifact = choice.artifact
        self.tokenizer = tokenizer
        self._choice = choice
        self._backend = backend
        self._manifest = bundle.manifest
        self._origin = os.path.abspath(bundle.path), dict(options)

    @classmethod
    def _open(
        cls,
        path: str | bytes | os.PathLike[str],
        device: Any,
        artifact: str | None,
        backend: str | None,
        threads: int | None,
        verify: bool,
    ) -> Self:
        """Load a bundle; see ``load`` of the classes."""
        if threads is not None:
            threads = whole_number("threads", threads, 1, MOST_THREADS)
        check_text("artifact", artifact)
        check_text("backend", backend)
        check_flag("verify", verify)
        device = device_name(device)
        bundle = Bundle.open(path)
        cls._check_kind(bundle)
        chosen, engine = open_best(bundle, device, artifact, backend, threads or available_threads(), verify)
        spec = bundle.manifest.tokenization
        file = bundle.verify(spec.file) if verify else bundle.resolve(spec.file)
        tokenizer = TextTokenizer.from_file(file, spec.max_length, engine.threads)
        options = {
            "device": device,
            "artifact": artifact,
            "backend": backend,
            "threads": threads,
            "verify": verify,
        }
        return cls(bundle, chosen, tokenizer, engine, options)

    @classmethod
    def _check_kind(cls, bundle: Bundle) -> None:
        """Check that this class is the one for ``bundle``.

        Raises:
            BundleError: it is not. The message names the other class.
        """
        if (bundle.manifest.classification is not None) == cls._classifies:
            return
        holds, remedy = (
            ("vectors of texts, not scores", "m3e_runtime.Encoder")
            if cls._classifies
            else ("scores of a reranker or classifier, not vectors of texts", "m3e_runtime.Reranker")
        )
        raise BundleError(f"{bundle.path}: gives {holds}; load it with {remedy}.")

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._origin[0]!r}: {self.artifact.name} on {self._device}, "
            f"{self._backend.threads} threads, {self._outputs}>"
        )

    @property
    @abc.abstractmethod
    def _outputs(self) -> str:
        """The outputs, in words."""

    @property
    def _device(self) -> str:
        return self._choice.gpu.name if self._choice.gpu else "cpu"

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_again, (type(self), *self._origin, self.tokenizer.max_length)

    def __copy__(self) -> Self:
        return type(self)(self.bundle, self._choice, self.tokenizer, self._backend, self._origin[1])

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy(self)  # the shared parts are immutable

    @property
    def pads(self) -> bool:
        """Whether the engine pads the texts of a batch to the longest one."""
        return self._backend.pads

    @property
    def token_budget(self) -> int:
        """Most tokens of a batch, including padding."""
        return self._backend.token_budget

    @property
    def full_dimension(self) -> int:
        """How many numbers the engine gives for a text: dimensions of its vector, or labels."""
        return self._manifest.dimension

    @property
    def max_seq_length(self) -> int:
        """Longest input in tokens, including special tokens. Longer ones are truncated."""
        return self.tokenizer.max_length

    @property
    def info(self) -> dict[str, Any]:
        """The artifact, precision, engine and threads in use."""
        return {
            "source": self._manifest.source.id,
            "bundle": str(self.bundle.path),
            "artifact": self.artifact.name,
            "precision": self.artifact.precision,
            "mix": dict(self.artifact.mix),
            "engine": f"{self._backend.name} {self._backend.version}",
            "device": self._device,
            "why": self._choice.why,
            "arithmetic": self._backend.arithmetic,
            "instruction_set": self._backend.instruction_set,
            "native_engine": native.missing() or "available",
            "tokenizer": self.tokenizer.info,
            "threads": self._backend.threads,
            "batch_invariant": self.artifact.batch_invariant,
            "same_bytes_on": native.same_bytes_on(self._backend.instruction_set),
        }

    def run(
        self,
        token_ids: Sequence[TokenIds],
        batch_size: int | None = None,
        prompt_lengths: Sequence[int] | None = None,
        token_types: Sequence[TokenIds] | None = None,
    ) -> Iterator[tuple[Batch, npt.NDArray[np.float32]]]:
        """Compute token ids in batches that suit the engine.

        Args:
            token_ids: int32 ``[length]`` for each text, from :attr:`tokenizer`.
            batch_size: most texts in one run of the engine; by default only the token budget limits it.
            prompt_lengths: the result of :meth:`Encoder.prompt_lengths` for the texts' prompts.
            token_types: the type of each token, int32 ``[length]`` for each text, for bundles whose
                ``classification.token_types`` is true; None: all are 0.

        Yields:
            Each batch, and the vectors of its texts, or their logits, float32 ``[m, full_dimension]``.

        Raises:
            OptionError: ids that are not sequences of 32-bit integers.
        """
        token_ids = id_arrays("token_ids", token_ids)
        if len(token_ids) == 1:
            alone = Batch(np.zeros(1, dtype=np.int64), len(token_ids[0]))
            yield alone, self._backend.run(token_ids, prompt_lengths, token_types)
            return
        lengths = np.fromiter(map(len, token_ids), dtype=np.int64, count=len(token_ids))
        batches = (
            (it, _inputs(it, token_ids, prompt_lengths, token_types)) for it in self.plan(lengths, batch_size)
        )
        yield from run_all(self._backend, batches)

    def run_outputs(
        self,
        token_ids: Sequence[TokenIds],
        wanted: Container[Output],
        batch_size: int | None = None,
        prompt_lengths: Sequence[int] | None = None,
        token_types: Sequence[TokenIds] | None = None,
    ) -> Iterator[tuple[Batch, npt.NDArray[np.float32], list[TokenResult]]]:
        """:meth:`run` that also gives outputs of tokens.

        Args:
            token_ids: as in :meth:`run`.
            wanted: the outputs to compute; vectors of texts always are.
            batch_size: as in :meth:`run`.
            prompt_lengths: as in :meth:`run`.
            token_types: as in :meth:`run`; bundles with outputs of tokens have none.

        Yields:
            Each batch, the vectors of its texts, and the outputs of their tokens, special tokens included.

        Raises:
            OptionError: as :meth:`run`, or the artifact gives vectors of texts only.
        """
        weights, vectors = "sparse" in wanted, "multi_vector" in wanted
        if not (weights or vectors):
            for batch, found in self.run(token_ids, batch_size, prompt_lengths, token_types):
                yield batch, found, [TokenResult(None, None)] * len(found)
            return
        backend, given = self._outputs_backend(), self._manifest.multi_vector
        token_ids = id_arrays("token_ids", token_ids)
        for batch in self.plan(np.fromiter(map(len, token_ids), np.int64, len(token_ids)), batch_size):
            places = batch.indices.tolist()
            ids = [token_ids[at] for at in places]
            lengths = None if prompt_lengths is None else [prompt_lengths[at] for at in places]
            attended = attended_lengths(ids, given)
            yield batch, *backend.run_outputs(ids, lengths, weights, vectors, attended)

    def run_states(
        self,
        token_ids: Sequence[TokenIds],
        batch_size: int | None = None,
        prompt_lengths: Sequence[int] | None = None,
    ) -> Iterator[tuple[Batch, npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]]:
        """:meth:`run` that also gives the hidden states of tokens, as they are before pooling.

        Args:
            token_ids: as in :meth:`run`.
            batch_size: as in :meth:`run`.
            prompt_lengths: as in :meth:`run`.

        Yields:
            Each batch, the vectors of its texts, and the states of each text's tokens, float32
            ``[length, hidden]``.

        Raises:
            OptionError: as :meth:`run`, or the artifact gives vectors of texts only.
        """
        backend = self._token_backend()
        token_ids = id_arrays("token_ids", token_ids)
        for batch in self.plan(np.fromiter(map(len, token_ids), np.int64, len(token_ids)), batch_size):
            places = batch.indices.tolist()
            lengths = None if prompt_lengths is None else [prompt_lengths[at] for at in places]
            yield batch, *backend.run_tokens([token_ids[at] for at in places], lengths)

    def _token_backend(self) -> TokenBackend:
        backend = self._backend
        if isinstance(backend, TokenBackend) and backend.gives_tokens:
            return backend
        names = ", ".join(each.name for each in self._manifest.artifacts if each.format == "native")
        remedy = f"load one with artifact= ({names})" if names else "export one with --target native"
        raise OptionError(
            f"artifact {self.artifact.name!r} gives vectors of texts, not of tokens. Native artifacts give "
            f"both: {remedy}."
        )

    def _outputs_backend(self) -> OutputsBackend:
        backend = self._backend
        if isinstance(backend, OutputsBackend) and backend.gives_outputs:
            return backend
        names = ", ".join(each.name for each in self._manifest.artifacts if each.token_fidelity is not None)
        remedy = f"load one with artifact= ({names})" if names else "export one with --target native"
        raise OptionError(
            f"artifact {self.artifact.name!r} gives dense vectors only. Others give sparse vectors and "
            f"multi-vectors, too: {remedy}."
        )

    def plan(
        self,
        lengths: npt.NDArray[np.int64],
        batch_size: int | None = None,
        token_budget: int | None = None,
    ) -> Iterator[Batch]:
        """Group texts into batches that suit the engine; each text is in exactly one.

        Args:
            lengths: token counts of the texts, int64 ``[n]``.
            batch_size: most texts of a batch; by default only the token budget limits it.
            token_budget: most tokens of a batch, padding included; never more than :attr:`token_budget`.
        """
        engine = self._backend
        budget = min(engine.token_budget, token_budget or engine.token_budget)
        if not engine.pads:
            most = engine.most_texts(self.tokenizer.max_length)
            return plan_packed(lengths, budget, _smaller(batch_size, most))
        return plan(lengths, budget, lambda longest: _smaller(batch_size, engine.most_texts(longest)))

    def close(self) -> None:
        """Free the engine's memory now, not at garbage collection. Nothing can be computed afterwards."""
        self._backend.close()


def _inputs(
    batch: Batch,
    token_ids: Sequence[TokenIds],
    prompt_lengths: Sequence[int] | None,
    token_types: Sequence[TokenIds] | None,
) -> Inputs:
    """What the engine gets for the texts of ``batch``."""
    places = batch.indices.tolist()
    return Inputs(
        [token_ids[at] for at in places],
        None if prompt_lengths is None else [prompt_lengths[at] for at in places],
        None if token_types is None else [token_types[at] for at in places],
    )


def _load_again(kind: type[LoadedModel], path: str, options: dict[str, Any], max_length: int) -> LoadedModel:
    """Load the model of a pickle. Its maximum length may be below the bundle's."""
    model = kind._open(path, **options)
    model.tokenizer = model.tokenizer.limited(max_length)
    return model


def _smaller(a: int | None, b: int | None) -> int | None:
    """The smaller of two bounds; None is no bound."""
    return min((bound for bound in (a, b) if bound is not None), default=None)
