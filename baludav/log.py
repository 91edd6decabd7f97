"""Log lines: one for each event, on standard error, with nothing in them that could pass for another line."""

import logging
import sys


class _OneLine(logging.Formatter):
    """Escapes control characters: names of resources come from clients, and may hold line breaks or worse."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        message = super().formatMessage(record)
        if message.isprintable():
            return message
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in message)


def configure(level: str) -> None:
    """Send the log of every room to standard error.

    Args:
        level: debug, info, warning or error.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("wsgidav").setLevel(logging.WARNING)  # its own lines repeat ours
    logging.getLogger("alembic").setLevel(logging.WARNING)
