"""A platform of a test's own: the real `kqi-hub up` on a state and a port of its own."""

import asyncio
import fcntl
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from kqi_hub.environments import make as environments
from kqi_hub.settings import load
from kqi_hub.supervisor import proxy
from kqi_hub.testing.service import free_port
from tests import database

PROGRAM = Path(sys.executable).with_name("kqi-hub")
PASSWORD = "correct horse battery"
_NAVIGATE = {"Sec-Fetch-Mode": "navigate"}
_KEPT_S = 24 * 3600


class Platform:
    """Use as a context. `environment=False` leaves the Python environment out where no notebook is opened."""

    def __init__(self, *, environment: bool = True, state: Path | None = None, **variables: str) -> None:
        self.state = state or Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-platform-"))
        self.own_state = state is None
        self.state.chmod(0o755)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/services/kqi/api/v1"
        self.environment = environment
        self.database = database.fresh()
        self.variables = {**database.variables(self.database), **variables}
        self.output: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.own_state:
            shutil.rmtree(self.state, ignore_errors=True)

    def start(self) -> None:
        self.seed()
        # Of this start: the lines of a process that was killed may come to an end after the next has begun.
        ready, environment_ready = threading.Event(), threading.Event()
        words = [PROGRAM, "up", "--state", self.state, "--port", str(self.port)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KQI_")}
        self.process = subprocess.Popen(
            words,
            env={**clean, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process, ready, environment_ready), daemon=True).start()
        assert ready.wait(180), self.said()
        assert self.process.poll() is None, self.said()
        if self.environment:
            assert environment_ready.wait(600), self.said()

    def stop(self) -> None:
        """End the platform and the work on it."""
        if self.process is not None and self.process.poll() is None:
            self.command("down", "--work")
            self.process.wait(60)

    def said(self) -> str:
        return "\n".join(self.output[-60:])

    def says(self, text: str, within_s: float = 30) -> bool:
        """Wait until a line of the log holds the text: a line may come after the answer that it belongs to."""
        end = time.monotonic() + within_s
        while not any(text in line for line in list(self.output)):
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def command(self, *words: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `kqi-hub` on this state."""
        done = subprocess.run(
            [PROGRAM, *words, "--state", self.state],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **database.variables(self.database)},
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    @property
    def store(self) -> Path:
        return self.state / "store"

    def pid(self, name: str) -> int:
        """Return the number of `proxy`, `hub` or `api`."""
        return int((self.state / "run" / f"{name}.pid").read_text().split()[0])

    def kill(self, name: str) -> int:
        """SIGKILL a child, or the `supervisor`; return its number."""
        number = self.process.pid if name == "supervisor" and self.process else self.pid(name)
        os.kill(number, signal.SIGKILL)
        return number

    def add_user(self, name: str, *more: str) -> None:
        self.command("user", "add", name, "--password-stdin", *more, text=PASSWORD + "\n")

    def token(self, name: str) -> str:
        answer = httpx.post(f"{self.url}/hub/kqi/token", json={"username": name, "password": PASSWORD, "name": "test"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def client(self, name: str) -> httpx.Client:
        """Return a client of the API, signed in by token."""
        headers = {"Authorization": f"Bearer {self.token(name)}"}
        return httpx.Client(base_url=self.api, headers=headers, timeout=90)

    @contextmanager
    def browser(self, name: str, password: str = PASSWORD) -> Iterator[httpx.Client]:
        """Yield a client that signed in by the form, as a browser does."""
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=60, headers=_NAVIGATE) as client:
            answer = sign_in(client, name, password)
            assert answer.status_code == 200, answer.text
            yield client

    def initial_password(self) -> str:
        return (self.state / "secrets" / "initial-password").read_text().split()[1]

    def _read(
        self, process: "subprocess.Popen[str]", ready: threading.Event, environment_ready: threading.Event
    ) -> None:
        assert process.stdout
        for line in process.stdout:
            self.output.append(line.rstrip())
            if "Ready. Open" in line:
                ready.set()
                if (self.state / "environments" / "default" / "environment.json").exists():
                    environment_ready.set()
            if '"default" is ready' in line:
                environment_ready.set()
        ready.set()
        environment_ready.set()

    def seed(self) -> None:
        """Link in what a fresh state would take half a minute to make; nobody writes to it."""
        for made, name in _made_once().items():
            target = self.state / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-al", made, target], check=True)


@functools.cache
def _made_once() -> dict[Path, Path]:
    """Make proxy and Python environment, unless an earlier session has, as `kqi-hub up` does; say where they go."""
    place = Path("/var/tmp") / f"kqi-test-cache-{os.getuid()}"
    place.mkdir(exist_ok=True)
    place.chmod(0o755)
    settings = load(environ={}, state=place)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asyncio.run(proxy.install(settings, proxy.find_node()))
        built = asyncio.run(environments.make(settings, environments.DEFAULT, environments.DEFAULT_REQUIREMENTS))
        os.utime(built)
        for other in built.parent.iterdir():  # of the code as it was; sessions of other checkouts link theirs in
            if other.stat().st_mtime < time.time() - _KEPT_S:
                shutil.rmtree(other)
    return {made: made.relative_to(place) for made in (place / "proxy", built)}


def form_token(page: str) -> str:
    found = re.search(r'name="_xsrf" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


def fault(page: str) -> str:
    found = re.search(r'role="alert">([^<]+)', page)
    return found.group(1) if found else ""


def sign_in(client: httpx.Client, name: str, password: str, **fields: str) -> httpx.Response:
    page = client.get("/hub/login", params=fields, headers=_NAVIGATE)
    form = {"_xsrf": form_token(page.text), "username": name, "password": password, **fields}
    return client.post("/hub/login", data=form, headers=_NAVIGATE)


def wait_for(client: httpx.Client, path: str, *phases: str) -> Any:
    """Wait, by long polls, until the run is in one of `phases`."""
    run = client.get(path).json()
    while run["phase"] not in phases:
        run = client.get(path, params={"wait_s": 30, "unless": run["phase"]}).json()
    return run


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def problem(answer: httpx.Response) -> str:
    return str(json.loads(answer.text)["code"])
