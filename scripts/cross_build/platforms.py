"""The platforms: what zig and CMake call them, and what pip does."""

from __future__ import annotations

from dataclasses import dataclass

from cross_build.failure import Failure

GLIBC = (2, 17)
"""The oldest that a manylinux2014 wheel runs on (PEP 599)."""
GLIBC_OF_RISCV = (2, 27)
"""The first for RISC-V."""
MACOS = "11.0"
"""The first for arm64."""


@dataclass(frozen=True)
class Platform:
    """One that is built for.

    Attributes:
        name: as on the command line and in the archive's file name.
        target: zig's triple.
        system: CMAKE_SYSTEM_NAME.
        processor: CMAKE_SYSTEM_PROCESSOR.
        wheel_tags: platform tags of the wheel; none means that there is an archive only.
        glibc: the newest version that the library may ask for, on Linux with glibc.
    """

    name: str
    target: str
    system: str
    processor: str
    wheel_tags: tuple[str, ...] = ()
    glibc: tuple[int, int] | None = None

    @property
    def is_elf(self) -> bool:
        """Whether the system is Linux."""
        return self.system == "Linux"

    @property
    def archive_suffix(self) -> str:
        """What users of the system unpack without further programs."""
        return ".zip" if self.system == "Windows" else ".tar.gz"


def _glibc(
    processor: str, oldest: tuple[int, int] = GLIBC, *, wheel: bool = True, suffix: str = ""
) -> Platform:
    name = f"linux-{processor}"
    arch = {"armv7": "arm"}.get(processor, processor)
    version = f"{oldest[0]}.{oldest[1]}"
    tags = (f"manylinux_2_17_{processor}", f"manylinux2014_{processor}") if wheel else ()
    return Platform(name, f"{arch}-linux-gnu{suffix}.{version}", "Linux", processor, tags, oldest)


def _musl(processor: str) -> Platform:
    tags = (f"musllinux_1_1_{processor}",)
    return Platform(f"linux-{processor}-musl", f"{processor}-linux-musl", "Linux", processor, tags)


def _macos(processor: str, arch: str) -> Platform:
    tags = (f"macosx_{MACOS.replace('.', '_')}_{processor}",)
    return Platform(f"macos-{processor}", f"{arch}-macos.{MACOS}", "Darwin", processor, tags)


def _windows(name: str, arch: str, processor: str, tag: str) -> Platform:
    return Platform(f"windows-{name}", f"{arch}-windows-gnu", "Windows", processor, (tag,))


PLATFORMS = (
    _glibc("x86_64"),
    _glibc("aarch64"),
    _musl("x86_64"),
    _musl("aarch64"),
    _macos("arm64", "aarch64"),
    _macos("x86_64", "x86_64"),
    _windows("x64", "x86_64", "AMD64", "win_amd64"),
    _windows("arm64", "aarch64", "ARM64", "win_arm64"),
    _glibc("armv7", wheel=False, suffix="eabihf"),
    _glibc("riscv64", GLIBC_OF_RISCV, wheel=False),
)


def find_platforms(names: list[str]) -> list[Platform]:
    """The platforms of these names, all if there is none.

    Raises:
        Failure: a name is unknown.
    """
    known = {platform.name: platform for platform in PLATFORMS}
    for name in names:
        if name not in known:
            raise Failure(f"there is no platform {name!r}; the platforms are: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(PLATFORMS)
