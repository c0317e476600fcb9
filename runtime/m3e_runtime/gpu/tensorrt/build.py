"""From an ONNX graph to a serialized engine."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3e_runtime.cache import keep_file
from m3e_runtime.errors import EngineBuildError, OptionError
from m3e_runtime.gpu.batch_shapes import BatchSize, layout_for
from m3e_runtime.gpu.driver import find_gpu
from m3e_runtime.gpu.tensorrt.layers import EngineLayer, read_layers
from m3e_runtime.gpu.tensorrt.monitor import make_logger, make_monitor
from m3e_runtime.gpu.tensorrt.options import EngineOptions, Profile
from m3e_runtime.gpu.tensorrt.package import TensorRT
from m3e_runtime.progress import progress_bar

__all__ = ["BuiltEngine", "build_engine", "choose_capabilities", "parse_graph", "set_capabilities"]

logger = logging.getLogger(__name__)

_USUAL_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")
"""TensorRT-RTX builds for these by default. Older GPUs on request only, since they cost these speed."""


@dataclass(frozen=True)
class BuiltEngine:
    """A serialized engine, its layers, and its compute capabilities."""

    plan: bytes
    layers: tuple[EngineLayer, ...]
    compute_capabilities: tuple[str, ...]


def build_engine(
    trt: TensorRT, graph: Path, options: EngineOptions, show_progress: bool | None = None
) -> BuiltEngine:
    """Build an engine for ``graph``, an ONNX file with the inputs of one of the layouts.

    Types are the graph's own (a strongly typed network): fp16 and int8 are what its casts and its
    quantization operators say.

    Raises:
        EngineBuildError: the graph cannot be parsed or built. The message quotes TensorRT.
        EngineMissingError: the package needs a GPU to build, and there is none.
        OptionError: a compute capability that the package does not know.
    """
    capabilities = choose_capabilities(trt, options.compute_capabilities)
    log = make_logger(trt)
    builder = trt.module.Builder(log)
    network, parser = parse_graph(trt, builder, graph, log)
    config = builder.create_builder_config()
    _configure(trt, config, options)
    _add_profiles(builder, network, config, options.profiles)
    set_capabilities(trt, config, capabilities)
    cache = _TimingCache(trt, config, options.timing_cache)
    with progress_bar(None, "step", f"Building with {trt.name}", show_progress) as bar:
        monitor = make_monitor(trt, bar)  # the builder keeps no reference to it
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
    del parser  # it owns the weights that the network points to
    if plan is None:
        raise EngineBuildError(
            f"{graph}: {trt.name} {trt.version} cannot build an engine: {_words(log.errors)}"
        )
    cache.keep()
    return BuiltEngine(bytes(plan), read_layers(log.layers), capabilities)


def parse_graph(trt: TensorRT, builder: Any, graph: Path, log: Any) -> tuple[Any, Any]:
    """The network of an ONNX file, and the parser, which must outlive it.

    Raises:
        EngineBuildError: the parser rejects it.
    """
    flags = 1 << int(trt.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.module.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        errors = (parser.get_error(i) for i in range(parser.num_errors))
        problems = [f"{error.node_operator() or 'the file'}: {error.desc()}" for error in errors]
        raise EngineBuildError(
            f"{graph}: {trt.name} {trt.version} cannot read the graph: {_words(problems or log.errors)}"
        )
    return network, parser


def _add_profiles(builder: Any, network: Any, config: Any, profiles: tuple[Profile, ...]) -> None:
    names = [network.get_input(index).name for index in range(network.num_inputs)]
    for each in profiles:
        profile = builder.create_optimization_profile()
        least, usual, most = (_shapes(names, each, at) for at in ("least", "usual", "most"))
        for name in names:
            profile.set_shape(name, least[name], usual[name], most[name])
        config.add_optimization_profile(profile)


def _shapes(names: list[str], profile: Profile, at: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs ``names``, which tell the layout, at one end of a profile or in its middle."""
    texts, tokens = getattr(profile.texts, at), getattr(profile.tokens, at)
    # Sizes are given here, so that the longest text of a model does not matter.
    name = "packed" if "cumulative_lengths" in names else "padded"
    layout = layout_for(name, tokens, token_types="token_type_ids" in names)
    shapes = layout.shapes(BatchSize(texts, tokens, tokens, recorded=False))
    if not set(names) <= set(shapes):
        raise EngineBuildError(f"the graph takes {sorted(names)}, not the inputs of a bundle's model.")
    return shapes


def _configure(trt: TensorRT, config: Any, options: EngineOptions) -> None:
    library = trt.module
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    # With names only, the log would not show the types of the layers.
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    if options.strip_weights:
        config.set_flag(library.BuilderFlag.STRIP_PLAN)
    if options.refit:
        config.set_flag(library.BuilderFlag.REFIT)
    if options.hardware_compatible and trt.name == "tensorrt":
        config.hardware_compatibility_level = library.HardwareCompatibilityLevel.AMPERE_PLUS


def choose_capabilities(trt: TensorRT, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The compute capabilities of an engine, as ``"8.9"``: ``wanted``, or the default ones.

    Raises:
        EngineMissingError: the package builds for the GPU at hand, and there is none.
        OptionError: one that the package does not know, or any where it takes the GPU at hand.
    """
    if trt.needs_gpu_to_build:
        if wanted:
            raise OptionError(f"{trt.name} builds for the GPU at hand: leave --compute-capability out.")
        return (find_gpu().compute_capability,)
    known = _known_capabilities(trt)
    for capability in wanted:
        if capability not in known:
            raise OptionError(
                f"compute capability {capability!r}: {trt.name} {trt.version} knows {', '.join(known)}."
            )
    return wanted or _USUAL_CAPABILITIES


def _known_capabilities(trt: TensorRT) -> dict[str, Any]:
    members = trt.module.ComputeCapability.__members__.items()
    return {f"{name[2:-1]}.{name[-1]}": value for name, value in members if name.startswith("SM")}


def set_capabilities(trt: TensorRT, config: Any, capabilities: tuple[str, ...]) -> None:
    """Set the GPUs to build for.

    By default the builder asks the driver for the present GPU, and there may be none.
    """
    if trt.needs_gpu_to_build:
        return
    known = _known_capabilities(trt)
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(known[capability], index)


class _TimingCache:
    """Kernel timings of earlier builds, which save time and make the choice of kernels reproducible."""

    def __init__(self, trt: TensorRT, config: Any, path: str | None) -> None:
        self._config = config
        self._path = Path(path) if path and trt.needs_gpu_to_build else None
        if self._path:
            content = self._path.read_bytes() if self._path.exists() else b""
            cache = config.create_timing_cache(content)
            if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
                logger.warning("%s is damaged or of another GPU, and begun anew.", self._path)
                config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

    def keep(self) -> None:
        """Write the timings of this build. A failure is only logged."""
        cache = self._config.get_timing_cache() if self._path else None
        if self._path is not None and cache is not None:
            keep_file(self._path, bytes(cache.serialize()))


def _words(messages: list[str]) -> str:
    return " | ".join(dict.fromkeys(messages)) or "it gives no reason"
