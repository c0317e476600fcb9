"""The reranker for asyncio, which scores the pairs of many callers together."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

from m3e_runtime.arguments import check_flag
from m3e_runtime.pair_inputs import PairInput, as_pairs, ranking_pairs, with_prompt
from m3e_runtime.pairs import TokenizedPairs
from m3e_runtime.reranker import Reranker
from m3e_runtime.scheduling.async_model import AsyncModel
from m3e_runtime.scheduling.request import Encoded, Priority
from m3e_runtime.scores import ActivationFn, activate, check_top_k, ranked

__all__ = ["AsyncReranker"]


class AsyncReranker(AsyncModel[Reranker]):
    """Scores pairs for many asyncio tasks with one engine, through the queue of :class:`AsyncEncoder`.

    The scores are those of :meth:`Reranker.predict`, bit for bit if ``Reranker.info["batch_invariant"]``.

    Args:
        model: the reranker to use. Closing this object does not close it.
        limits: limits of the queue, in pairs and tokens. Calls beyond them are rejected.
        run_seconds: approximate maximum duration of one run of the engine.
        on_run: called in the event loop after each run of the engine.
        lane: shared with the other models of this process, whose engines take turns; None: it has no others.

    Example:
        >>> async def main():
        ...     async with AsyncReranker(Reranker.load("bge-reranker-base-int8")) as reranker:
        ...         return await reranker.rank("人口有多少?", ["柏林有三百五十万人口。", "博物馆"])
    """

    @property
    def reranker(self) -> Reranker:
        """The reranker that it uses."""
        return self._model

    async def warm_up(self) -> None:
        """Score until the speed of the engine is measured. The first runs take longer than others."""
        await self.predict(("", ""))
        half = "a " * self.reranker.max_length
        longest = self.reranker.tokenize([(half, half)])  # not counted as cut

        def score(count: int) -> Awaitable[object]:
            many = TokenizedPairs(longest.ids * count, longest.types * count, longest.cut * count)
            return self.score_tokens(many)

        await self._measure(len(longest.ids[0]), score)

    async def predict(
        self,
        sentences: str | Sequence[str] | Iterable[str | Sequence[str]],
        prompt_name: str | None = None,
        prompt: str | None = None,
        activation_fn: str | ActivationFn | None = None,
        apply_softmax: bool = False,
        priority: Priority = "query",
    ) -> Any:
        """Score one pair of texts or a list of pairs, as :meth:`Reranker.predict` does.

        Args:
            sentences: as in :meth:`Reranker.predict`, like the next four.
            prompt_name: see ``sentences``.
            prompt: see ``sentences``.
            activation_fn: see ``sentences``.
            apply_softmax: see ``sentences``.
            priority: ``"query"``, or ``"document"`` for pairs that queries may overtake.

        Returns:
            float32 ``[n]`` or ``[n, labels]``; for a single pair a number, or ``[labels]``.

        Raises:
            OverloadedError: too much is waiting. ``retry_after`` says after how many seconds to try again.
            InvalidTextError: as :meth:`Reranker.predict`.
            OptionError: as :meth:`Reranker.predict`, and an unknown priority.
            EngineRunError: the engine failed.
            ClosedError: it is closed.
        """
        function = self.reranker.activation(activation_fn)
        check_flag("apply_softmax", apply_softmax)
        pairs, is_single = as_pairs(sentences)
        pairs = with_prompt(self.reranker.prefix(prompt_name, prompt), pairs)
        with self._call():
            tokens = await self.tokenize(pairs, priority)
            encoded = await self.score_tokens(tokens, priority)
        scores = activate(encoded.vectors, function, bool(apply_softmax))
        return scores[0] if is_single else scores

    async def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        activation_fn: str | ActivationFn | None = None,
        priority: Priority = "query",
    ) -> list[dict[str, Any]]:
        """Rank documents by their relevance to a query, as :meth:`Reranker.rank` does.

        Args:
            query: as in :meth:`Reranker.rank`, like the next six.
            documents: see ``query``.
            top_k: see ``query``.
            return_documents: see ``query``.
            prompt_name: see ``query``.
            prompt: see ``query``.
            activation_fn: see ``query``.
            priority: as in :meth:`predict`.

        Returns:
            As :meth:`Reranker.rank`.

        Raises:
            M3EError: as :meth:`predict`.
            OptionError: as :meth:`predict`, and a model of several labels.
        """
        self.reranker.check_ranks()
        check_flag("return_documents", return_documents)
        top_k = check_top_k(top_k)
        texts, pairs = ranking_pairs(query, documents)
        scores = await self.predict(pairs, prompt_name, prompt, activation_fn, priority=priority)
        return ranked(scores, texts, top_k, bool(return_documents))

    async def tokenize(
        self, pairs: Sequence[PairInput], priority: Priority = "query", truncate: bool = True
    ) -> TokenizedPairs:
        """Token ids and types of pairs. Many characters are tokenized in another thread.

        Args:
            pairs: tuples of one or two texts, prompts included.
            priority: as in :meth:`predict`.
            truncate: truncate pairs that are too long instead of raising an error.

        Raises:
            OverloadedError: as :meth:`predict`, before any work is done.
            InvalidTextError: a text is not a string, or has a lone surrogate.
            TextTooLongError: a pair is too long, and ``truncate`` is false.
        """
        pairs, _ = as_pairs(list(pairs))
        characters = sum(len(text) for pair in pairs for text in pair)
        tokens = await self._tokenized(
            len(pairs), characters, priority, lambda: self.reranker.tokenize(pairs, truncate)
        )
        self.reranker.cut_pairs.add(tokens.cut, self.reranker.max_length)
        return tokens

    async def score_tokens(
        self, tokens: TokenizedPairs, priority: Priority = "query", seconds: float = math.inf
    ) -> Encoded:
        """Logits of pairs from their token ids, as :meth:`tokenize` returns them: float32 ``[n, labels]``.

        Args:
            tokens: the token ids and types of each pair.
            priority: as in :meth:`predict`.
            seconds: the caller's timeout. A request that would take longer is rejected before it starts.

        Raises:
            BatchTooLargeError: it takes longer than ``seconds``, even if nothing else is waiting.
            OverloadedError: too much is waiting, or too much to finish in ``seconds``.
            OptionError: an unknown priority.
            EngineRunError: the engine failed.
            ClosedError: it is closed.
        """
        types = self.reranker.token_types(tokens.types)
        return await self._compute(tokens.ids, priority, seconds, token_types=types)
