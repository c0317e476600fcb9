"""Finds out whether TensorRT has an attention kernel for packed texts; that depends on version and GPU."""

from __future__ import annotations

from typing import Any

from m3e_runtime.gpu.tensorrt.build import set_capabilities
from m3e_runtime.gpu.tensorrt.monitor import make_logger
from m3e_runtime.gpu.tensorrt.package import TensorRT

__all__ = ["why_not_packed"]

_TOKENS = (1, 64, 512)
_ENDS = (2, 3, 9)


def why_not_packed(trt: TensorRT, heads: int, head_size: int, capabilities: tuple[str, ...]) -> str | None:
    """The reason why engines for ``capabilities`` have no packed attention in fp16, or None if they have.

    It builds an engine of one attention to find out. Without a kernel that fails at once.
    """
    library = trt.module
    if not (hasattr(library, "AttentionIOForm") and hasattr(library.INetworkDefinition, "add_attention_v2")):
        return f"{trt.name} {trt.version} does not know packed texts"
    log = make_logger(trt)
    builder = library.Builder(log)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    config = builder.create_builder_config()
    set_capabilities(trt, config, capabilities)
    shapes = _add_attention(library, network, heads, head_size)
    profile = builder.create_optimization_profile()
    for name, (least, usual, most) in shapes.items():
        profile.set_shape(name, least, usual, most)
    config.add_optimization_profile(profile)
    if builder.build_serialized_network(network, config) is not None:
        return None
    return f"{trt.name} {trt.version}: {_first_sentence(log.errors)}"


def _add_attention(
    library: Any, network: Any, heads: int, head_size: int
) -> dict[str, list[tuple[int, ...]]]:
    """One attention with inputs and an output; returns each input's smallest, usual and largest shape."""
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def take(name: str, dtype: Any, first: tuple[int, ...], *rest: int) -> Any:
        shapes[name] = [(size, *rest) for size in first]
        return network.add_input(name, dtype, (-1, *rest))

    states = [take(name, library.DataType.HALF, _TOKENS, heads, head_size) for name in ("q", "k", "v")]
    attention = network.add_attention_v2(
        *states, library.AttentionNormalizationOp.SOFTMAX, library.CausalMaskKind.NONE
    )
    attention.query_form = attention.key_value_form = library.AttentionIOForm.PACKED_NHD
    attention.query_lengths = take("q_ends", library.DataType.INT32, _ENDS)
    attention.key_value_lengths = take("kv_ends", library.DataType.INT32, _ENDS)
    network.mark_output(attention.get_output(0))
    return shapes


def _first_sentence(errors: list[str]) -> str:
    """The builder's first sentence, without its advice."""
    return errors[0].split(". ")[0].strip() if errors else "it gives no reason"
