"""Logs as JSON lines on standard error. They never contain texts of requests."""

from __future__ import annotations

import datetime
import logging
import sys
from typing import Any

import orjson

from m3e_runtime.file_names import shown

__all__ = ["JsonFormatter", "configure_logging"]


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object per line. ``extra={"fields": {…}}`` adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """Format ``record``."""
        content: dict[str, Any] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": shown(record.getMessage()),
            "pid": record.process,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            content["exception"] = shown(self.formatException(record.exc_info))
        return orjson.dumps(content, default=str).decode()


def configure_logging(level: str) -> None:
    """Log records of at least ``level`` to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
