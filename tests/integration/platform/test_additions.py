"""What a person adds to a shared environment, and the platform's own tools inside of runs."""

import io
import zipfile
from collections.abc import Iterator

import pytest

from tests.platform import Platform, wait_for


@pytest.fixture(scope="module")
def made() -> Iterator[Platform]:
    with Platform() as found:
        found.add_user("alice")
        yield found


def wheel(name: str, version: str, text: str) -> bytes:
    """A package of one module and one command."""
    packed = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}/__init__.py", f"__version__ = '{version}'\ndef main(): print({text!r})\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


def ran(platform: Platform, command: str, files: dict[str, bytes], *, person: str = "alice") -> str:
    """Return what a training printed that has `files` around it."""
    wait = "while ! [ -e $KQI_ROOT/attach/go ]; do sleep 0.1; done; cd $KQI_ROOT/attach; "
    with platform.client(person) as client:
        run = client.post("/trainings", json={"command": wait + command}).json()
        place = f"/trainings/{run['id']}"
        for name, content in {**files, "go": b""}.items():
            client.put(f"{place}/attachments/{name}", content=content).raise_for_status()
        ended = wait_for(client, place, "completed", "failed")
        log = client.get(f"{place}/log").text
        assert ended["phase"] == "completed", log
        return log


def test_a_training_adds_packages_that_win_over_those_of_the_environment(made: Platform) -> None:
    files = {
        "mine-1.0-py3-none-any.whl": wheel("mine", "1.0", "added"),
        "six-99.0-py3-none-any.whl": wheel("six", "99.0", ""),
    }
    script = (
        "set -e; python -c 'import numpy, six; print(six.__version__)'; "
        "pip install -q --no-index ./mine-1.0-py3-none-any.whl ./six-99.0-py3-none-any.whl; mine; "
        "python -c 'import numpy, mine, six; print(six.__version__, mine.__version__)'; "
        "python3 -m pip install --no-index --find-links . numpy mine | grep -c 'already satisfied'"
    )
    lines = ran(made, script, files).splitlines()
    assert lines[1:] == ["added", "99.0 1.0", "2"], lines
    assert lines[0] != "99.0"


def test_what_one_run_added_another_does_not_have(made: Platform) -> None:
    files = {"mine-1.0-py3-none-any.whl": wheel("mine", "1.0", "added")}
    ran(made, "pip install -q --no-index ./mine-1.0-py3-none-any.whl && mine", files)
    assert ran(made, "python -c 'import mine' 2>/dev/null || echo gone", {}) == "gone\n"


def test_workspace_and_archive_are_ones_own_in_every_run(made: Platform) -> None:
    made.add_user("bob")
    told = "echo $USER >> $KQI_WORKSPACE/note; echo old > $KQI_ARCHIVE/note; cat $KQI_WORKSPACE/note"
    assert ran(made, told, {}) == "alice\n"
    assert ran(made, told, {}) == "alice\nalice\n"
    assert ran(made, told, {}, person="bob") == "bob\n"
    with made.client("alice") as client:
        run = client.post("/notebooks", json={"title": "look"}).json()
        place = f"/notebooks/{run['id']}"
        wait_for(client, place, "running")
        output = made.state / "store" / "runs" / "notebook" / str(run["id"]) / "output"
        for link, kept in (("workspace", "workspaces"), ("archive", "archives")):
            assert (output / link).is_symlink()
            assert (made.state / "store" / kept / "alice" / "note").exists()
        client.post(f"{place}/stop", json={}).raise_for_status()
        wait_for(client, place, "canceled", "completed")


def test_the_client_inside_of_a_run_acts_for_this_run_alone(made: Platform) -> None:
    script = (
        "set -e; command -v kqi; kqi whoami; kqi training get $TRAINING_ID --json | head -c 20; echo; "
        "python -c 'import kqi; print(kqi.Client().me().name)'; "
        "kqi tokens create more 2>&1 || echo refused"
    )
    log = ran(made, script, {})
    assert "tools/bin/kqi\n" in log or "/bin/kqi\n" in log
    assert "alice" in log and '"id"' in log and "refused" in log
