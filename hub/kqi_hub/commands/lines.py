"""What a process of the platform logs: a line for each record, with what it is about."""

import logging
import sys

_ALWAYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class Line(logging.Formatter):
    """`LEVEL text name=value …`; texts of several words are quoted."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        about = [f"{name}={_shown(value)}" for name, value in vars(record).items() if name not in _ALWAYS]
        return " ".join([super().formatMessage(record), *about])


def log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and " " not in text else repr(text)
