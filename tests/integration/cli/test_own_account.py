"""One's own account by the command line: profile, narrowed tokens, keys, credentials, git's helper, terms."""

import subprocess

import httpx
import pytest

from kqi.cli.exits import Code
from tests.integration.cli.person import Person
from tests.platform import Platform, form_token


def test_a_profile_is_shown_and_edited(alice: Person) -> None:
    edited = alice("account", "edit", "--time-zone", "Asia/Tokyo", "--email", "alice@example.org", "--json").json
    assert (edited["time_zone"], edited["email"]) == ("Asia/Tokyo", "alice@example.org")
    shown = alice("account", "show")
    assert "Asia/Tokyo" in shown.out and "run.submit" in shown.out
    assert alice("account", "edit", "--time-zone", "Mars/Olympus").code == Code.FAILED
    assert alice("account", "edit").code == Code.USAGE


def test_a_token_is_narrowed(alice: Person) -> None:
    words = ("tokens", "create", "ci", "--tenant", "sandbox", "--can", "data.read,run.submit", "--days", "7", "--json")
    made = alice(*words).json
    assert made["info"]["capabilities"] == ["data.read", "run.submit"]
    me = alice("account", "show", "--json", KQI_TOKEN=made["token"]).json
    assert (me["capabilities"], me["token"]["tenant"]) == (["data.read", "run.submit"], "sandbox")
    assert alice("data", "list", KQI_TOKEN=made["token"]).code == 0
    assert alice("dataset", "list", KQI_TOKEN=made["token"]).code == Code.FORBIDDEN
    assert "data.read" in alice("tokens", "list").out
    assert alice("tokens", "create", "x", "--can", "root").code == Code.FAILED


def test_keys_are_added_from_a_file_or_the_standard_input(alice: Person) -> None:
    file = alice.home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "laptop", "-f", file], check=True)
    added = alice("account", "keys", "add", f"{file}.pub", "--json").json
    listed = alice("account", "keys", "list")
    assert added["fingerprint"] in listed.out and "laptop" in listed.out
    again = alice("account", "keys", "add", "-", text=file.with_suffix(".pub").read_text())
    assert again.code == Code.CONFLICT
    private = alice("account", "keys", "add", file)
    assert private.code == Code.FAILED and "PRIVATE" not in private.err
    assert alice("account", "keys", "remove", added["id"]).code == 0


def test_git_is_answered_with_what_was_kept_for_its_host(alice: Person) -> None:
    kept = alice(
        *("account", "credentials", "set", "git", "https://git.example.org/team", "--user", "alice", "--json"),
        text="canary-token\n",
    )
    assert kept.json["server"] == "git.example.org" and "canary" not in kept.out + kept.err
    asked = "protocol=https\nhost=git.example.org\n\n"
    assert alice("git-credential", "get", text=asked).out == "username=alice\npassword=canary-token\n"
    for other in (
        asked.replace("git.example.org", "other.example.org"),
        asked.replace("https", "http"),
        asked.replace("\n\n", "\nusername=bob\n\n"),
    ):
        silent = alice("git-credential", "get", text=other)
        assert (silent.code, silent.out) == (0, "")
    for action in ("store", "erase"):
        assert alice("git-credential", action, text=asked + "password=x\n").out == ""
    listed = alice("account", "credentials", "list")
    assert "git.example.org" in listed.out and "canary" not in listed.out
    assert alice("account", "credentials", "remove", kept.json["id"]).code == 0


def test_git_itself_asks_by_the_helper(alice: Person) -> None:
    words = ("account", "credentials", "set", "git", "git.example.org:8443", "--json")
    kept = alice(*words, text="canary-token\n").json
    program = f"!{alice.started[0].args[0]} -m kqi git-credential"  # type: ignore[index]
    filled = subprocess.run(
        ["git", "-c", "credential.helper=", "-c", f"credential.helper={program}", "credential", "fill"],
        input="url=https://git.example.org:8443/team/code.git\n",
        env={**alice.variables, "HOME": str(alice.home), "PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "password=canary-token" in filled.stdout.splitlines(), filled.stderr
    alice("account", "credentials", "remove", kept["id"])


def test_notification_targets_are_kept_masked(alice: Person) -> None:
    words = ("account", "notifications", "add", "webhook", "hook", "--events", "failed,killed")
    made = alice(*words, "--json", text="https://hooks.example.org/canary\n").json
    assert made["key"] and made["target"]["events"] == ["failed", "killed"]
    listed = alice("account", "notifications", "list")
    assert "hooks.example.org" in listed.out and "canary" not in listed.out
    number = made["target"]["id"]
    assert alice("account", "notifications", "edit", number, "--events", "completed").code == 0
    assert alice("account", "notifications", "edit", number, "--events", "sunrise").code == Code.USAGE
    assert alice("account", "notifications", "remove", number).code == 0


@pytest.mark.parametrize("missing", [["admin", "terms", "show"], ["account", "terms"]])
def test_there_may_be_no_terms(alice: Person, missing: list[str]) -> None:
    assert alice(*missing).code == Code.NOT_FOUND


def test_terms_are_published_and_accepted(stranger: Person) -> None:
    said = {
        "KQI_HUB__TEXTS__CONTACT__EN": "Ask desk@example.org <b>now</b>",
        "KQI_HUB__TEXTS__CONTACT__JA": "窓口へ",
        "KQI_HUB__TEXTS__ANNOUNCEMENT__EN": "Closed on Friday",
    }
    with Platform(environment=False, **said) as own:
        own.add_user("chief", "--admin")
        own.add_user("carol")
        person = {name: {"KQI_SERVER": own.url, "KQI_TOKEN": own.token(name)} for name in ("chief", "carol")}
        for language, text in (("ja", "規約"), ("zh", "条款"), ("en", "No mining.")):
            (stranger.home / language).write_text(text)
        words = ("--ja", "ja", "--zh", "zh", "--en", "en", "--json")
        published = stranger("admin", "terms", "publish", *words, **person["chief"]).json
        assert (published["version"], published["texts"]["ja"]) == (1, "規約")
        refused = stranger("data", "list", **person["carol"])
        assert refused.code == Code.FORBIDDEN and "accept-terms" in refused.err
        assert stranger("account", "terms", **person["carol"], KQI_LANG="en").out.count("No mining.") == 1
        assert stranger("account", "accept-terms", **person["carol"]).code == Code.USAGE
        assert stranger("account", "accept-terms", "--version", "1", **person["carol"]).code == 0
        assert stranger("data", "list", **person["carol"]).code == 0
        with own.browser("chief") as browser:
            page = browser.get("/services/kqi/")
            assert page.url.path == "/hub/kqi/terms" and "No mining." in page.text
            for language, text in (("ja", "規約"), ("zh", "条款")):
                assert text in browser.get("/hub/kqi/terms", params={"lang": language}).text
            form = {"_xsrf": form_token(page.text), "version": "1"}
            assert browser.post("/hub/kqi/terms", data=form).status_code == 400
            for shown in (page.text, httpx.get(f"{own.url}/hub/login").text):
                assert "Closed on Friday" in shown and "desk@example.org" in shown and "&lt;b&gt;now" in shown
            assert "窓口へ" in browser.get("/hub/kqi/terms", params={"lang": "ja"}).text
            went = browser.post("/hub/kqi/terms?next=/services/kqi/", data={**form, "accept": "yes"})
            assert went.url.path == "/services/kqi/", went.text
            front = browser.get("/services/kqi/", params={"lang": "en"}).text
            assert "Closed on Friday" in front and "desk@example.org" in front and "<b>now" not in front
        assert stranger("admin", "terms", "show", "--json", **person["chief"]).json["accepted"] == 2
