"""The file that a report is written to."""

from __future__ import annotations

from pathlib import Path

from m3e_export.errors import OptionError, OutputError
from m3e_export.folders import check_writable, made_folder
from m3e_runtime.atomic_file import atomic_file

__all__ = ["check_report", "write_report"]


def check_report(file: Path, bundle: Path | None = None) -> None:
    """Find out, before what takes long, whether a report can be written to ``file``.

    Args:
        file: as ``--report`` gives it.
        bundle: the folder that is being written, whose files are not ours to add to.

    Raises:
        OptionError: it is no name of an HTML file, is a folder, or lies in the bundle.
        OutputError: it cannot be written there.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--report {file}: give a name that ends in .html.")
    if file.is_dir():
        raise OptionError(f"--report {file}: a folder; give a file.")
    if bundle is not None and bundle.resolve() in file.resolve().parents:
        raise OptionError(f"--report {file}: lies in the bundle's folder; choose a place outside.")
    check_writable(file.parent, f"--report {file}")


def write_report(file: Path, content: str) -> None:
    """Write ``content`` to ``file``: whole, or not at all. Folders that are missing are made.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with made_folder(file.parent), atomic_file(file) as stream:
            stream.write(content.encode())
    except OSError as error:
        raise OutputError.of(file, error) from error
