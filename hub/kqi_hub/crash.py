"""Named points at which a drill may kill this process, to prove that nothing is lost there."""

import os
import signal

_wanted: tuple[str, int] | None = None
_passed = 0


def arm(text: str | None) -> None:
    """Die by SIGKILL at the n-th passage of a point: `started:3`. None disarms."""
    global _wanted, _passed
    name, _, count = (text or "").partition(":")
    _wanted, _passed = ((name, int(count or 1)) if name else None), 0


def point(name: str) -> None:
    global _passed
    if _wanted is not None and _wanted[0] == name:
        _passed += 1
        if _passed >= _wanted[1]:
            os.kill(os.getpid(), signal.SIGKILL)
