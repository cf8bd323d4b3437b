"""Structured logs: one JSON object a line on standard error, redacted, from whoever logs.

What the standard library's loggers say (aiohttp's, asyncio's) takes the same way out. There is no
access log: requests are counted in the metrics, and failures are logged where they happen.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import msgspec
import structlog

from paygate_http.redact import redact

Level = Literal["debug", "info", "warning", "error"]


def configure_logs(level: Level, *, stream: TextIO | None = None) -> None:
    """Send all logs from `level` up to `stream` (default: standard error). May be called again."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Tests configure it again; a cached logger would go on as it was.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Without the values of local variables: a card number may be among them.
                structlog.processors.format_exc_info,
                redact,
                _render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # It would say with every client that goes away what is of no use to anybody.
    logging.getLogger("aiohttp.access").disabled = True


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
]


def _render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
