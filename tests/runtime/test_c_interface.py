"""The C interface as other languages use it: the installed header and library, the example, CMake."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu, c_interface_folder

_EXAMPLE = Path(__file__).parents[2] / "runtime" / "native" / "examples" / "encode.c"
_TEXTS = [[2, 5, 6, 7, 3], [2, 5, 6, 8, 9, 3]]  # the token ids in the example

pytestmark = [
    pytest.mark.skipif(native.missing() is not None, reason=str(native.missing())),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)


def build_with_compiler(folder):
    engine = c_interface_folder()
    library = engine / "lib"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{engine / 'include'}"]
    link = [f"-L{library}", f"-Wl,-rpath,{library}", "-lm3e", "-lm"]
    built = run("cc", *flags, _EXAMPLE, *link, "-o", folder / "encode")
    assert built.returncode == 0, built.stderr
    return folder / "encode"


def build_with_cmake(folder):
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake")
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.15)\nproject(example C)\nfind_package(m3e REQUIRED)\n"
        f"add_executable(encode {_EXAMPLE})\ntarget_link_libraries(encode m3e::m3e m)\n"
    )
    made = run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={c_interface_folder()}")
    assert made.returncode == 0, made.stdout + made.stderr
    built = run("cmake", "--build", folder / "build")
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "build" / "encode"


@pytest.mark.parametrize("build", [build_with_compiler, build_with_cmake])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_example_computes_what_python_does(build, precision, minilm_bundle, tmp_path):
    artifact = minilm_bundle / "native" / f"model_{precision}_native.safetensors"
    shown = run(build(tmp_path), artifact)
    assert shown.returncode == 0, shown.stderr
    engine = NativeCpu(artifact, 2)
    a, b = engine.run([np.array(ids, dtype=np.int32) for ids in _TEXTS]).astype(np.float64)
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    assert shown.stdout == f"{engine.instruction_set}: {len(a)} dimensions, cosine {cosine:.6f}\n"


def test_prompts_are_left_out_of_the_pooling(minilm_bundle):
    artifact = minilm_bundle / "native" / "model_fp32_native.safetensors"
    library = ctypes.CDLL(next((c_interface_folder() / "lib").glob("libm3e.*")))
    encoder, message = ctypes.c_void_p(), ctypes.create_string_buffer(512)
    assert library.m3e_load(str(artifact).encode(), None, ctypes.byref(encoder), message) == 0
    library.m3e_encode_prompted.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t] + [ctypes.c_void_p] * 2
    ids, offsets = np.concatenate(_TEXTS).astype(np.int32), np.array([0, 5, 11], np.int64)
    vectors = np.empty((2, 384), np.float32)

    def encode(prompts):
        given = None if prompts is None else np.array(prompts, np.int64).ctypes.data_as(ctypes.c_void_p)
        return library.m3e_encode_prompted(
            encoder, ids.ctypes.data, offsets.ctypes.data, given, 2, vectors.ctypes.data, message
        )

    engine = NativeCpu(artifact, 1)
    texts = [np.array(text, np.int32) for text in _TEXTS]
    for prompts in (None, [0, 0], [2, 0], [3, 6]):
        assert encode(prompts) == 0
        np.testing.assert_array_equal(vectors, engine.run(texts, prompts))
    assert encode([0, -1]) == 1
    assert b"text 1 has a prompt of -1 tokens" in message.value
    library.m3e_free(encoder)


def test_hidden_states_of_tokens(tiny_bundle):
    artifact = tiny_bundle / "native" / "model_fp32_native.safetensors"
    library = ctypes.CDLL(next((c_interface_folder() / "lib").glob("libm3e.*")))
    encoder, message = ctypes.c_void_p(), ctypes.create_string_buffer(512)
    assert library.m3e_load(str(artifact).encode(), None, ctypes.byref(encoder), message) == 0
    library.m3e_encode_tokens.argtypes = [
        *[ctypes.c_void_p] * 4, ctypes.c_size_t, *[ctypes.c_void_p] * 5
    ]  # fmt: skip
    library.m3e_hidden_size.argtypes = library.m3e_free.argtypes = [ctypes.c_void_p]
    assert library.m3e_hidden_size(encoder) == 64
    ids, offsets = np.concatenate(_TEXTS).astype(np.int32), np.array([0, 5, 11], np.int64)
    vectors, states = np.empty((2, 64), np.float32), np.empty((11, 64), np.float32)
    given = encoder, ids.ctypes.data, offsets.ctypes.data, None, 2, vectors.ctypes.data
    assert library.m3e_encode_tokens(*given, states.ctypes.data, None, None, message) == 0
    expected, each = NativeCpu(artifact, 1).run_tokens([np.array(text, np.int32) for text in _TEXTS])
    np.testing.assert_array_equal(vectors, expected)
    np.testing.assert_array_equal(states, np.concatenate(each))
    assert library.m3e_encode_tokens(*given, None, None, None, message) == 1
    assert message.value == b"states is NULL"
    library.m3e_free(encoder)


def test_errors_are_codes_and_messages(tmp_path):
    program = build_with_compiler(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    for file, reason in (("missing.safetensors", "missing.safetensors"), ("bad.safetensors", "header")):
        shown = run(program, tmp_path / file)
        assert shown.returncode == 4
        assert reason in shown.stderr
