"""How the platform ends, and what of people's work ends with it."""

import signal
import subprocess
from pathlib import Path

import pytest

from kqi_hub.background.process import started
from kqi_hub.supervisor.children import end_stale
from kqi_hub.testing.service import free_port
from kqi_spawner.local import ledger
from kqi_spawner.status import Phase
from tests.integration.platform.test_life import refused
from tests.platform import PROGRAM, Platform, alive, wait_for

_FOREVER = "sleep 600"


def begin(own: Platform, command: str = _FOREVER) -> Path:
    """Start a training and return its ledger folder."""
    own.command("user", "add", "alice", "--password-stdin", text="correct horse battery\n", check=False)
    with own.client("alice") as client:
        run = client.post("/trainings", json={"command": command}).json()
        wait_for(client, f"/trainings/{run['id']}", "running")
    return next(path for path in (own.state / "ledger").iterdir() if ledger.status(path).phase is Phase.RUNNING)


def tell(own: Platform, *signals: signal.Signals) -> None:
    """Send them one after the other, the second once the platform has named the work, and wait for its end."""
    assert own.process
    for number, told in enumerate(signals):
        if number:
            while not any("These go on" in line for line in own.output):
                assert own.process.poll() is None, own.said()
        own.process.send_signal(told)
    assert own.process.wait(60) == 0, own.said()


@pytest.mark.timeout(300)
def test_only_a_second_ctrl_c_or_once_stops_work() -> None:
    with Platform(KQI_HUB__ENGINE__ISOLATION="links") as own:
        work = begin(own)
        tell(own, signal.SIGINT)
        assert any(work.name in line and "These go on" in line for line in own.output)
        assert ledger.status(work).phase is Phase.RUNNING
        own.variables["ONCE"] = "1"
        for gentle in (signal.SIGTERM, signal.SIGHUP):
            own.start()
            tell(own, gentle)
            assert ledger.status(work).phase is Phase.RUNNING
        own.start()
        tell(own, signal.SIGINT)
        assert ledger.status(work).phase is Phase.EXITED
        del own.variables["ONCE"]
        own.output.clear()
        own.start()
        work = begin(own)
        tell(own, signal.SIGINT, signal.SIGINT)
        assert ledger.status(work).phase is Phase.EXITED


@pytest.mark.timeout(300)
def test_down_with_work_starts_nothing_that_waits_and_leaves_no_process() -> None:
    with Platform(KQI_HUB__LIMITS__RUNNING_PER_PERSON="1") as own:
        begin(own)
        with own.client("alice") as client:
            assert client.post("/trainings", json={"command": _FOREVER}).status_code == 201
        pids = [own.pid(name) for name in ("proxy", "hub", "api")]
        said = own.command("down", "--work").stdout
        assert "Stopped work" in said
        assert not any(alive(pid) for pid in pids)
        folders = list((own.state / "ledger").iterdir())
        assert [ledger.status(folder).phase for folder in folders] == [Phase.EXITED]
        assert "not running" in own.command("down").stdout


def test_down_spares_a_stranger_with_the_number_of_a_crashed_platform(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with subprocess.Popen(["/bin/sh", "-c", "read line; : kqi-hub up"], stdin=subprocess.PIPE) as stranger:
        (tmp_path / "run" / "supervisor.lock").write_text(str(stranger.pid))
        done = subprocess.run([PROGRAM, "down", "--state", tmp_path], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0
        assert stranger.poll() is None


def test_only_the_very_process_of_a_pid_file_is_ended(tmp_path: Path) -> None:
    with (
        subprocess.Popen(["sleep", "600"]) as child,
        subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE) as stranger,
    ):
        (tmp_path / "hub.pid").write_text(f"{child.pid} {started(child.pid)}")
        (tmp_path / "api.pid").write_text(f"{stranger.pid} 1")
        assert end_stale(tmp_path) == [child.pid]
        assert child.wait(10) == -signal.SIGKILL
        assert stranger.poll() is None
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_that_cannot_be_installed_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    registry = {"npm_config_registry": "http://127.0.0.1:9/", "npm_config_fetch_retries": "0"}
    cache = str(tmp_path / "npm")
    line = refused("--port", str(free_port()), state=tmp_path / "state", npm_config_cache=cache, **registry)
    assert "proxy" in line
    assert not list((tmp_path / "state" / "proxy").glob("[!.]*"))
