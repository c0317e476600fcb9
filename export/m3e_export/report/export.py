"""Writing the report of an export."""

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
    """Yield the record for the export in the block, and write its report to ``file``, unless that is None.

    The report is also written if the gate raises a BelowGateError, which is raised again.

    Raises:
        OptionError: ``file`` is not a valid name of a report.
        OutputError: the report cannot be written. The bundle is complete.
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
    """Write the report of a failed export. An error of writing is only logged."""
    try:
        write_report(file, export_page(record, None, error=error))
    except OutputError as unwritten:
        logger.warning("there is no report: %s", unwritten)
    else:
        logger.warning("%s shows what differs.", file)
