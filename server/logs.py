"""Log lines: for people, or JSON for machines. Configured once, at the start of a process."""

import json
import logging
import re
import sys
import time
import warnings

FORMATS = ("text", "json")
WORD = re.compile(r"[\x21\x23-\x7e]*")


class JsonFormatter(logging.Formatter):
    """One JSON object a line; the fields of a record's `fields` attribute stand beside the rest."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class TextFormatter(logging.Formatter):
    """Time, level, process and message, then `key=value` for the fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = getattr(record, "fields", {})
        shown = (f"{name}={_shown(value)}" for name, value in fields.items())
        return " ".join([super().formatMessage(record), *shown])


def _shown(value: object) -> str:
    """Quote a text that would not be one word of the line."""
    text = str(value)
    return text if WORD.fullmatch(text) else json.dumps(text)


def configure_logging(log_format: str, *, level: int = logging.INFO) -> None:
    """Send every logger to stderr in `log_format`, `text` or `json`."""
    if log_format not in FORMATS:
        raise ValueError(f"log format {log_format!r} is not one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # peft asks transformers by an old name; nobody who reads a log can act on it
    warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
