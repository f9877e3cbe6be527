"""A room: network, mounts and processes of its own. What runs in it ends with it, and with the test that opened it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

# The first process of the room: it buries what nobody waits for.
_INIT = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
print("open", flush=True)
while True:
    signal.sigwait({signal.SIGCHLD})
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""
# What a kubelet wants of the machine. It finds these files and changes nothing.
_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
_NAMESPACES = ("--net", "--mount", "--pid", "--ipc")


@dataclass(slots=True)
class Room:
    """`folder` holds its logs and files; `path` comes before the machine's own programs."""

    name: str
    folder: Path
    path: Iterable[Path]
    _init: int = 0
    _opener: "subprocess.Popen[str] | None" = None
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        (self.folder / "log").mkdir(parents=True, exist_ok=True)
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
        self._opener = subprocess.Popen(
            [*words, "--propagation", "private", sys.executable, "-I", "-c", _INIT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._opener.stdout
        if self._opener.stdout.readline() != "open\n":
            raise RuntimeError("namespaces cannot be made here: run as root on Linux")
        self._init = _child(self._opener.pid)
        self.run("/bin/sh", "-ec", _furnish(self.folder))

    def close(self) -> None:
        """End everything in it at once; nothing of it outlives this call."""
        if self._opener is not None:
            with suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
            self._opener.wait(30)
            for process in self._running.values():
                process.wait(30)
            self._opener = None

    @property
    def network(self) -> str:
        """The place of its network namespace."""
        return f"/proc/{self._init}/ns/net"

    @property
    def pid(self) -> int:
        return self._init

    def words(self, *words: object) -> list[str]:
        """Return the command that runs `words` inside."""
        return ["nsenter", "--target", str(self._init), *_NAMESPACES, "--", *(str(word) for word in words)]

    def run(self, *words: object, text: str | None = None, check: bool = True, timeout_s: float = 120) -> str:
        """Run a command inside and return what it printed. Raises RuntimeError with what it said."""
        done = subprocess.run(
            self.words(*words),
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            env=self._environment(),
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, words))}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def wire(self, *words: object) -> None:
        """Run `ip` on its network, but with the machine's processes in sight."""
        command = ["nsenter", f"--net={self.network}", "--", "ip", *(str(word) for word in words)]
        subprocess.run(command, check=True, capture_output=True)

    def spawn(self, name: str, *words: object) -> None:
        """Start a program that stays; it writes to `log/<name>.log`."""
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                self.words(*words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.log"

    def running(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def send(self, name: str, what: signal.Signals) -> None:
        """Send a signal to a program that was spawned."""
        os.kill(_child(self._running[name].pid), what)

    def end(self, name: str, *, how: signal.Signals = signal.SIGTERM, within_s: float = 30) -> None:
        """End a program and wait for it; SIGKILL after `within_s`."""
        process = self._running.pop(name)
        with suppress(ProcessLookupError, RuntimeError):
            os.kill(_child(process.pid), how)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, RuntimeError):
                os.kill(_child(process.pid), signal.SIGKILL)
            process.wait(10)

    def _environment(self) -> Mapping[str, str]:
        places = [*map(str, self.path), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        return {"PATH": ":".join(places), "HOME": str(self.folder), "LANG": "C.UTF-8"}


def _child(pid: int) -> int:
    """Return the only child of a process: that which really is in the room."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            return int(found[0])
        time.sleep(0.005)
    raise RuntimeError(f"process {pid} has no child")


def _furnish(folder: Path) -> str:
    lines = [
        # A container in a user namespace may only mount /proc where one is seen in full.
        "mount -t tmpfs tmpfs /run; mkdir /run/proc; mount -t proc proc /run/proc",
        "mkdir -p /run/kqi/upper /run/kqi/work",
        "mount -t overlay -o lowerdir=/var/lib,upperdir=/run/kqi/upper,workdir=/run/kqi/work overlay /var/lib",
        f"mkdir -p '{folder}/kubelet' /var/lib/kubelet /var/lib/cni",
        f"mount --bind '{folder}/kubelet' /var/lib/kubelet; mount --make-rshared /var/lib/kubelet",
        "ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward",
    ]
    for name, value in _SYSCTLS.items():
        file = f"/run/kqi/{name.replace('/', '.')}"
        real = f"/proc/sys/{name}"
        lines.append(f"echo {value} > {file}; if [ -e {real} ]; then mount --bind {file} {real}; fi")
    return "\n".join(lines)
