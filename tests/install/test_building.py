"""Installing from a source archive: with a compiler, with a broken one, without one, and again with one.

One of these compiles the engine, which takes minutes. They need scikit-build-core; no network.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("scikit_build_core", "pip")),
        reason="needs scikit-build-core and pip: `pip install scikit-build-core`",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for compilers as on Linux"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The source archive, of a copy without what was compiled in place."""
    copy = tmp_path_factory.mktemp("source") / "source"
    compiled = shutil.ignore_patterns("*.so", "engine", "__pycache__", ".*", "build", "results")
    shutil.copytree(_ROOT, copy, ignore=compiled)
    build = f"import m3e_build; m3e_build.build_sdist({str(copy.parent)!r})"
    environment = {**os.environ, "PYTHONPATH": str(copy / "runtime" / "packaging")}
    subprocess.run([sys.executable, "-c", build], cwd=copy, env=environment, check=True, capture_output=True)
    return next(copy.parent.glob("*.tar.gz"))


@pytest.fixture
def without_compiler(tmp_path):
    """A PATH with this Python alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    return {"PATH": str(folder), "CXX": "", "CMAKE_ARGS": "", "CMAKE_TOOLCHAIN_FILE": ""}


def install(archive, target, cache, command="install", **variables):
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--cache-dir", cache]
    where = ["--target", target] if command == "install" else ["--wheel-dir", target]
    named = f"m3e-runtime @ {archive.as_uri()}"  # pip looks into its cache for what has a name
    whole = [sys.executable, "-m", "pip", command, *options, *where, named]
    environment = {**os.environ, "M3E_NATIVE": "", **variables}
    return subprocess.run(list(map(str, whole)), env=environment, capture_output=True, text=True)


def has_engine(target):
    return bool(list((target / "m3e_runtime" / "engine" / "lib").glob("libm3e.*")))


def load(target, script):
    environment = {**os.environ, "PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-W", "error", "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_archive_holds_what_building_and_testing_need(archive):
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"pyproject.toml", "CMakeLists.txt", "LICENSE", "README.md", "PKG-INFO"} <= names
    assert {"runtime/packaging/m3e_build.py", "runtime/native/CMakeLists.txt", "tests/conftest.py"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


@pytest.mark.parametrize("named", [{"CXX": "/bin/false"}, {"CXX": "c++", "CXXFLAGS": "-fno-such-flag"}])
def test_a_build_that_fails_fails_the_installation_in_the_compilers_words(archive, tmp_path, named):
    failed = install(archive, tmp_path / "target", tmp_path / "cache", **named)
    assert failed.returncode != 0
    said = failed.stdout + failed.stderr
    assert "M3E_NATIVE=off" in said
    assert named.get("CXXFLAGS", "CMAKE_CXX_COMPILER") in said or "/bin/false" in said
    assert not (tmp_path / "target").exists()


def test_without_a_compiler_it_installs_and_says_what_is_missing(archive, tmp_path, without_compiler):
    done = install(archive, tmp_path / "target", tmp_path / "cache", **without_compiler)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "built_without_compiler" in done.stdout
    assert not has_engine(tmp_path / "target")
    reason = load(tmp_path / "target", "from m3e_runtime.backends import native; print(native.missing())")
    assert "no C++ compiler was found when m3e-runtime was installed" in reason
    assert "pip install --force-reinstall --no-deps --no-cache-dir" in reason


def test_with_a_compiler_the_cache_is_of_no_harm(archive, tmp_path, without_compiler):
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("needs a C++ compiler")
    cache = tmp_path / "cache"
    assert install(archive, tmp_path / "without", cache, **without_compiler).returncode == 0
    done = install(archive, tmp_path / "with", cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"-py3-none-{sysconfig.get_platform().replace('-', '_')}.whl" in done.stdout
    assert has_engine(tmp_path / "with")
    # And what has the engine is kept, for those without a compiler too.
    assert install(archive, tmp_path / "again", cache, **without_compiler).returncode == 0
    assert has_engine(tmp_path / "again")
    assert (
        load(tmp_path / "again", "from m3e_runtime.backends import native; print(native.missing())")
        == "None\n"
    )


def test_the_engine_can_be_left_out_on_purpose(archive, tmp_path):
    made = install(archive, tmp_path, tmp_path / "cache", "wheel", M3E_NATIVE="off")
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "target")
    script = "from m3e_runtime.backends import native; print(native.left_out(), native.missing())"
    assert load(tmp_path / "target", script).startswith(
        "True the native engine was not built, as M3E_NATIVE=off"
    )


def test_a_wheel_holds_the_page_of_the_service(archive, tmp_path):
    made = install(archive, tmp_path, tmp_path / "cache", "wheel", M3E_NATIVE="off")
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    page = "m3e_serve/page/"
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(page)}
    source = {page + file.name for file in (_ROOT / "runtime" / page).iterdir() if file.is_file()}
    assert {f"{page}index.html", f"{page}style.css", f"{page}main.js"} <= source
    assert packed == source


def test_the_engine_can_be_demanded(archive, tmp_path, without_compiler):
    failed = install(archive, tmp_path / "target", tmp_path / "cache", M3E_NATIVE="on", **without_compiler)
    assert failed.returncode != 0
    wrong = install(archive, tmp_path / "target", tmp_path / "cache", M3E_NATIVE="perhaps")
    assert wrong.returncode != 0
    assert "use one of auto, on, off" in wrong.stdout + wrong.stderr
