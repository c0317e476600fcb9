"""A bundle behind the interface of sentence-transformers: code written for it changes one import.

    from m3e_runtime.integrations.sentence_transformers import CrossEncoder, SentenceTransformer

Neither sentence-transformers nor torch is imported, unless tensors are asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime import outputs
from m3e_runtime.arguments import check_text, float_array, folder, whole_number
from m3e_runtime.backends.device import device_name, parse_device
from m3e_runtime.containers import as_iterator, as_list
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import InvalidTextError, OptionError
from m3e_runtime.integrations.cross_encoder import CrossEncoder
from m3e_runtime.integrations.hf_tokenizer import hf_tokenizer
from m3e_runtime.integrations.replacement import (
    NOT_OFFERED,
    check_place,
    checked_prompts,
    find_bundle,
    warn_of,
)
from m3e_runtime.integrations.token_tensors import features, import_torch
from m3e_runtime.manifest import SIMILARITIES
from m3e_runtime.prompts import document_prompt_name, named_prompt, query_prompt_name
from m3e_runtime.routes import check_task
from m3e_runtime.token_embeddings import EncodedText

__all__ = ["CrossEncoder", "SentenceTransformer"]

_OUTPUT_VALUES = ("sentence_embedding", "token_embeddings", None)
Vectors = npt.NDArray[np.float32]


class SentenceTransformer:
    """The encoding interface of ``sentence_transformers.SentenceTransformer``. It is not a subclass.

    Deliberate differences: ``similarity`` returns numpy arrays unless it gets tensors, ``device`` is a
    string, an empty list returns an array of shape ``[0, dimension]``, and ``float16`` is an additional
    precision.

    A pickle holds the bundle's path and the options. Copies share the engine.

    Args:
        model_name_or_path: folder of a bundle, or one that has a single bundle in it.
        device: as for :meth:`Encoder.load`; None is ``"auto"``.
        prompts: prompts by name, in addition to the bundle's, or in their place.
        default_prompt_name: the one to use where none is asked for.
        similarity_fn_name: ``cosine``, ``dot``, ``euclidean`` or ``manhattan``; by default the bundle's.
        truncate_dim: keep only this many leading dimensions; by default the bundle's own number.
        artifact: as for :meth:`Encoder.load`, not in sentence-transformers.
        threads: as for :meth:`Encoder.load`, not in sentence-transformers.
        ignored: other arguments that sentence-transformers has; they are ignored with a warning.

    Raises:
        M3EError: as :meth:`Encoder.load`.
        OptionError: an unknown similarity or default prompt.
        TypeError: an argument that sentence-transformers does not have, or ``modules``, which creates models.

    Example:
        >>> model = SentenceTransformer("m3e-base-int8")
        >>> vectors = model.encode(["你好,世界", "Hello, world"], normalize_embeddings=True)
        >>> model.similarity(vectors, vectors).shape
        (2, 2)
    """

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        device: Any = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: Any = None,
        truncate_dim: int | None = None,
        artifact: str | None = None,
        threads: int | None = None,
        **ignored: Any,
    ) -> None:
        warn_of(ignored, "SentenceTransformer")
        wanted = device_name(device)
        found = find_bundle(folder("model_name_or_path", model_name_or_path))
        self._encoder = Encoder.load(found, device=wanted, artifact=artifact, threads=threads)
        self._gpu = None if self._encoder.info["device"] == "cpu" else parse_device(wanted).index
        manifest = self._encoder.bundle.manifest
        self._longest = self._encoder.max_seq_length
        self._tokenizers: dict[int, Any] = {}
        self.prompts = {**manifest.prompts, **checked_prompts(prompts)}
        self.default_prompt_name = default_prompt_name or manifest.default_prompt_name
        if self.default_prompt_name is not None:
            self._prompt(self.default_prompt_name)
        self.similarity_fn_name = similarity_fn_name or manifest.similarity
        self.truncate_dim = manifest.truncate_dim if truncate_dim is None else truncate_dim

    def encode(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: Any = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
        ranges: Any = None,
        task: str | None = None,
    ) -> Any:
        """Encode one text or several; parameters as in sentence-transformers.

        Args:
            inputs: a text or texts, each a string or ``{"text": string}``; ``sentences`` in
                sentence-transformers before 6, which works too.
            prompt_name: name of the prompt that is put before each text; every model has ``query`` and
                ``document``, which may be empty.
            prompt: a prompt, or one for each text; it takes precedence over ``prompt_name``.
            batch_size: most texts in a batch of the engine. By default only the token budget limits it: the
                32 of sentence-transformers would slow it down.
            show_progress_bar: by default on a terminal, for calls that take longer than a moment.
            output_value: ``"sentence_embedding"``; ``"token_embeddings"``, the vector of each token; or None,
                everything about a text. The last two give tensors of float32, never normalized, and need
                torch; :meth:`Encoder.encode_tokens` gives arrays.
            precision: ``float32``, ``int8``, ``uint8``, ``binary`` or ``ubinary``, and ``float16``.
            convert_to_numpy: return one array; else a list of tensors.
            convert_to_tensor: return one tensor, on the CPU; it takes precedence over ``convert_to_numpy``.
            device: only the one that the model is on.
            normalize_embeddings: scale each vector to unit length.
            truncate_dim: number of leading dimensions to keep; it takes precedence over the model's.
            pool: not offered.
            chunk_size: of no use without a pool.
            sentences: the older name of ``inputs``.
            ranges: as for :meth:`Encoder.encode`, which int8 and uint8 of one text need; not in
                sentence-transformers.
            task: ``"query"``, ``"document"``, or a task of the model's Router. Where the bundle is one of a
                Router's routes, a task of another route is refused.

        Returns:
            ``[dimension]`` for a string, ``[n, dimension]`` for a sequence. For ``"token_embeddings"``, a
            tensor ``[tokens, hidden]`` or a list of them. For None, a dictionary or a list of them, where
            ``truncate_dim`` shortens the sentence embedding. They hold no padding; those of
            sentence-transformers do where several texts are encoded.

        Raises:
            InvalidTextError: not a string, or a lone surrogate.
            OptionError: a value is invalid.
            DependencyMissingError: the result has tensors, and torch is not installed.
            TypeError: there are no texts, or they are passed under both names.
        """
        del chunk_size
        self._check_task(task)
        _check_output_value(output_value, precision)
        self._check_place(device, pool)
        kept = truncate_dim if truncate_dim is not None else self.truncate_dim
        full = self._encoder.full_dimension
        if kept is not None:
            kept = whole_number("truncate_dim", kept, 1)
        texts, prefix = _strings(_only_one(inputs, sentences)), self._prefix(prompt_name, prompt)
        if output_value != "sentence_embedding":
            prompts = prefix if isinstance(prefix, str) else as_list(prefix, "prompt")
            dimension = None if output_value else min(kept or full, full)
            return self._tokens(texts, prompts, dimension, batch_size, show_progress_bar)
        vectors = self._encoder.encode(
            texts,
            prompt=prefix,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            precision=precision or "float32",
            normalize_embeddings=normalize_embeddings,
            truncate_dim=min(kept or full, full),
            ranges=ranges,
        )
        return _converted(vectors, convert_to_numpy, convert_to_tensor)

    def _tokens(
        self,
        texts: Any,
        prompts: str | list[str],
        dimension: int | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
    ) -> Any:
        """Vectors of tokens, or everything about each text, with sentence embeddings of ``dimension``."""
        torch = import_torch()
        encoder = self._encoder
        found = encoder.encode_with_tokens(texts, None, prompts, batch_size, show_progress_bar)
        encoded = [found] if isinstance(found, EncodedText) else found
        if dimension is None:
            tensors = [torch.from_numpy(text.token_embeddings) for text in encoded]
        else:
            each = [prompts] * len(encoded) if isinstance(prompts, str) else prompts
            lengths = map(cache(encoder.tokenizer.prompt_length), each)
            tensors = [
                features(text, length, dimension) for text, length in zip(encoded, lengths, strict=True)
            ]
        return tensors[0] if isinstance(found, EncodedText) else tensors

    def encode_query(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """:meth:`encode` with the prompt ``query``, if there is one and no other is asked for."""
        self._check_task("query")
        if prompt_name is None and prompt is None:
            prompt_name = query_prompt_name(self.prompts)
        return self.encode(inputs, prompt_name, prompt, *args, **kwargs)

    def encode_document(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """:meth:`encode` with the first of ``document``, ``passage`` and ``corpus`` that there is."""
        self._check_task("document")
        if prompt_name is None and prompt is None:
            prompt_name = document_prompt_name(self.prompts)
        return self.encode(inputs, prompt_name, prompt, *args, **kwargs)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Similarity of all pairs of vectors: ``[n, m]``, a tensor if an argument is one."""
        a, b = outputs.comparable(_array(embeddings1), _array(embeddings2))
        return _like(outputs.similarity(a, b, self._similarity), embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Similarity of the vectors in the same row: ``[n]``, a tensor if an argument is one."""
        a, b = outputs.comparable(_array(embeddings1), _array(embeddings2))
        if len(a) != len(b):
            raise OptionError(f"{len(a)} and {len(b)} vectors are not pairs; use similarity().")
        return _like(_pairwise(a, b, self._similarity), embeddings1, embeddings2)

    @property
    def similarity_fn_name(self) -> str:
        """``cosine``, ``dot``, ``euclidean`` or ``manhattan``; can be set."""
        return self._similarity

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: Any) -> None:
        name = getattr(value, "value", value)  # sentence-transformers has an enumeration of them
        if name not in SIMILARITIES:
            raise OptionError(
                f"similarity_fn_name={value!r} is unknown; use one of {', '.join(SIMILARITIES)}."
            )
        self._similarity: str = name

    @property
    def device(self) -> str:
        """``"cpu"`` or the GPU, as sentence-transformers would name it."""
        return "cpu" if self._gpu is None else f"cuda:{self._gpu}"

    @property
    def max_seq_length(self) -> int:
        """Longest input in tokens, special tokens included. Can be set, but not above the bundle's own."""
        return self._encoder.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        tokenizer = self._encoder.tokenizer
        least = tokenizer.special_tokens + 1
        value = whole_number("max_seq_length", value, least, self._longest)
        self._encoder = copy(self._encoder)  # copies of this model stay as they are
        self._encoder.tokenizer = tokenizer.limited(value)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers' ``PreTrainedTokenizerFast``, a copy. Needs transformers, not torch.

        Raises:
            DependencyMissingError: transformers is not installed.
        """
        length = self.max_seq_length
        if self._tokenizers.keys() != {length}:
            self._tokenizers = {length: hf_tokenizer(self._encoder)}
        return self._tokenizers[length]

    def preprocess(self, inputs: Any, prompt: str | None = None) -> Any:
        """Token ids and attention mask of texts, as tensors of torch, padded to the longest of them.

        Raises:
            DependencyMissingError: transformers is not installed.
        """
        texts = [(prompt or "") + text for text in _strings(inputs)]
        return self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")

    def tokenize(self, texts: Any) -> Any:
        """The older name of :meth:`preprocess`."""
        return self.preprocess(texts)

    def get_max_seq_length(self) -> int:
        """The older name of :attr:`max_seq_length`."""
        return self.max_seq_length

    def get_embedding_dimension(self) -> int:
        """Length of the vectors that :meth:`encode` gives."""
        full = self._encoder.full_dimension
        return min(full, self.truncate_dim or full)

    def get_sentence_embedding_dimension(self) -> int:
        """The older name of :meth:`get_embedding_dimension`."""
        return self.get_embedding_dimension()

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Within the block, :meth:`encode` keeps only this many dimensions."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings

    def set_pooling_include_prompt(self, include_prompt: bool) -> None:
        """Check that the bundle pools prompts in this way, which is fixed at export.

        Raises:
            OptionError: it pools them otherwise.
        """
        if include_prompt != self._encoder.info["include_prompt"]:
            raise OptionError(
                f"this bundle was exported with include_prompt={not include_prompt}; set it in "
                "sentence-transformers, save the model and export it again."
            )

    def __repr__(self) -> str:
        return f"SentenceTransformer({self._encoder!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_tokenizers": {}}  # made again when needed

    def eval(self) -> SentenceTransformer:
        """The model itself: it never trains."""
        return self

    def to(self, device: Any) -> SentenceTransformer:
        """The model itself.

        Raises:
            OptionError: another device than the one it is on.
        """
        self._check_place(device, None)
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        reason = NOT_OFFERED.get(name, "is not an attribute of a bundle's SentenceTransformer.")
        raise AttributeError(f"{name} {reason}")

    def _check_place(self, device: Any, pool: Any) -> None:
        check_place(device, pool, self.device)

    def _check_task(self, task: str | None) -> None:
        route = self._encoder.bundle.manifest.route
        known = sorted({"query", "document", *(route.tasks if route else ())})
        if task is not None and task not in known:
            raise OptionError(f"task={task!r}: this model has no such task; it has {', '.join(known)}.")
        check_task(route, task)

    def _prefix(self, prompt_name: str | None, prompt: str | Iterable[str] | None) -> str | Iterable[str]:
        """An empty string for None, so that the bundle's default prompt is not used."""
        if prompt is not None:
            return prompt
        name = prompt_name if prompt_name is not None else self.default_prompt_name
        return "" if name is None else self._prompt(name)

    def _prompt(self, name: str) -> str:
        check_text("prompt_name", name)
        return named_prompt(self.prompts, name)


def _check_output_value(value: Any, precision: Any) -> None:
    if value not in _OUTPUT_VALUES:
        raise OptionError(
            f"output_value={value!r} is unknown; use 'sentence_embedding', 'token_embeddings' or None."
        )
    if value != "sentence_embedding" and precision not in (None, "float32"):
        raise OptionError(
            f"precision={precision!r} is for sentence embeddings; output_value={value!r} is float32 only."
        )


def _strings(inputs: Any) -> Any:
    """The texts of one or several dictionaries. Other values are returned unchanged."""
    if isinstance(inputs, str):
        return inputs
    if isinstance(inputs, Mapping):
        return _text(inputs)
    return [_text(each) for each in as_iterator(inputs)]


def _text(each: Any) -> Any:
    if not isinstance(each, Mapping):
        return each
    if each.keys() != {"text"}:
        raise InvalidTextError(f"a text is given as {{'text': …}}, and not with {', '.join(map(str, each))}.")
    return each["text"]


def _only_one(inputs: Any, sentences: Any) -> Any:
    if (inputs is None) == (sentences is None):
        raise TypeError("encode() takes texts as `inputs`, or as `sentences`, and not as both.")
    return sentences if inputs is None else inputs


def _converted(vectors: npt.NDArray[Any], to_numpy: bool, to_tensor: bool) -> Any:
    if to_numpy and not to_tensor:
        return vectors
    tensor = import_torch().from_numpy(vectors)
    return tensor if to_tensor or vectors.ndim == 1 else list(tensor)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # if torch was never imported, there are no tensors
    if torch is None:
        return False
    return isinstance(value[0] if isinstance(value, list) and value else value, torch.Tensor)


def _array(vectors: Any) -> Vectors:
    if _is_tensor(vectors):
        rows = vectors if isinstance(vectors, list) else [vectors]
        arrays = [row.detach().cpu().float().numpy() for row in rows]
        vectors = arrays if isinstance(vectors, list) else arrays[0]
    return float_array("embeddings", vectors)


def _like(scores: Vectors, *given: Any) -> Any:
    if not any(map(_is_tensor, given)):
        return scores
    return import_torch().from_numpy(scores)


def _pairwise(a: Vectors, b: Vectors, function: str) -> Vectors:
    if function == "cosine":
        a, b = outputs.normalize(a), outputs.normalize(b)
    if function in ("cosine", "dot"):
        scores = np.einsum("nd,nd->n", a, b)
    else:
        scores = -np.linalg.norm(a - b, ord=2 if function == "euclidean" else 1, axis=1)
    rounded: Vectors = scores.astype(np.float32)
    return rounded
