"""The parts run apart, as on a cluster: prepared once, waited for, each at its configured address."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqi_hub.testing.service import free_port
from tests.platform import PROGRAM


@pytest.fixture
def config() -> Iterator[Path]:
    """Settings of a deployment, with what an installer puts there."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="kqi-platform-") as name:
        folder = Path(name)
        (folder / "state/secrets").mkdir(parents=True, mode=0o700)
        (folder / "state/secrets/initial-password").write_text("admin given-by-an-installer\n")
        place = folder / "kqi-hub.toml"
        place.write_text(
            f'state = "{folder}/state"\nserver.public_url = "https://kqi.example.org"\n'
            f'[addresses]\nhub = "http://127.0.0.1:{free_port()}"\napi = "http://127.0.0.1:{free_port()}"\n'
        )
        yield place


def command(config: Path, *words: str) -> list[str | Path]:
    return [PROGRAM, *words, "--config", config]


def test_what_waits_goes_on_once_it_is_prepared_and_nothing_is_prepared_twice(config: Path) -> None:
    around = {**os.environ, "LANG": "C.UTF-8"}
    waiting = subprocess.Popen(command(config, "prepare", "--wait"), env=around)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(3)
        for _ in range(2):
            subprocess.run(command(config, "prepare"), env=around, check=True, timeout=120)
        assert waiting.wait(60) == 0
    finally:
        waiting.kill()
    listed = subprocess.run(command(config, "user", "list"), env=around, check=True, capture_output=True, text=True)
    assert listed.stdout.count("│ admin │ admin") == 1
    kept = config.with_name("state") / "secrets/initial-password"
    assert kept.read_text() == "admin given-by-an-installer\n"


def test_an_address_without_a_port_is_refused_by_its_name(config: Path) -> None:
    config.write_text(config.read_text().replace('hub = "http://127.0.0.1:', 'hub = "http://hub" #'))
    done = subprocess.run(command(config, "hub"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "addresses.hub" in done.stderr, done.stderr
