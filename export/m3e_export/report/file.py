"""The file of a report."""

from __future__ import annotations

from pathlib import Path

from m3e_export.errors import OptionError, OutputError
from m3e_export.folders import check_writable, made_folder
from m3e_runtime.atomic_file import atomic_file

__all__ = ["check_report", "write_report"]


def check_report(file: Path, bundle: Path | None = None) -> None:
    """Check early that a report can be written to ``file``.

    Args:
        file: the value of ``--report``.
        bundle: the bundle's folder, which must not contain the report.

    Raises:
        OptionError: ``file`` is not an HTML file, is a folder, or is in the bundle.
        OutputError: the folder is not writable.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--report {file}: give a name that ends in .html.")
    if file.is_dir():
        raise OptionError(f"--report {file}: this is a folder; give a file.")
    if bundle is not None and bundle.resolve() in file.resolve().parents:
        raise OptionError(f"--report {file}: is in the bundle's folder; choose another folder.")
    check_writable(file.parent, f"--report {file}")


def write_report(file: Path, content: str) -> None:
    """Write ``content`` to ``file`` completely or not at all. Missing folders are created.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        with made_folder(file.parent), atomic_file(file) as stream:
            stream.write(content.encode())
    except OSError as error:
        raise OutputError.of(file, error) from error
