"""Processes that are kept running, and that end when we do, however we end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kqi_hub.background.process import started
from kqi_hub.environments.installer import dying_with_us
from kqi_hub.i18n import text
from kqi_hub.supervisor.gate import Gate
from kqi_hub.supervisor.lock import gone

Say = Callable[[str, str], None]
Readable = Callable[[str], str | None]
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY_S = 30.0
_GRACE_S = 10.0
_STALE_S = 10.0


@dataclass(slots=True, kw_only=True)
class Child:
    """One process; `pid_file` lets the next start end what outlived a killed supervisor."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    pid_file: Path
    say: Say
    language: str = "en"
    again: Callable[[], None] = lambda: None  # called at each start but the first
    readable: Readable = lambda line: line  # a line as people read it; None: not at all
    gate: Gate | None = None  # at which it waits, loaded, until the supervisor lets it begin
    process: asyncio.subprocess.Process | None = field(default=None)
    _asked: bool = field(default=False)

    async def keep(self) -> None:
        """Run it again whenever it ends, with a growing pause; end it when cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        try:
            while True:
                began = loop.time()
                how = await self._run()
                failures = 0 if self._asked or loop.time() - began > _STEADY_S else failures + 1
                pause = back_off_s(failures)
                self._asked = False
                self.say(self.name, text("setup.child_ended", self.language, {"how": how, "seconds": f"{pause:g}"}))
                await asyncio.sleep(pause)
                self.again()
        finally:
            await self._end()

    def restart(self) -> None:
        """End it so that it starts anew at once."""
        if self.process is not None and self.process.returncode is None:
            self._asked = True
            self.process.terminate()

    async def _run(self) -> str:
        """Run it once and return how it ended."""
        environment = dict(self.environment)
        inherited = self.gate.shown_to(environment) if self.gate else ()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *dying_with_us(self.command),
                env=environment,
                pass_fds=inherited,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # Ctrl-C of the terminal is for the supervisor, which then ends its children in order.
                start_new_session=True,
            )
            self._note(self.process.pid)
        except OSError as error:  # also of a full disk: what nobody could end later is not left running
            await self._end()
            return str(error)
        await self._relay(self.process)
        code = await self.process.wait()
        return f"exit {code}" if code >= 0 else signal.Signals(-code).name

    def _note(self, pid: int) -> None:
        temporary = self.pid_file.with_suffix(".new")
        temporary.write_text(f"{pid} {started(pid)}", "utf-8")
        os.replace(temporary, self.pid_file)

    async def _relay(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - asked for above
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line longer than the buffer
                continue
            if not line:
                return
            text = self.readable(line.decode("utf-8", "replace").rstrip())
            if text is not None:
                self.say(self.name, text)

    async def _end(self) -> None:
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _GRACE_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self.pid_file.unlink(missing_ok=True)


def back_off_s(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return _BACK_OFF_S[min(failures, len(_BACK_OFF_S)) - 1] if failures else 0.0


def end_stale(folder: Path) -> list[int]:
    """End processes that an earlier supervisor left behind, by number and start time; return their numbers.

    They are gone, and their ports free, when this returns.
    """
    ended = []
    for path in folder.glob("*.pid"):
        number, _, began = path.read_text("utf-8").partition(" ")
        if number.isdigit() and began and _kill(int(number), began):
            ended.append(int(number))
        path.unlink()
    return ended


def _kill(pid: int, began: str) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Looked at after it was opened: the number cannot have changed owners in between.
        if started(pid) != began:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        return gone(process, _STALE_S)
    finally:
        os.close(process)
