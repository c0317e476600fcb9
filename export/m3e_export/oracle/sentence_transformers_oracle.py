"""The oracle that loads the checkpoint's folder with sentence-transformers.

It uses nothing that this package has read from the folder, so the gate finds a file or setting that this
package misreads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint, Checkpoint
from m3e_export.checkpoint.readable import readable_folder
from m3e_export.checkpoint.router import ROUTER_KINDS
from m3e_export.checkpoint.weights import tensor_names
from m3e_export.errors import CheckpointError, DependencyMissingError, OptionError
from m3e_export.oracle.equal_lengths import equal_lengths
from m3e_export.quiet import quiet
from m3e_runtime.manifest import Route

__all__ = [
    "SentenceTransformersOracle",
    "found_weights",
    "load_original",
    "longest_input",
    "require_original",
    "task_of_route",
]


def require_original(kind: str, since: str, oracle: str) -> None:
    """Check that a model without vectors of texts can be judged by its class ``kind``.

    Args:
        kind: of sentence-transformers.
        since: its first version with the class.
        oracle: the option ``--oracle``.

    Raises:
        DependencyMissingError: the installed version has no such class.
        OptionError: ``oracle`` is ``numpy``.
    """
    if oracle == "numpy":
        raise OptionError(f"--oracle numpy: a {kind} is judged by sentence-transformers only.")
    try:
        import sentence_transformers

        getattr(sentence_transformers, kind)
    except (ImportError, AttributeError) as error:
        raise DependencyMissingError(
            f"a {kind} needs `pip install 'm3e-runtime[torch]' 'sentence-transformers>={since}'`."
        ) from error


def load_original(checkpoint: BaseCheckpoint, kind: str, **options: Any) -> Any:
    """The checkpoint's folder in sentence-transformers' class ``kind``, in float32 on the CPU.

    Raises:
        CheckpointError: sentence-transformers cannot load the folder.
    """
    import sentence_transformers
    import torch

    try:
        with quiet(), readable_folder(checkpoint.folder) as readable:
            return getattr(sentence_transformers, kind)(
                str(readable),
                device="cpu",
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"dtype": torch.float32},
                **options,
            )
    except Exception as error:  # each module raises its own errors
        raise CheckpointError(
            f"{checkpoint.folder}: sentence-transformers {sentence_transformers.__version__} cannot load "
            f"it: {str(error).strip() or type(error).__name__} (--oracle numpy does without it.)"
        ) from error


class SentenceTransformersOracle:
    """Float32 sentence vectors of ``SentenceTransformer(folder)``, without padding."""

    def __init__(self, checkpoint: BaseCheckpoint, max_length: int | None = None) -> None:
        """Load the checkpoint. ``max_length`` replaces its longest input.

        Raises:
            CheckpointError: sentence-transformers cannot load the folder.
        """
        import sentence_transformers
        import torch

        self.name = f"sentence-transformers {sentence_transformers.__version__} / torch {torch.__version__}"
        self._folder = checkpoint.folder
        self._tokenizer = checkpoint.text_tokenizer()
        self._sentence_config = checkpoint.sentence_config
        self._model = load_original(checkpoint, "SentenceTransformer")
        self._model.float()
        self._task = task_of_route(self._model, self._sentence_config.route)
        self._model.default_prompt_name = None  # the gate has its own prompt
        longest = min(self._model.max_seq_length or math.inf, longest_input(checkpoint))
        if max_length is not None or longest < math.inf:
            self._model.max_seq_length = max_length or int(longest)

    @property
    def has_weights(self) -> bool:
        """Whether sentence-transformers found the checkpoint's tensors.

        A trainer may have saved them under other names. sentence-transformers then uses random ones, and only
        logs it.
        """
        first = self._model[0]
        if self._sentence_config.route is not None and first in _routers(self._model):
            first = first.sub_modules[self._sentence_config.route.name][0]
        return found_weights(first.auto_model, self._sentence_config.transformer)

    def encode(
        self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = ""
    ) -> npt.NDArray[np.float32]:
        """Vectors of ``texts``, float32 ``[n, dimension]``, with ``prompt`` before each."""
        order, vectors = [], []
        for group in self._groups([prompt + text for text in texts]):
            vectors.append(self._encode([texts[at] for at in group], prompt))
            order.append(group)
            tick(len(group))
        return np.concatenate(vectors)[np.argsort(np.concatenate(order))]

    def states(self, texts: Sequence[str], tick: Callable[[int], object]) -> list[npt.NDArray[np.float32]]:
        """The last state of each token of ``texts``, float32 ``[tokens, hidden]`` each."""
        found: dict[int, npt.NDArray[np.float32]] = {}
        for group in self._groups(texts):
            some = self._run([texts[at] for at in group], "", output_value="token_embeddings")
            found.update(zip(group.tolist(), (each.numpy() for each in some), strict=True))
            tick(len(group))
        return [found[at] for at in range(len(texts))]

    def _groups(self, texts: Sequence[str]) -> Iterator[npt.NDArray[np.int64]]:
        """Places of texts with equally many tokens, which need no padding. Were a count wrong, they would."""
        return equal_lengths(np.array([len(ids) for ids in self._tokenizer.encode_batch(texts)]))

    def _encode(self, texts: list[str], prompt: str) -> npt.NDArray[np.float32]:
        vectors: npt.NDArray[np.float32] = self._run(texts, prompt, convert_to_numpy=True)
        # If the prompt is the whole text, sentence-transformers' maximum is minus infinity; here it is zero.
        return np.where(np.isneginf(vectors), np.float32(0), vectors)

    def _run(self, texts: list[str], prompt: str, **options: Any) -> Any:
        try:
            return self._model.encode(
                texts,
                prompt=prompt or None,
                batch_size=len(texts),
                show_progress_bar=False,
                **options,
                **self._task,
            )
        except Exception as error:  # the model's code may raise anything, such as an index beyond a table
            longest = max(map(len, texts))
            raise CheckpointError(
                f"{self._folder}: the original model fails on a text of at most {longest} characters: {error}"
            ) from error


def task_of_route(model: Any, route: Route | None) -> dict[str, str]:
    """Arguments of ``model.encode`` in sentence-transformers that select ``route``."""
    for router in _routers(model):
        router.route_mappings = {}  # a task is then the name of a route
    return {} if route is None else {"task": route.name}


def _routers(model: Any) -> list[Any]:
    return [module for module in model if type(module).__name__ in ROUTER_KINDS]


def found_weights(model: Any, folder: Path) -> bool:
    """Whether ``model`` of transformers has the names of the tensors in ``folder``."""
    names, base = model.state_dict().keys(), f"{model.base_model_prefix}."
    return any(name in names or name.removeprefix(base) in names for name in tensor_names(folder))


def longest_input(checkpoint: BaseCheckpoint) -> float:
    """Tokens that the position table allows, if that is known: the original model fails on longer texts.

    Without another limit, sentence-transformers takes RoBERTa's table size, which is two too many.
    """
    return checkpoint.spec.max_positions if isinstance(checkpoint, Checkpoint) else math.inf
