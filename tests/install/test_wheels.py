"""What scripts/build_wheels.py makes: its parts, and the wheels and archives in the folder M3E_DIST."""

import base64
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import build_wheels
import pytest
from cross_build.archive import write_archive
from cross_build.binaries import read_library
from cross_build.files import Entry
from cross_build.platforms import PLATFORMS, find_platforms
from cross_build.self_contained import hide_all_but
from cross_build.wheel import library_in_wheel, write_wheel
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

_EXAMPLE = Path(__file__).parents[2] / "runtime" / "native" / "examples" / "encode.c"
_DIST = Path(os.environ.get("M3E_DIST", "/nowhere"))
_WHEELS, _ARCHIVES = sorted(_DIST.glob("*.whl")), sorted(_DIST.glob("m3e-*.*"))
_PYTHONS = os.environ.get("M3E_PYTHONS", sys.executable).split(os.pathsep)
"""Interpreters that install the wheel of this machine and encode."""
_GLIBC = {"manylinux_2_17_x86_64", "manylinux_2_17_aarch64"}

_OF_INTERPRETERS = {"pip", "setuptools", "wheel", "cffi", "greenlet", "hpy", "readline"}
"""Packages that a new environment holds; PyPy brings the last four."""

needs_dist = pytest.mark.skipif(
    not _WHEELS, reason="M3E_DIST names no folder with wheels: see .ci/run wheels"
)


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- the parts --------------------------------------------------------------------------------------------


def test_the_platforms_are_listed(capsys):
    assert build_wheels.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [platform.name for platform in PLATFORMS]
    assert "manylinux_2_17_x86_64.manylinux2014_x86_64" in lines[0]


def test_an_unknown_platform_is_named_with_those_that_are_known(capsys, tmp_path):
    assert build_wheels.main(["--platform", "linux-m68k", "--work", str(tmp_path)]) == 1
    assert re.search("no platform 'linux-m68k'.*linux-x86_64, ", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def pure(tmp_path):
    """A wheel for every machine."""
    file = tmp_path / "some_name-1.2-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m3e_runtime/__init__.py", "")
        archive.writestr(
            "some_name-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: some_name\nVersion: 1.2\n"
        )
        wheel = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n\n"
        archive.writestr("some_name-1.2.dist-info/WHEEL", wheel)
        archive.writestr("some_name-1.2.dist-info/RECORD", "")
    return file


@pytest.fixture
def installed(tmp_path):
    """What CMake installs."""
    folder = tmp_path / "installed"
    (folder / "m3e_runtime/engine/lib").mkdir(parents=True)
    (folder / "m3e_runtime/engine/lib/libm3e.so").write_bytes(b"library")
    return folder


def recorded(wheel):
    """Names in RECORD whose hash and size are those of the file."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        rows = list(csv.reader(archive.read(name).decode().splitlines()))
        assert sorted(row[0] for row in rows) == sorted(archive.namelist())
        for file, digest, size in rows:
            content = archive.read(file)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            assert file == name or (digest, size) == (f"sha256={expected}", str(len(content)))
        return {row[0] for row in rows}


def tags_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        lines = archive.read(name).decode().splitlines()
    assert "Root-Is-Purelib: false" in lines
    return {line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")}


def test_a_wheel_holds_the_packages_and_the_library(pure, installed, tmp_path):
    (platform,) = find_platforms(["linux-x86_64"])
    licences = [Entry("zig.txt", b"licence")]
    wheel = write_wheel(pure, installed, platform, tmp_path, licences)
    assert wheel.name == "some_name-1.2-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    names = recorded(wheel)
    assert {"m3e_runtime/__init__.py", "m3e_runtime/engine/lib/libm3e.so"} <= names
    assert "some_name-1.2.dist-info/licenses/zig.txt" in names
    assert tags_in(wheel) == {"py3-none-manylinux_2_17_x86_64", "py3-none-manylinux2014_x86_64"}
    first = wheel.read_bytes()
    assert write_wheel(pure, installed, platform, tmp_path, licences).read_bytes() == first


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_an_archive_has_one_folder(installed, tmp_path, suffix):
    link = installed / "m3e_runtime/engine/lib/libm3e.so.2"
    if suffix != ".zip":
        link.symlink_to("libm3e.so")
    file = write_archive(installed, tmp_path / f"m3e-1.2-some{suffix}", [Entry("LICENSE", b"licence")])
    shutil.unpack_archive(file, tmp_path / "unpacked")
    root = tmp_path / "unpacked" / "m3e-1.2-some"
    assert (root / "share/licenses/m3e/LICENSE").read_bytes() == b"licence"
    assert (root / "m3e_runtime/engine/lib/libm3e.so").read_bytes() == b"library"
    assert suffix == ".zip" or (root / "m3e_runtime/engine/lib/libm3e.so.2").is_symlink()


_THROWS = """
#include <stdexcept>
#include <string>
template <class T> struct Counter { static int count; };
template <class T> int Counter<T>::count = 40;
int hidden(const std::string& text) { throw std::runtime_error(text); }
extern "C" int m3e_answer() {
  try { hidden("2"); }
  catch (const std::exception& error) { return Counter<int>::count++ + error.what()[0] - '0'; }
  return 0;
}
"""


@pytest.mark.skipif(not shutil.which("g++") or sys.platform != "linux", reason="needs g++ and ELF")
def test_hidden_symbols_neither_meet_a_programs_own_nor_are_lost(tmp_path):
    (tmp_path / "a.cpp").write_text(_THROWS)
    # The program has symbols of the same names, and other values.
    (tmp_path / "b.cpp").write_text(_THROWS.replace("m3e_answer", "other").replace("40", "50"))
    (tmp_path / "main.cpp").write_text(
        'extern "C" int m3e_answer(), other();\n'
        "int main() { return m3e_answer() == 42 && m3e_answer() == 43 && other() == 52 ? 0 : 1; }"
    )
    for name in ("a", "b", "main"):
        run("g++", "-O1", "-c", tmp_path / f"{name}.cpp", "-o", tmp_path / f"{name}.o")
    merged = tmp_path / "merged.o"
    run("ld", "-r", "--force-group-allocation", tmp_path / "a.o", "-o", merged)
    merged.write_bytes(hide_all_but(merged.read_bytes(), "m3e_"))
    shown = run("nm", "--defined-only", "--extern-only", merged)
    assert [line.split()[-1] for line in shown.splitlines()] == ["m3e_answer"]
    run("g++", tmp_path / "main.o", tmp_path / "b.o", merged, "-o", tmp_path / "program")
    run(tmp_path / "program")


# ---- what was built ---------------------------------------------------------------------------------------


@pytest.fixture(params=_WHEELS, ids=lambda file: file.stem.split("-")[-1])
def wheel(request):
    return request.param


def unpacked_library(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return library_in_wheel(folder)


def is_for_this_machine(wheel):
    return not set(sys_tags()).isdisjoint(parse_wheel_filename(wheel.name)[3])


@needs_dist
def test_wheels_are_small_and_say_what_they_hold(wheel):
    recorded(wheel)
    assert tags_in(wheel) == {str(tag) for tag in parse_wheel_filename(wheel.name)[3]}
    assert wheel.stat().st_size <= 5e6


@needs_dist
def test_libraries_export_the_interface_alone(wheel, tmp_path):
    library = read_library(unpacked_library(wheel, tmp_path))
    header = (tmp_path / "m3e_runtime/engine/include/m3e.h").read_text()
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    assert library.exports == set(re.findall(r"M3E_API[^;(]*?\b(m3e_\w+)\(", header))


@needs_dist
@pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump")
def test_wheels_of_linux_need_no_symbol_that_is_newer_than_their_tag(wheel, tmp_path):
    library = unpacked_library(wheel, tmp_path)
    if library.suffix != ".so":
        pytest.skip("not Linux")
    shown = run("objdump", "-p", library)
    needed = set(re.findall(r"NEEDED +(\S+)", shown))
    if tags_in(wheel) & {f"py3-none-{tag}" for tag in _GLIBC}:
        versions = [tuple(map(int, v.split("."))) for v in re.findall(r"\bGLIBC_([\d.]+)", shown)]
        assert versions
        assert max(versions) <= (2, 17)
        assert "libc.so.6" in needed
    else:
        assert needed == {"libc.so"}
    assert not {name for name in needed if "++" in name or "gcc" in name}


_ENCODES = """
import sys, threading
import m3e_runtime

encoder = m3e_runtime.Encoder.load(sys.argv[1])
texts = ["a text", "another, longer text"] * 8
alone = encoder.encode(texts).tobytes()
vectors = []
threads = [threading.Thread(target=lambda: vectors.append(encoder.encode(texts).tobytes())) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
is_free_threaded = "free-threading" in sys.version
print(encoder.info["tokenizer"], vectors == [alone, alone])
print(is_free_threaded and sys._is_gil_enabled())
"""


@needs_dist
@pytest.mark.parametrize("interpreter", _PYTHONS)
def test_the_wheel_of_this_machine_computes_the_golden_vectors(wheel, tmp_path, interpreter):
    bundle = os.environ.get("M3E_BUNDLE")
    if not is_for_this_machine(wheel) or bundle is None:
        pytest.skip("a wheel for another machine" if bundle else "M3E_BUNDLE names no bundle")
    run(interpreter, "-m", "venv", tmp_path / "environment")
    python = tmp_path / "environment" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel)
    listed = run(python, "-m", "pip", "list", "--format=freeze")
    installed = {line.partition("==")[0].lower() for line in listed.splitlines()}
    assert installed - _OF_INTERPRETERS == {"m3e-runtime", "numpy", "msgspec", "platformdirs", "tqdm"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Two threads that encode at once get the same bytes, and free-threaded Python stays so.
    assert run(python, "-c", _ENCODES, bundle, env=environment, cwd=tmp_path) == "native True\nFalse\n"
    shown = run(python.with_name("m3e-check"), bundle, env=environment, cwd=tmp_path)
    assert "int8-native: ok" in shown


@pytest.fixture
def archive(tmp_path):
    """The archive of this machine, unpacked."""
    found = [file for file in _ARCHIVES if file.name.endswith(f"-linux-{os.uname().machine}.tar.gz")]
    if not found or not shutil.which("cc"):
        pytest.skip("M3E_DIST has no archive for this machine, or there is no C compiler")
    with tarfile.open(found[0]) as opened:
        opened.extractall(tmp_path, filter="data")
    return next(tmp_path.glob("m3e-*"))


def pkg_config(archive, *options):
    if not shutil.which("pkg-config"):
        pytest.skip("needs pkg-config")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(archive / "lib/pkgconfig")}
    return run("pkg-config", *options, "m3e", env=environment).split()


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_a_c_program_links_the_archives_libraries(archive, tmp_path, kind):
    flags = pkg_config(archive, "--cflags", "--libs", *(["--static"] if kind == "static" else []))
    if kind == "static":
        flags = [str(archive / "lib/libm3e.a") if flag == "-lm3e" else flag for flag in flags]
    run("cc", _EXAMPLE, *flags, f"-Wl,-rpath,{archive / 'lib'}", "-lm", "-o", tmp_path / "encode")
    needed = run("readelf", "-d", tmp_path / "encode")
    assert ("libm3e.so.2" in needed) == (kind == "shared")
    assert "stdc++" not in needed
    bundle = os.environ.get("M3E_BUNDLE")
    if bundle:
        shown = run(tmp_path / "encode", Path(bundle) / "native/model_int8_native.safetensors")
        assert "384 dimensions, cosine" in shown


@pytest.mark.parametrize("target", ["m3e::m3e", "m3e::static"])
def test_cmake_finds_the_archives_libraries(archive, tmp_path, target):
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.15)\nproject(example C)\nfind_package(m3e REQUIRED)\n"
        f"add_executable(encode {_EXAMPLE})\ntarget_link_libraries(encode {target} m)\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={archive}")
    run("cmake", "--build", tmp_path / "build")


def test_the_archive_has_the_program(archive):
    bundle = os.environ.get("M3E_BUNDLE")
    if bundle is None:
        pytest.skip("M3E_BUNDLE names no bundle")
    run(archive / "bin/m3e", "check", bundle)
