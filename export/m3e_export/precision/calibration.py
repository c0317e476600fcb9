"""Running the original model on the calibration texts or pairs, to sample the inputs of every matrix."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import LayerWeights, Linear
from m3e_export.checkpoint import Checkpoint
from m3e_export.checkpoint.pooling import pooling_spec
from m3e_export.inputs import ModelInputs
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.oracle.numpy_oracle import pooled
from m3e_export.parallel import parallel_map
from m3e_export.precision.input_sample import InputSample, rows_of_texts
from m3e_runtime.planning import Batch, plan_packed

__all__ = ["Calibration", "calibrate"]

_TOKENS = 512
"""Tokens of a group of texts, which one thread computes."""

_GROUPS = 4
"""Groups whose inputs of one layer are in memory together."""

Array = npt.NDArray[np.float32]


@dataclass
class Calibration:
    """The texts, their vectors by the original, float32 ``[n, d]``, and samples of each matrix's inputs."""

    inputs: ModelInputs
    vectors: Array
    samples: dict[str, InputSample] = field(default_factory=dict)


def calibrate(
    checkpoint: Checkpoint, inputs: ModelInputs, tick: Callable[[int], object], folder: Path
) -> Calibration:
    """Run ``inputs`` through the numpy forward pass; ``tick`` is called with 1 after each layer.

    Temporary files in ``folder`` hold what is too large for memory.
    """
    groups = _grouped(checkpoint, inputs)
    samples: dict[str, InputSample] = {}
    layers = checkpoint.weights.layers
    last_uses = {id(layer): place for place, layer in enumerate(layers)}
    for place, layer in enumerate(layers):
        for start in range(0, len(groups), _GROUPS):
            some = groups[start : start + _GROUPS]
            seen = list(parallel_map(functools.partial(_Group.enter, place=place), some))
            _add(samples, layer, some, seen)
        if last_uses[id(layer)] == place:
            for linear in layer.linears():
                samples[linear.name].store(folder)
        tick(1)
    vectors = np.empty((len(inputs), checkpoint.dimension), np.float32)
    for group, found in zip(groups, parallel_map(_Group.vectors, groups), strict=True):
        vectors[group.indices] = found
    return Calibration(inputs, vectors, samples)


def _grouped(checkpoint: Checkpoint, inputs: ModelInputs) -> list[_Group]:
    rows = rows_of_texts(len(inputs))

    def group(batch: Batch) -> _Group:
        texts = batch.indices.tolist()
        return _Group(checkpoint, texts, inputs.at(texts), [rows[at] for at in texts])

    return list(parallel_map(group, plan_packed(inputs.lengths, _TOKENS)))


class _Group:
    """Some of the texts, on their way through the layers.

    ``indices`` are their places among all texts, ``rows`` the numbers of their tokens to sample.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        indices: Sequence[int],
        inputs: ModelInputs,
        rows: Sequence[int],
    ) -> None:
        self.indices = indices
        self.rows = rows
        self._checkpoint = checkpoint
        self._token_ids = inputs.ids
        self._lengths = inputs.lengths.tolist()
        self._seen: list[Array] = []
        self._forward = NumpyForward(checkpoint.spec, checkpoint.weights, self._observe)
        self._states = [self._forward.embedded(inputs.ids, inputs.types)]
        self._seen.clear()  # a projection of embeddings stays in float
        self._kept = _first_states(checkpoint)

    def enter(self, place: int) -> list[Array]:
        """Compute layer ``place``, the next; return the inputs of its matrices in their order."""
        x = self._forward.layer(place, self._states[-1], self._lengths)
        self._states[self._kept :] = [x]
        seen, self._seen = self._seen, []
        return seen

    def _observe(self, linear: Linear, x: Array) -> None:
        del linear
        self._seen.append(x)

    def of_texts(self, values: Array) -> Iterator[Array]:
        """The rows of each text in ``values``, ``[tokens, width]``."""
        for begin, end in pairwise(accumulate(self._lengths, initial=0)):
            yield values[begin:end]

    def vectors(self) -> Array:
        """The texts' vectors after the last layer, float32 ``[texts, dimension]``."""
        return pooled(self._checkpoint, self._forward, self._token_ids, self._states)


def _first_states(checkpoint: Checkpoint) -> int:
    """How many states the pooling takes besides the last: all, the first two or none."""
    if checkpoint.state_weights is not None:
        return checkpoint.spec.layers
    return 0 if pooling_spec(checkpoint.sentence_config.pooling).early is None else 2


def _add(
    samples: dict[str, InputSample],
    layer: LayerWeights,
    groups: Sequence[_Group],
    seen: Sequence[Sequence[Array]],
) -> None:
    """Add the inputs of a layer's matrices, ``seen`` by each of ``groups``, to ``samples``."""
    work: list[Callable[[], None]] = []
    for linear, inputs in zip(layer.linears(), zip(*seen, strict=True), strict=True):
        sample = samples.setdefault(linear.name, InputSample(len(linear.weight)))
        work.append(functools.partial(_add_texts, sample, groups, inputs))
        work += [functools.partial(sample.products.add, tile, inputs) for tile in sample.products.tiles]
    for _ in parallel_map(lambda add: add(), work):
        pass


def _add_texts(sample: InputSample, groups: Sequence[_Group], inputs: Sequence[Array]) -> None:
    for group, x in zip(groups, inputs, strict=True):
        for text, rows in zip(group.of_texts(x), group.rows, strict=True):
            sample.add_text(text, rows)
