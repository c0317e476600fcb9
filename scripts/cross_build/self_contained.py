"""The static library with the C++ runtime in it, so that a C program needs no C++ compiler to link it."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from cross_build import elf
from cross_build.commands import run
from cross_build.failure import Failure
from cross_build.platforms import Platform
from cross_build.tools import Tools

_RUNTIME = ("c++", "c++abi", "unwind", "compiler_rt")


def _runtime(tools: Tools, folder: Path) -> list[Path]:
    """The libraries that zig links, as it names them to its linker."""
    source = folder / "throws.cpp"
    source.write_text("int main() { throw 1; }\n")
    words: list[str | Path] = [folder / "toolchain" / "c++", "-O2", "-v", source, "-o", folder / "throws"]
    printed = run(words, folder / "log.txt", tools.variables)
    libraries = [Path.cwd() / word for word in re.split(r"[\s\"]+", printed) if word.endswith((".a", ".lib"))]
    files = {file.stem.removeprefix("lib"): file for file in libraries}
    if not set(_RUNTIME) <= set(files):
        raise Failure(f"zig links {sorted(files)}, without all of {_RUNTIME}: another version than expected?")
    return [files[name] for name in _RUNTIME]


def add_runtime(tools: Tools, platform: Platform, folder: Path, library: Path) -> None:
    """Put the C++ runtime into the static library.

    On Linux the library becomes one object in which only ``m3e_*`` can be seen: it neither meets nor
    replaces a program's own C++ runtime.

    Raises:
        Failure: zig fails.
    """
    runtime, log = _runtime(tools, folder), folder / "log.txt"
    if platform.is_elf:
        merged = folder / "m3e.o"
        roots: list[str | Path] = ["--whole-archive", library, "--no-whole-archive", *runtime]
        run(
            [tools.zig, "ld.lld", "-r", "--force-group-allocation", "-o", merged, *roots],
            log,
            tools.variables,
        )
        merged.write_bytes(hide_all_but(merged.read_bytes(), "m3e_"))
        library.unlink()
        run([tools.zig, "ar", "rcs", library, merged], log, tools.variables)
    else:
        _append(tools, library, runtime, folder)


def _append(tools: Tools, library: Path, runtime: list[Path], folder: Path) -> None:
    # ar's language for scripts: no other way adds archives to an archive.
    script = folder / "merge.mri"
    lines = [f"CREATE {library}.new", *(f"ADDLIB {file}" for file in (library, *runtime)), "SAVE", "END"]
    script.write_text("\n".join(lines) + "\n")
    run(["sh", "-c", f"'{tools.zig}' ar -M <'{script}'"], folder / "log.txt", tools.variables)
    Path(f"{library}.new").replace(library)


def _stays(symbol: elf.Symbol, prefix: str) -> bool:
    is_wanted = symbol.section == elf.SHN_UNDEF or symbol.name.startswith(prefix)
    return symbol.binding != elf.STB_LOCAL and is_wanted


def hide_all_but(data: bytes, prefix: str) -> bytes:
    """Make each symbol local that a relocatable ELF object defines and whose name starts otherwise."""
    changed = bytearray(data)
    file = elf.Elf(changed)
    (table,) = file.of_type(elf.SHT_SYMTAB)
    symbols = file.symbols(table)
    kept = {i: symbol for i, symbol in enumerate(symbols) if _stays(symbol, prefix)}
    order = [i for i in range(len(symbols)) if i not in kept] + list(kept)  # local symbols come first
    at = table.offset
    for i in order:
        raw = bytearray(symbols[i].raw)
        if i not in kept:
            raw[4 if file.wide else 12] &= 0x0F
        changed[at : at + len(raw)] = raw
        at += len(raw)
    struct.pack_into("<I", changed, table.at + (44 if file.wide else 28), len(order) - len(kept))  # sh_info
    _renumber(changed, file, {old: new for new, old in enumerate(order)})
    return bytes(changed)


def _renumber(data: bytearray, file: elf.Elf, numbers: dict[int, int]) -> None:
    """Let relocations name the symbols by their new numbers."""
    form, place, shift = ("<Q", 8, 32) if file.wide else ("<I", 4, 8)
    for section in file.of_type(elf.SHT_REL) + file.of_type(elf.SHT_RELA):
        for at in range(section.offset + place, section.offset + section.size, section.entry):
            (info,) = struct.unpack_from(form, data, at)
            struct.pack_into(form, data, at, numbers[info >> shift] << shift | info & ((1 << shift) - 1))
