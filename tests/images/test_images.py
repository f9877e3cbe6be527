"""What every image keeps, and what the platform's own can do."""

import json
import os
import re
import textwrap
from pathlib import Path
from urllib.request import urlopen

import pytest

from images import machine
from images.engine import Buildah
from images.recipes import ALL
from tests.images.conftest import Reference
from tests.images.containers import USER, Container, owned

# Built where somebody waits for it; the others take longer and are for the drills.
QUICK = [name for name in ALL if name != "vscode"]
_SLEEP = ("/usr/bin/tini", "--", "sleep", "600")


@pytest.mark.parametrize("name", QUICK)
def test_it_runs_as_an_ordinary_account_under_an_init(image: Reference, name: str) -> None:
    told = json.loads(Buildah().run("inspect", "--type", "image", image(name)))["OCIv1"]["config"]
    assert told["User"] == "1000:100"
    assert told["Entrypoint"][:2] == ["/usr/bin/tini", "--"]


@pytest.mark.parametrize("name", QUICK)
def test_nothing_of_the_machine_that_built_it_is_left(image: Reference, name: str) -> None:
    with Container(image=image(name), entrypoint=_SLEEP) as container:
        left = [path for path in (container.root / "run/secrets").glob("*")]
        assert not left
        for place in ("etc/pip.conf", "root/.npmrc", "root/.cache", "root/.config", "tmp/.apt", "var/cache/uv"):
            assert not (container.root / place).exists(), place
        kept = [path.read_text() for path in (container.root / "etc/apt").rglob("*") if path.is_file()]
        assert (container.root / "etc/resolv.conf").read_text() == ""
    mirror = machine.mirror()
    assert mirror and not any(mirror.packages in text for text in kept)
    assert mirror.packages not in Buildah().run("inspect", "--type", "image", image(name))


def test_what_has_no_parent_is_reaped_and_a_stop_reaches_the_program(image: Reference) -> None:
    program = 'trap "echo stopped; exit 7" TERM; (tail -f /dev/null &); echo ready; while :; do sleep 0.2; done'
    with Container(image=image("base"), command=("bash", "-c", program)) as container:
        container.until(lambda: "ready" in container.output)
        assert re.search(r"^ +1 tail$", container.run("ps", "-eo", "ppid=,comm="), re.MULTILINE)
        container.run("pkill", "tail")
        container.until(lambda: "tail" not in container.run("ps", "-eo", "comm="))
        container.signal("TERM")
        assert container.wait() == 7
        assert "stopped" in container.output


@pytest.mark.parametrize("language", ["en_US.UTF-8", "ja_JP.UTF-8", "zh_CN.UTF-8"])
def test_it_speaks_the_languages_of_the_platform(image: Reference, language: str) -> None:
    with Container(image=image("base"), command=_SLEEP[2:], environment={"LC_ALL": language}) as container:
        said = container.run("env", f"LC_ALL={language}", "python3", "-c", "import locale; print(locale.setlocale(0))")
        assert language in said
        assert container.run("env", f"LC_ALL={language}", "date") != container.run("env", "LC_ALL=C", "date")


_IMPORT_ALL = textwrap.dedent("""
    import importlib, pkgutil, sys
    count = 0
    scripts = ("__main__", "migrations.env", "jupyterhub_config")
    for package in ("kqi", "kqi_hub", "kqi_spawner"):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            if not found.name.endswith(scripts) and ".versions." not in found.name:
                importlib.import_module(found.name)
                count += 1
    import asyncpg, psycopg, kubernetes, kubespawner, ldap3, asyncssh
    print("imported", count)
""")


def test_the_platform_runs_with_a_file_system_that_cannot_be_written_to(image: Reference) -> None:
    with Container(image=image("hub"), entrypoint=_SLEEP, read_only=True) as container:
        assert "Usage" in container.run("kqi-hub", "--help")
        assert container.run("jupyterhub", "--version").startswith("6.")
        assert container.run("git", "--version").startswith("git version 2.")
        counted = int(container.run("python", "-c", _IMPORT_ALL).split()[-1])
        assert counted > 100
        assert "cannot touch" in container.run("touch", "/opt/kqi/hub/x", check=False)


def test_the_proxy_answers_and_ends_at_once_when_told(image: Reference, free_port: int, tmp_path: Path) -> None:
    words = ("--ip", "127.0.0.1", "--port", str(free_port), "--api-ip", "127.0.0.1", "--api-port", str(free_port + 1))
    with Container(image=image("proxy"), command=words, network=True, read_only=True) as container:
        routes = f"http://127.0.0.1:{free_port + 1}/api/routes"
        assert json.loads(container.until(lambda: _got(routes))) == {}
        container.signal("TERM")
        assert container.wait() == 2  # its own word for having been told


def test_all_names_of_debian_packages_that_building_needs_are_in_the_makefile() -> None:
    made = (Path(__file__).parents[2] / "Makefile").read_text()
    asked = re.search(r"^IMAGE_PACKAGES := (.*)$", made, re.MULTILINE)
    assert asked and {"buildah", "mmdebstrap", "runc"} <= set(asked[1].split())


def _got(address: str) -> bytes | None:
    try:
        with urlopen(address, timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return None


def test_a_database_is_made_once_with_a_password_from_a_file_and_lasts(
    image: Reference, free_port: int, tmp_path: Path
) -> None:
    os.chown(tmp_path, *USER)
    password = tmp_path / "password"
    password.write_text("a long enough secret")
    data = owned(tmp_path / "data")
    given = {"POSTGRES_PASSWORD_FILE": "/password"}
    mounts = {"/password:ro": password, "/var/lib/kqi-postgres": data}
    asked = ("psql", f"postgresql://kqi@127.0.0.1:{free_port}/kqi", "-At", "-c")
    for statement in ("CREATE TABLE kept AS SELECT 42 AS answer", "SELECT answer FROM kept"):
        with Container(
            image=image("postgres"), command=("-p", str(free_port)), environment=given, mounts=mounts, read_only=True
        ) as container:
            container.until(lambda: "accepting" in container.run("pg_isready", "-p", str(free_port), check=False))
            said = container.run("env", "PGPASSWORD=a long enough secret", *asked, statement)
            assert "password authentication failed" in container.run(
                "env", "PGPASSWORD=wrong", *asked, statement, check=False
            )
            container.signal("INT")
            assert container.wait() == 0
    assert said.strip() == "42"


def test_a_second_database_on_the_same_folder_waits_for_the_end_of_the_first(
    image: Reference, free_port: int, tmp_path: Path
) -> None:
    """A pod that is deleted by force may still run when the next one begins."""
    os.chown(tmp_path, *USER)
    (tmp_path / "password").write_text("a long enough secret")
    mounts = {"/password:ro": tmp_path / "password", "/var/lib/kqi-postgres": owned(tmp_path / "data")}

    def database() -> Container:
        given = {"POSTGRES_PASSWORD_FILE": "/password"}
        words = ("-p", str(free_port))
        return Container(image=image("postgres"), command=words, environment=given, mounts=mounts, read_only=True)

    def serves(container: Container) -> bool:
        return "accepting" in container.run("pg_isready", "-h", "/tmp", "-p", str(free_port), check=False)

    with database() as first:
        first.until(lambda: serves(first))
        with database() as second:
            running = ("sh", "-c", "cat /proc/[0-9]*/comm")
            second.until(lambda: "flock" in second.run(*running, check=False))
            assert "postgres" not in second.run(*running, check=False).splitlines()
            first.signal("INT")
            assert first.wait() == 0
            second.until(lambda: serves(second))
