"""Which process this is, in words by which another one on the machine can tell that it is gone."""

import os
import secrets
import socket
from pathlib import Path


def this_process() -> str:
    """Return a name that no other process, and no other call, ever has."""
    return f"{socket.gethostname()} {_machine()} {os.getpid()} {started(os.getpid())} {secrets.token_hex(4)}"


def is_gone(name: str) -> bool:
    """Return whether the process of this name has certainly ended; False for one of another machine or container."""
    try:
        _host, machine, pid, began, _token = name.split(" ")
    except ValueError:
        return False
    return machine == _machine() and pid.isdigit() and started(int(pid)) != began


def started(pid: int) -> str:
    """Return when a process started, in ticks since boot: with its number, this names it for good; else empty."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _machine() -> str:
    """Numbers of processes mean the same within one boot and one namespace of them."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
