"""Signing in and out, tokens, and what one is told when it does not work."""

import json
import os
import re
import subprocess
import sys

import pytest

import kqi
from kqi.cli.exits import Code
from tests.integration.cli.person import Person
from tests.platform import PASSWORD, Platform


def test_a_password_from_the_standard_input_signs_in_and_is_kept_nowhere(stranger: Person) -> None:
    wrong = stranger("login", stranger.server, "--user", "alice", text="not it\n")
    assert wrong.code == Code.NOT_SIGNED_IN and "Traceback" not in wrong.err
    done = stranger("login", stranger.server, "--user", "alice", text=PASSWORD + "\n")
    assert done.code == 0 and "alice" in done.out
    kept = [path for path in stranger.home.rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert not [path for path in kept if PASSWORD in path.read_text()]
    me = stranger("whoami", "--json").json
    assert (me["name"], me["administrator"]) == ("alice", False)
    kept = next(path for path in stranger.home.rglob("token.json"))
    token = json.loads(kept.read_text())["token"]
    assert stranger("whoami", KQI_TOKEN=token).code == 0
    assert stranger("logout", "--json").json == {"signed_in": False, "revoked": True}
    assert stranger("whoami", KQI_TOKEN=token).code == Code.NOT_SIGNED_IN
    assert stranger("whoami").code == Code.NOT_SIGNED_IN


def test_a_code_that_is_approved_in_a_browser_signs_in(platform: Platform, stranger: Person) -> None:
    waiting = stranger.start("login", stranger.server, "--name", "laptop of alice")
    assert waiting.stderr
    told = waiting.stderr.readline() + waiting.stderr.readline()
    address = re.search(r"http\S+", told)
    assert address, told
    with platform.browser("alice") as browser:
        page = browser.get(address[0])
        assert "laptop of alice" in page.text
        action = re.search(r'action="([^"]+answer=approve)"', page.text)
        assert action
        assert browser.post(action[1].replace("&amp;", "&")).status_code == 200
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert "alice" in out
    assert [token["name"] for token in stranger("tokens", "list", "--json").json].count("laptop of alice") == 1


def test_a_code_that_is_denied_does_not_sign_in(platform: Platform, stranger: Person) -> None:
    waiting = stranger.start("login", stranger.server)
    assert waiting.stderr
    address = re.search(r"http\S+", waiting.stderr.readline() + waiting.stderr.readline())
    assert address
    with platform.browser("alice") as browser:
        action = re.search(r'action="([^"]+answer=deny)"', browser.get(address[0]).text)
        assert action
        browser.post(action[1].replace("&amp;", "&"))
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == Code.FAILED and len(err.strip().splitlines()) == 1


def test_version_names_both_sides_and_needs_no_account(stranger: Person) -> None:
    assert stranger("version", "--json").json == {"client": kqi.__version__}
    both = stranger("version", "--server", stranger.server, "--json").json
    assert both["client"] == both["server"] == kqi.__version__


def test_a_revoked_token_says_what_to_do_in_the_persons_language(alice: Person) -> None:
    made = alice("tokens", "create", "short", "--json").json
    assert alice("whoami", KQI_TOKEN=made["token"]).code == 0
    assert alice("tokens", "revoke", made["info"]["id"]).code == 0
    for language, letters in (
        ({"KQI_LANG": "en"}, r"^Error: [A-Z][a-z]"),
        ({"LANG": "ja_JP.UTF-8"}, r"[ぁ-ん]"),
        ({"LC_ALL": "zh_CN.UTF-8"}, r"^错误.*[一-龥]"),
    ):
        refused = alice("whoami", KQI_TOKEN=made["token"], **language)
        assert refused.code == Code.NOT_SIGNED_IN
        lines = refused.err.strip().splitlines()
        assert len(lines) == 2 and "kqi login" in lines[1]
        assert re.search(letters, lines[0]), lines


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["training", "get", "999999"], Code.NOT_FOUND),
        (["data", "get", "999999"], Code.NOT_FOUND),
        (["dataset", "get", "999999"], Code.NOT_FOUND),
        (["dataset", "create", "x", "--flat", "999999"], Code.FAILED),
        (["dataset", "types", "--set", "training"], Code.FORBIDDEN),
        (["data", "list", "--tenant", "nobodys"], Code.NOT_FOUND),
        (["data", "upload", "no-such-file"], Code.USAGE),
        (["training", "create", "--title", "no command"], Code.USAGE),
        (["training", "create", "-c", "true", "--git", "ext::sh -c id"], Code.FAILED),
        (["training", "create", "-c", "true", "--cpu", "4000"], Code.FAILED),
        (["whoami", "--server", "http://127.0.0.1:9"], Code.NO_CONNECTION),
        (["trainin", "list"], Code.USAGE),
    ],
)
def test_a_failure_has_a_code_and_says_why(alice: Person, words: list[str], code: Code) -> None:
    done = alice(*words)
    assert (done.code, done.out) == (code, ""), done
    assert done.err.startswith("Error: ")


def test_the_code_is_the_same_in_every_language(alice: Person) -> None:
    for words in (["training", "get", "999999"], ["training", "create", "-c", "true", "--cpu", "4000"]):
        told = [alice(*words, KQI_LANG=language) for language in ("en", "ja", "zh")]
        assert len({done.code for done in told}) == 1 and told[0].code
        assert len({done.err for done in told}) == 3, told


def test_completion_is_shown_and_installed_for_the_shell(stranger: Person) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_KQI_COMPLETE" in stranger("completion", shell).out
    known = stranger(_KQI_COMPLETE="complete_bash", COMP_WORDS="kqi training cre", COMP_CWORD="2")
    assert known.out.split() == ["create"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(stranger.home)}
    for option in ("--show-completion", "--install-completion"):
        # The shell is found among the parents of the process.
        line = ["bash", "-c", f"{sys.executable} -m kqi {option}; exit $?"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    installed = [path for path in stranger.home.rglob("*") if path.is_file()]
    assert any("_KQI_COMPLETE" in path.read_text() for path in installed), installed
    assert ".bashrc" in [path.name for path in installed]
