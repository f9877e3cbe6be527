"""Where the server is and who asks."""

import os
import stat
from pathlib import Path

import pytest

import kqi
from kqi.client.errors import BadSettings, ConnectionFailed, NoServer
from kqi.client.settings import Secret, Settings, find, folder, forget_token, store, tidy

SECRET = "kqi_marked-text"


def test_the_environment_wins_over_what_was_stored(tmp_path: Path) -> None:
    environ = {"KQI_CONFIG_DIR": str(tmp_path)}
    store(Settings(server="https://stored.example", token=Secret("stored")), environ)
    found = find(None, {**environ, "KQI_SERVER": "https://run.example", "KQI_TOKEN": SECRET})
    assert (found.server, found.token and found.token.reveal()) == ("https://run.example", SECRET)


def test_a_token_goes_only_to_the_server_that_gave_it(tmp_path: Path) -> None:
    environ = {"KQI_CONFIG_DIR": str(tmp_path)}
    store(Settings(server="https://stored.example", token=Secret(SECRET)), environ)
    assert find(None, environ).token is not None
    assert find(None, {**environ, "KQI_SERVER": "https://other.example"}).token is None


def test_a_token_can_be_forgotten_twice(tmp_path: Path) -> None:
    environ = {"KQI_CONFIG_DIR": str(tmp_path)}
    store(Settings(server="https://stored.example", token=Secret(SECRET)), environ)
    forget_token(environ)
    forget_token(environ)
    assert find(None, environ).token is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_only_its_owner_can_read_the_token(tmp_path: Path) -> None:
    environ = {"KQI_CONFIG_DIR": str(tmp_path / "new")}
    place = store(Settings(server="https://stored.example", token=Secret(SECRET)), environ)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


def test_a_token_does_not_show_itself() -> None:
    settings = Settings(server="https://a.example", token=Secret(SECRET))
    with kqi.Client("http://127.0.0.1:9", token=SECRET) as client:
        shown = [repr(settings), str(settings), repr(client), str(client), repr(client.settings)]
        with pytest.raises(ConnectionFailed) as caught:
            client.sign_in.start_device()
        shown += [repr(caught.value), str(caught.value)]
    assert not any(SECRET in text for text in shown)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://hub.example/services/kqi", "https://hub.example"),
        ("https://hub.example/base/services/kqi/api/v1", "https://hub.example/base"),
        ("https://hub.example/hub/home?next=x#y", "https://hub.example"),
        ("https://hub.example/base/", "https://hub.example/base"),
        ("localhost:8000", "http://localhost:8000"),
        ("hub.example", "https://hub.example"),
    ],
)
def test_an_address_may_be_copied_from_the_browser(given: str, used: str) -> None:
    assert tidy(given) == used


@pytest.mark.parametrize("given", ["ftp://hub.example", "https://", "https:// x"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(BadSettings):
        tidy(given)


def test_without_a_server_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoServer, match="kqi login URL"):
        find(None, {"KQI_CONFIG_DIR": str(tmp_path)})


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadSettings, match=r"config\.json"):
        find(None, {"KQI_CONFIG_DIR": str(tmp_path)})


def test_the_folder_is_the_platforms(tmp_path: Path) -> None:
    assert folder({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "kqi"
    assert folder({}).name == "kqi" and folder({}).is_relative_to(Path.home())
