"""The entry point of every export: :func:`export` checks the request and calls the exporter it names."""

from __future__ import annotations

from m3e_export.errors import OptionError
from m3e_export.generic import export_generic
from m3e_export.hubs import HUB_NAMES
from m3e_export.own import export_own
from m3e_export.record import ExportRecord
from m3e_export.request import EXPORTERS, PRECISIONS, TARGET_NAMES, ExportRequest
from m3e_runtime.bundle import Bundle

__all__ = ["export"]


def export(request: ExportRequest, record: ExportRecord | None = None) -> Bundle:
    """Export a checkpoint; return the opened bundle.

    Args:
        request: what to export.
        record: collects every candidate and its verdict, for a report.

    Raises:
        CheckpointError: the checkpoint cannot be read, is not supported or not trusted.
        BelowGateError: an artifact does not pass the gate. Nothing is written.
        DependencyMissingError: a package is missing.
        OptionError: the value of an option is not valid.
    """
    _check_names((request.exporter,), EXPORTERS, "--exporter")
    _check_names(request.precisions, PRECISIONS, "--precision")
    _check_names((request.hub,), HUB_NAMES, "--hub")
    if request.targets:
        _check_names(request.targets, TARGET_NAMES, "--target")
    record = record or ExportRecord(request)
    return export_own(request, record) if request.exporter == "own" else export_generic(request, record)


def _check_names(given: tuple[str, ...], known: tuple[str, ...], option: str) -> None:
    unknown = [value for value in given if value not in known]
    if unknown or not given:
        raise OptionError(f"{option} {', '.join(unknown) or '(none)'}: choose from {', '.join(known)}.")
