"""Encoding a stream of texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import check_batch_size, whole_number
from m3e_runtime.containers import as_iterator
from m3e_runtime.encoding.base import WINDOW, EncoderBase
from m3e_runtime.errors import OptionError
from m3e_runtime.outputs import OutputOptions, OutputPrecision
from m3e_runtime.prompts import prompt_for_each

__all__ = ["StreamEncoding"]


class StreamEncoding(EncoderBase):
    """Streams of texts, for :class:`m3e_runtime.Encoder`."""

    def encode_iter(
        self,
        sentences: Iterable[str],
        prompt_name: str | None = None,
        prompt: str | Iterable[str] | None = None,
        batch_size: int | None = None,
        precision: OutputPrecision = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        ranges: npt.NDArray[np.float32] | None = None,
        window: int = WINDOW,
    ) -> Iterator[npt.NDArray[Any]]:
        """Encode a stream of any length in bounded memory: one vector per text, in order.

        Args:
            sentences: any iterable of texts; it is read up to ``window`` texts ahead.
            window: texts tokenized and sorted together.
            prompt_name: as in :meth:`encode`, like the other arguments.
            prompt: as in :meth:`encode`; those for each text may be any iterable.
            batch_size: as in :meth:`encode`.
            precision: as in :meth:`encode`; int8 and uint8 need ``ranges`` here.
            normalize_embeddings: as in :meth:`encode`.
            truncate_dim: as in :meth:`encode`.
            ranges: as in :meth:`encode`.

        Yields:
            ``[dimension]`` vectors.

        Raises:
            InvalidTextError: not a string, or a lone surrogate.
            OptionError: as :meth:`encode`, and int8 or uint8 without ``ranges``.
        """
        texts = as_iterator(sentences)
        prompts = self._prompts(prompt_name, prompt)
        options = self.output_options(truncate_dim, normalize_embeddings, precision, ranges)
        check_batch_size(batch_size)
        window = whole_number("window", window, 1, why=": so many texts are read ahead")
        if precision in ("int8", "uint8") and ranges is None:
            raise OptionError(f"precision={precision!r} in a stream needs ranges, float32 [2, dimension].")
        return self._stream(
            texts,
            window,
            prompts if isinstance(prompts, str) else as_iterator(prompts),
            batch_size,
            options,
        )

    def _stream(
        self,
        texts: Iterator[str],
        window: int,
        prompts: str | Iterator[str],
        batch_size: int | None,
        options: OutputOptions,
    ) -> Iterator[npt.NDArray[Any]]:
        while chunk := list(islice(texts, window)):
            some = (
                prompts if isinstance(prompts, str) else prompt_for_each(islice(prompts, len(chunk)), chunk)
            )
            vectors = np.empty((len(chunk), self.full_dimension), dtype=np.float32)
            self._encode_into(vectors, chunk, some, batch_size, None)
            yield from options.apply(vectors)
