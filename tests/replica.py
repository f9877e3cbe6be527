"""One api process of several on the same state and database, without a hub: `python -m tests.replica SETTINGS`."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kqi_hub.settings import load
from kqi_hub.testing.service import free_port, running


class Replica:
    """Use as a context. `said` is what it logged."""

    def __init__(self, state: Path, section: dict[str, Any]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.said: list[str] = []
        cards = {"gpus": [], "cpu": 8, "memory_gb": 8}
        given = {"state": state, "server": {"port": self.port}, "engine": cards, "database": section}
        words = [sys.executable, "-m", "tests.replica", json.dumps(given, default=str)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        assert self._ready.wait(60) and self.process.poll() is None, "\n".join(self.said)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        self.process.wait(30)

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if line.startswith("ready"):
                self._ready.set()
        self._ready.set()


async def _serve(given: dict[str, Any]) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with running(load(environ={}, **given)):
        print("ready", os.getpid(), flush=True)
        await told.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(_serve(json.loads(sys.argv[1])))
