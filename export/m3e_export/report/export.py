"""An export with its report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3e_export.errors import BelowGateError, OutputError
from m3e_export.record import ExportRecord
from m3e_export.report.export_page import export_page
from m3e_export.report.file import check_report, write_report
from m3e_export.report.latency import measure_latencies
from m3e_export.request import ExportRequest
from m3e_runtime.bundle import Bundle

__all__ = ["reported"]

logger = logging.getLogger(__name__)


@contextmanager
def reported(request: ExportRequest, file: Path | None) -> Iterator[ExportRecord]:
    """A record for the export in the block, which becomes a report in ``file``; None: there is no report.

    A gate that refuses is reported as well, and its error stays what it is.

    Raises:
        OptionError: ``file`` is no name for a report.
        OutputError: it cannot be written. The bundle is complete then.
    """
    if file is not None:
        check_report(file, request.output)
    record = ExportRecord(request)
    try:
        yield record
    except BelowGateError as error:
        if file is not None:
            _report_failure(record, file, error)
        raise
    if file is not None:
        _report(record, file)


def _report(record: ExportRecord, file: Path) -> None:
    bundle = Bundle.open(record.request.output)
    try:
        write_report(file, export_page(record, bundle, measure_latencies(bundle)))
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("the bundle is written, the report is not")
        raise


def _report_failure(record: ExportRecord, file: Path, error: BelowGateError) -> None:
    """The gate's error matters more than one of writing about it."""
    try:
        write_report(file, export_page(record, None, error=error))
    except OutputError as unwritten:
        logger.warning("there is no report: %s", unwritten)
    else:
        logger.warning("%s shows what differs.", file)
