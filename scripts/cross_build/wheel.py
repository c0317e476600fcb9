"""Wheels: the Python packages, built once, with the library of each platform.

https://packaging.python.org/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from cross_build.commands import run
from cross_build.failure import Failure
from cross_build.files import Entry, entries_below, write_zip
from cross_build.platforms import Platform
from cross_build.tools import Tools

_ENGINE = "m3e_runtime/engine/"


def build_pure_wheel(tools: Tools, source: Path) -> Path:
    """Build the wheel without the engine; returns the file.

    Raises:
        Failure: pip fails.
    """
    folder = tools.work / "pure"
    shutil.rmtree(folder, ignore_errors=True)
    run([tools.python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source],
        tools.work / "pure.log", {"M3E_NATIVE": "off"})  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def version_of(wheel: Path) -> str:
    """The version in a wheel's name."""
    return wheel.name.split("-")[1]


def library_in_wheel(folder: Path) -> Path:
    """The shared library that CMake installed for a wheel.

    Raises:
        Failure: there is none, or more than one.
    """
    found = [file for kind in ("*.so*", "*.dylib", "*.dll") for file in (folder / _ENGINE / "lib").glob(kind)]
    if len(found) != 1:
        raise Failure(f"{folder / _ENGINE / 'lib'} has {len(found)} shared libraries in place of one")
    return found[0]


def write_wheel(
    pure: Path, folder: Path, platform: Platform, output: Path, licences: Iterable[Entry]
) -> Path:
    """Write the wheel of a platform.

    Args:
        pure: from :func:`build_pure_wheel`.
        folder: what CMake installed for a wheel.
        platform: gives the tags.
        output: the folder of the result.
        licences: of what is in the library.

    Returns:
        The file.
    """
    name, version = pure.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    file = output / f"{name}-{version}-py3-none-{'.'.join(platform.wheel_tags)}.whl"
    with zipfile.ZipFile(pure) as archive:
        entries = [Entry(i.filename, archive.read(i)) for i in archive.infolist() if not i.is_dir()]
    entries = [entry for entry in entries if not entry.name.startswith((_ENGINE, f"{info}/RECORD"))]
    entries = [_tagged(entry, platform) if entry.name == f"{info}/WHEEL" else entry for entry in entries]
    known = {entry.name for entry in entries}
    added = [Entry(f"{info}/licenses/{licence.name}", licence.content) for licence in licences]
    entries += [*entries_below(folder), *(entry for entry in added if entry.name not in known)]
    entries.append(_record(entries, f"{info}/RECORD"))
    unfinished = file.with_name(file.name + ".unfinished")
    write_zip(unfinished, entries)
    return unfinished.replace(file)


def _tagged(wheel: Entry, platform: Platform) -> Entry:
    """The file WHEEL with the platform's tags."""
    kept = [
        line
        for line in wheel.content.decode().splitlines()
        if line and not line.startswith(("Tag:", "Root-Is"))
    ]
    tags = [f"Tag: py3-none-{tag}" for tag in platform.wheel_tags]
    return Entry(wheel.name, "\n".join([*kept, "Root-Is-Purelib: false", *tags, ""]).encode())


def _record(entries: list[Entry], name: str) -> Entry:
    """The file RECORD: each file's SHA-256 and size."""
    lines = []
    for entry in entries:
        digest = base64.urlsafe_b64encode(hashlib.sha256(entry.content).digest()).decode().rstrip("=")
        lines.append(f"{entry.name},sha256={digest},{len(entry.content)}")
    return Entry(name, "\n".join([*lines, f"{name},,", ""]).encode())
