"""Every source of the engine names its licence in its first line, where scanners look for it."""

from pathlib import Path

_ROOT = Path(__file__).parents[1]
_LINE = "SPDX-License-Identifier: Apache-2.0"


def test_the_sources_of_the_engine_name_their_licence():
    native = _ROOT / "runtime" / "native"
    files = [
        file for kind in ("*.cpp", "*.h", "*.c", "*.cmake*", "CMakeLists.txt") for file in native.rglob(kind)
    ]
    assert len(files) > 50
    unnamed = [
        file for file in [*files, _ROOT / "CMakeLists.txt"] if _LINE not in file.read_text().split("\n", 1)[0]
    ]
    assert unnamed == []
