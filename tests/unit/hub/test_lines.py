"""The lines of a log."""

import logging
import sys

from kqi_hub.commands.lines import Line
from kqi_spawner.workload import Secret


def line(message: str, **about: object) -> str:
    return Line().format(logging.makeLogRecord({"levelname": "WARNING", "msg": message, **about}))


def test_a_line_says_what_it_is_about() -> None:
    assert line("a pass failed", loop="reconcile", cause="it is\nfull") == (
        "WARNING a pass failed loop=reconcile cause='it is\\nfull'"
    )


def test_a_secret_stays_one() -> None:
    assert "hidden-word" not in line("signed in", token=Secret("hidden-word"))


def test_a_trace_follows() -> None:
    try:
        raise OSError("disk full")
    except OSError:
        assert line("failed", exc_info=sys.exc_info()).endswith("OSError: disk full")
