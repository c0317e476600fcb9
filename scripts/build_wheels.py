#!/usr/bin/env python3
"""Build a Python wheel and a C archive for each platform, on one Linux machine.

The compiler is zig, from the package `ziglang`. It is installed, with CMake and Ninja, into an environment
of its own below the work folder; nothing else is needed but Python and a connection to a package index. What
is built is kept there, and the next run compiles what has changed.

To build:
  python scripts/build_wheels.py                           everything, into dist/
  python scripts/build_wheels.py --platform linux-x86_64   one platform
  python scripts/build_wheels.py --platform macos-arm64 --platform macos-x86_64 --output /tmp/macos
  python scripts/build_wheels.py --list                    the platforms
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cross_build.archive import write_archive
from cross_build.binaries import check_library
from cross_build.engine import SOURCE, build_engine
from cross_build.failure import Failure
from cross_build.licences import licences
from cross_build.platforms import PLATFORMS, Platform, find_platforms
from cross_build.tools import Tools, install_tools
from cross_build.wheel import build_pure_wheel, library_in_wheel, version_of, write_wheel


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--platform", action="append", default=[], metavar="NAME", help="repeat for more")
    parser.add_argument(
        "--output", type=Path, default=SOURCE / "dist", metavar="FOLDER", help="default: dist"
    )
    parser.add_argument(
        "--work", type=Path, default=SOURCE / "build" / "cross", metavar="FOLDER",
        help="what is kept for the next run; default: build/cross",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the platforms and their wheels' tags")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    print(text, flush=True)


def _list() -> None:
    for platform in PLATFORMS:
        _say(f"{platform.name:22} {'.'.join(platform.wheel_tags) or 'archive only'}")


def _build(tools: Tools, platform: Platform, pure: Path, output: Path) -> list[Path]:
    installed = build_engine(tools, platform)
    check_library(library_in_wheel(installed.wheel), platform)
    texts = list(licences(tools, platform, SOURCE / "LICENSE"))
    name = f"m3e-{version_of(pure)}-{platform.name}{platform.archive_suffix}"
    files = [write_archive(installed.archive, output / name, texts)]
    if platform.wheel_tags:
        files.append(write_wheel(pure, installed.wheel, platform, output, texts))
    return files


def _build_all(options: argparse.Namespace) -> None:
    platforms = find_platforms(options.platform)
    _say("tools: zig, CMake and Ninja")
    tools = install_tools(options.work.resolve())
    _say("Python packages")
    pure = build_pure_wheel(tools, SOURCE)
    options.output.mkdir(parents=True, exist_ok=True)
    for number, platform in enumerate(platforms, start=1):
        began = time.monotonic()
        _say(f"[{number}/{len(platforms)}] {platform.name}")
        for file in _build(tools, platform, pure, options.output):
            _say(f"      {file.stat().st_size / 1e6:6.2f} MB  {file}")
        _say(f"      {time.monotonic() - began:6.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parse(arguments)
    if options.list:
        _list()
        return 0
    try:
        _build_all(options)
    except Failure as failure:
        print(f"build_wheels: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
