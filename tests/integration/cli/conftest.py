"""One platform for the command line, and two people at their terminals."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.cli.person import Person
from tests.platform import Platform

TRAIN = """import os, sys, time
from pathlib import Path
root = Path(os.environ["KQI_ROOT"])
print("読み込み", sorted(path.name for path in (root / "input").iterdir()), flush=True)
while not (root / "attach" / "go").exists():
    time.sleep(0.05)
(root / "output" / "モデル").mkdir()
(root / "output" / "モデル" / "重み.bin").write_bytes(bytes(range(256)))
print("終わり", os.environ.get("EPOCHS", "1"), flush=True)
"""


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    settings = {
        "KQI_HUB__SIGN_IN__ATTEMPTS_PER_MINUTE": "1000",
        "KQI_HUB__SOURCES__LOCAL_FOLDERS": '["/var/tmp"]',
    }
    with Platform(environment=False, **settings) as found:
        for name in ("alice", "bob"):
            found.add_user(name)
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account may enter, unlike `tmp_path`."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-cli-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def stranger(platform: Platform, folder: Path) -> Iterator[Person]:
    """Somebody who has not signed in."""
    person = Person(home=folder, server=platform.url)
    yield person
    person.leave()


@pytest.fixture(scope="session")
def tokens(platform: Platform) -> dict[str, str]:
    return {name: platform.token(name) for name in ("alice", "bob")}


@pytest.fixture
def alice(platform: Platform, tokens: dict[str, str], stranger: Person) -> Person:
    """Alice, by a token of the environment as in CI."""
    return replace(stranger, variables={"KQI_SERVER": platform.url, "KQI_TOKEN": tokens["alice"]})


@pytest.fixture
def repository(folder: Path) -> Path:
    """A git repository with one commit."""
    place = folder / "学習"
    place.mkdir()
    (place / "train.py").write_text(TRAIN)
    who = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Train"]):
        subprocess.run(["git", *who, *words], cwd=place, check=True)
    return place
