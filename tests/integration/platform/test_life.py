"""The platform's own life: what keeps it from starting, what ends with it and what does not, its commands."""

import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from kqi_hub.testing.service import free_port
from tests import database
from tests.platform import PASSWORD, PROGRAM, Platform, alive, sign_in, wait_for

# Without the capability that lets root listen below 1024; everybody else has none.
_WITHOUT_LOW_PORTS = ("setpriv", "--bounding-set=-net_bind_service") if os.geteuid() == 0 else ()


def refused(*words: str, state: Path, as_words: Sequence[str] = (), **variables: str) -> str:
    """Return the one sentence that `kqi-hub up` refuses with."""
    base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    command = [*as_words, str(PROGRAM), "up", "--state", str(state), *words]
    done = subprocess.run(command, env={**base, **variables}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_what_keeps_it_from_starting_is_one_sentence_and_nothing_is_half_made(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"Port {port}" in refused("--port", port, state=state)
        assert not state.exists()
    elsewhere = ("--bind", "192.0.2.1", "--plain-http", "--public-url", "http://kqi.example.org")
    assert "192.0.2.1 is not an address of this machine" in refused(*elsewhere, state=state)
    assert "nowhere.invalid is not an address" in refused("--bind", "nowhere.invalid", *elsewhere[2:], state=state)
    assert "may not listen on port 443" in refused("--port", "443", state=state, as_words=_WITHOUT_LOW_PORTS)
    assert "server.prot" in refused(state=state, KQI_HUB__SERVER__PROT="1")
    config = tmp_path / "kqi-hub.toml"
    config.write_text("[server]\nnonsense = 1\n")
    assert "server.nonsense" in refused("--config", str(config), state=state)
    config.write_text("not toml")
    assert "not TOML" in refused("--config", str(config), state=state)
    assert "certificate and a key" in refused("--tls-cert", "/x", state=state)
    (tmp_path / "pem").write_text("no certificate")
    pair = ("--tls-cert", str(tmp_path / "pem"), "--tls-key", str(tmp_path / "pem"))
    assert "cannot be used" in refused(*pair, state=state)
    assert "without TLS" in refused("--bind", "0.0.0.0", state=state)
    for address in ("0.0.0.0", "192.0.2.1", "::"):
        assert "--public-url https://" in refused("--bind", address, "--plain-http", state=state)
    (tmp_path / "bin").mkdir()
    for name in ("setpriv", "flock", "sh"):
        found = subprocess.run(["which", name], capture_output=True, text=True).stdout.strip()
        (tmp_path / "bin" / name).symlink_to(found)
    assert "git is missing" in refused("--port", str(free_port()), state=tmp_path / "other", PATH=str(tmp_path / "bin"))
    assert not (tmp_path / "other").exists()
    assert "cannot be written" in refused("--port", str(free_port()), state=Path("/proc/nowhere"))
    said = refused("--port", str(free_port()), state=tmp_path / "third", KQI_HUB__STORE="/proc/nowhere")
    assert "The store /proc/nowhere cannot be written" in said
    assert not (tmp_path / "third").exists()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    section = database.empty()
    variables = database.variables(section)
    command = [PROGRAM, "migrate", "--state", state]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **variables})
    database.execute(state, section, "update alembic_version set version_num = '9999'")
    before = database.content(state, section)
    assert "newer version" in refused("--port", str(free_port()), state=state, **variables)
    assert database.content(state, section) == before


def test_people_are_administered_only_where_there_is_a_platform(tmp_path: Path) -> None:
    state = tmp_path / "mistyped"
    for words in (["add", "alice"], ["list"], ["passwd", "admin"], ["disable", "alice"]):
        done = subprocess.run([PROGRAM, "user", *words, "--state", state], capture_output=True, text=True)
        assert (done.returncode, state.exists()) == (1, False)
        assert "There is no platform in" in done.stderr and "--state" in done.stderr


@pytest.mark.timeout(300)
def test_a_first_start_that_came_to_nothing_loses_no_password() -> None:
    own = Platform(environment=False)
    nothing = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_fetch_retries": "0"}
    variables = {**database.variables(own.database), "npm_config_cache": str(own.state / "cache"), **nothing}
    assert "proxy could not be installed" in refused("--port", str(own.port), state=own.state, **variables)
    shutil.rmtree(own.state / "proxy")
    with own:
        assert own.says(f"one-time password: {own.initial_password()}")
        with httpx.Client(base_url=own.url, follow_redirects=True, timeout=60) as client:
            answer = sign_in(client, "admin", own.initial_password())
            assert "/hub/kqi/first-password" in str(answer.url)
        own.command("user", "passwd", "admin", "--password-stdin", text=PASSWORD + "\n")
        own.kill("supervisor")
        assert own.process
        own.process.wait(10)
        own.output.clear()
        own.start()
        assert "one-time password" not in own.said()


@pytest.mark.timeout(300)
def test_a_disk_that_is_full_for_a_while_costs_no_part_of_the_platform() -> None:
    own = Platform(environment=False)
    (own.state / "proxy").touch()  # a file, so that nothing can be written below

    def make_room() -> None:
        assert own.says("proxy    | ended (")
        (own.state / "proxy").unlink()
        own.seed()

    room = threading.Thread(target=make_room)
    room.start()
    with own:
        room.join()
        in_the_way = own.state / "run" / "api.new"
        in_the_way.mkdir()
        own.kill("api")
        assert own.says("api      | ended ([Errno")
        assert own.says("starting it again in 0.5 s")
        in_the_way.rmdir()
        _until(lambda: _answers(own.api + "/version"))


def test_a_second_one_on_the_same_state_is_refused(platform: Platform) -> None:
    assert "already runs" in refused("--port", str(free_port()), state=platform.state)


def test_secrets_are_for_the_platform_alone(platform: Platform) -> None:
    files = [] if database.ON_POSTGRES else [platform.state / "kqi.sqlite"]
    for path in [*(platform.state / "secrets").iterdir(), *files]:
        assert path.stat().st_mode & 0o077 == 0, path
    said = "\n".join(platform.output)
    for path in (platform.state / "secrets").iterdir():
        if path.name != "initial-password":
            assert path.read_text().strip() not in said
    assert PASSWORD not in said


@pytest.mark.timeout(300)
def test_killed_parts_come_back_and_a_run_goes_on_meanwhile() -> None:
    with Platform() as own:
        own.add_user("alice")
        with own.client("alice") as client:
            run = client.post("/trainings", json={"command": "for i in 1 2 3 4 5 6; do echo $i; sleep 1; done"}).json()
            wait_for(client, f"/trainings/{run['id']}", "running")
            for name in ("api", "hub", "proxy"):
                gone = own.kill(name)
                _until(lambda name=name, gone=gone: own.pid(name) != gone)
            _until(lambda: _answers(own.url + "/hub/login"))
            _until(lambda: _answers(own.api + "/version"))
            # Nobody could get in for a while, and asked ten times a second: the log stays one that people can read.
            assert not [line for line in own.output if "custom error page" in line or "error: 404 " in line]
            ended = wait_for(client, f"/trainings/{run['id']}", "completed", "failed")
            assert ended["phase"] == "completed"
            assert client.get(f"/trainings/{run['id']}/log").text == "1\n2\n3\n4\n5\n6\n"
        pids = [own.pid(name) for name in ("proxy", "hub", "api")]
        own.kill("supervisor")
        assert own.process
        own.process.wait(10)
        _until(lambda: not any(alive(pid) for pid in pids))
        own.start()
        assert httpx.get(own.url + "/hub/login").status_code == 200


@pytest.mark.timeout(300)
def test_work_outlives_the_platform_and_is_taken_up_again() -> None:
    with Platform() as own:
        own.add_user("alice")
        with own.client("alice") as client:
            run = client.post("/trainings", json={"command": "sleep 600"}).json()
            wait_for(client, f"/trainings/{run['id']}", "running")
        assert own.process
        own.process.send_signal(signal.SIGTERM)
        own.process.wait(60)
        with pytest.raises(httpx.ConnectError):
            httpx.get(own.url)
        own.start()
        with own.client("alice") as client:
            assert client.get(f"/trainings/{run['id']}").json()["phase"] == "running"
            client.post(f"/trainings/{run['id']}/stop", json={"mode": "kill"})
            assert wait_for(client, f"/trainings/{run['id']}", "killed")["exit_code"] == 137


def test_a_backup_is_taken_while_it_runs_and_restored_elsewhere(platform: Platform, tmp_path: Path) -> None:
    with platform.client("alice") as client:
        client.post("/data", json={"name": "to be kept"}).raise_for_status()
    file = tmp_path / "backup.tar.gz"
    section = database.empty()
    environment = {**os.environ, **database.variables(section)}
    platform.command("backup", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        assert {"manifest.json", *database.FILES} <= set(archive.getnames())
    other = tmp_path / "other"
    asked = [PROGRAM, "restore", file, "--state"]
    subprocess.run([*asked, other], check=True, capture_output=True, env=environment)
    assert ("to be kept",) in database.execute(other, section, "select name from data")
    assert ("alice",) in database.execute(other, section, "select name from users", hub=True)
    again = subprocess.run([*asked, other], capture_output=True, text=True, env=environment)
    assert again.returncode == 1 and "--force" in again.stderr
    running = platform.command("restore", str(file), "--force", check=False)
    assert running.returncode == 1 and "is running" in running.stderr
    file.write_bytes(file.read_bytes()[:1000])
    section = database.empty()
    environment = {**os.environ, **database.variables(section)}
    torn = subprocess.run([*asked, tmp_path / "third"], capture_output=True, text=True, env=environment)
    assert torn.returncode == 1 and "cannot be read" in torn.stderr
    assert database.content(tmp_path / "third", section) is None


def test_users_and_images_are_administered_by_command(platform: Platform, tmp_path: Path) -> None:
    assert "alice" in platform.command("user", "list").stdout
    for words, sentence in (
        (["user", "add", "alice"], "already"),
        (["user", "add", "No Good"], "cannot be a user name"),
        (["user", "passwd", "nobody"], "no user"),
        (["image", "add", "x", "--python", "/nowhere"], "no interpreter"),
        (["image", "add", "../x", "--python", "/usr/bin/python3"], "cannot be the name"),
        (["image", "add", "x"], "either"),
        (["image", "remove", "nothing"], "no environment"),
    ):
        done = platform.command(*words, check=False)
        assert done.returncode == 1 and sentence in done.stderr, (words, done.stderr)
    platform.command("image", "add", "system", "--python", "/usr/bin/python3")
    assert "/usr/bin/python3" in platform.command("image", "list").stdout
    with platform.client("alice") as client:
        body = {
            "command": "python3 -c 'import sys; print(sys.prefix)'",
            "image": "registry.example.org/team/system:1.0",
        }
        run = client.post("/trainings", json=body).json()
        assert wait_for(client, f"/trainings/{run['id']}", "completed", "failed")["phase"] == "completed"
        run = client.post("/trainings", json={"command": "true", "image": "no-such-thing"}).json()
        ended = wait_for(client, f"/trainings/{run['id']}", "failed")
        assert ended["reason"] == "cannot_start" and "no-such-thing" in ended["message"]
    platform.command("image", "remove", "system")
    broken = tmp_path / "requirements.txt"
    broken.write_text("this is no requirement !!\n")
    done = platform.command("image", "add", "broken", "--requirements", str(broken), check=False)
    assert done.returncode == 1 and "broken" not in platform.command("image", "list").stdout


def test_a_service_is_installed_for_an_ordinary_account(tmp_path: Path) -> None:
    # Root in a user namespace without a map is nobody in particular, and still reads this checkout.
    words = ["unshare", "--user"] if os.geteuid() == 0 else []
    words += [str(PROGRAM), "install-service", "--state", str(tmp_path / "100% mine")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True)
    unit = tmp_path / ".config" / "systemd" / "user" / "kqi-hub.service"
    assert str(unit) in done.stdout and "loginctl enable-linger" in done.stdout and "systemctl --user" in done.stdout
    text = unit.read_text()
    assert "KillMode=process" in text and "WantedBy=default.target" in text and "network-online" not in text
    assert f'--state "{tmp_path}/100%% mine"' in text
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--user", unit], capture_output=True, text=True, check=False
        )
        assert "kqi-hub.service" not in checked.stderr, checked.stderr


def test_an_environment_that_work_uses_is_removed_only_by_force_and_the_work_goes_on(platform: Platform) -> None:
    for name in ("mine", "spare"):
        platform.command("image", "add", name, "--python", "/usr/bin/python3")
    replaced = platform.state / "environments" / ".built" / "replaced"
    replaced.mkdir(parents=True)
    with platform.client("alice") as client:
        body = {"command": "echo ready; sleep 600", "image": "registry.example.org/mine:1", "grace_s": 1}
        run = client.post("/trainings", json=body).json()
        place = f"/trainings/{run['id']}"
        wait_for(client, place, "running")
        done = platform.command("image", "remove", "mine", check=False)
        assert done.returncode == 1 and f"training/{run['id']}" in done.stderr and "--force" in done.stderr
        assert "mine" in platform.command("image", "list").stdout
        platform.command("image", "remove", "mine", "--force")
        assert "mine" not in platform.command("image", "list").stdout and replaced.exists()
        assert client.get(place).json()["phase"] == "running"
        client.post(f"{place}/stop", json={"mode": "kill"})
        wait_for(client, place, "killed")
        for other in client.get("/trainings").json()["items"]:
            wait_for(client, f"/trainings/{other['id']}", "completed", "failed", "canceled", "killed")
    platform.command("image", "remove", "spare")
    assert not replaced.exists()


def test_the_configuration_is_shown_with_what_it_means_and_without_secrets(platform: Platform) -> None:
    shown = platform.command("check-config").stdout
    assert "kept apart" in shown or "no isolation" in shown
    for path in (platform.state / "secrets").iterdir():
        assert path.read_text().strip() not in shown
    unit = platform.command("install-service", "--print").stdout
    assert "KillMode=process" in unit and str(platform.state) in unit


def _until(condition: object, seconds: float = 60) -> None:
    """Wait for something that another process does and tells nobody."""
    done = os.times().elapsed + seconds
    while not condition():  # type: ignore[operator]
        assert os.times().elapsed < done, "it did not happen"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False
