"""Data, datasets and trainings by the command line, against the real platform."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from kqi.cli.exits import Code
from kqi.schema import PART_SIZE
from tests.integration.cli.person import Person
from tests.platform import Platform


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_of_300_files_with_japanese_names_comes_back_the_same(alice: Person) -> None:
    pictures = alice.home / "写真"
    for number in range(300):
        place = pictures / f"組{number % 7}" / f"猫の写真 {number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(number * 13))
    made = alice("data", "upload", "写真", "--tag", "生データ", "--memo", "三百枚", "--json").json
    assert (made["name"], made["files"], made["tags"]) == ("写真", 300, ["生データ"])
    again = alice("data", "get", made["id"]).out
    assert "写真" in again and "三百枚" in again
    assert "写真" in alice("data", "list", "--search", "写真").out
    assert made["id"] in [item["id"] for item in alice("data", "list", "--tag", "生データ", "--json").json]
    assert alice("data", "download", made["id"], "戻り").code == 0
    assert hashes(alice.home / "戻り") == hashes(pictures)
    few = alice("data", "download", made["id"], "few", "--prefix", "組3/", "--json").json
    assert few["files"] == len(list((pictures / "組3").iterdir()))


def test_an_upload_whose_client_was_killed_goes_on_when_repeated(platform: Platform, alice: Person) -> None:
    """What had arrived is known when the second attempt begins, so that it is not sent again."""
    size = 192 << 20
    content = os.urandom(1 << 20)
    with (alice.home / "大きい.bin").open("wb") as file:
        for number in range(size >> 20):
            file.write(number.to_bytes(8, "big") + content[8:])
    asked = {"size": size, "sha256": hashes(alice.home)["大きい.bin"], "part_size": PART_SIZE}
    with platform.client("alice") as client:
        first = alice.start("data", "upload", "大きい.bin")
        while not (sent := client.post("/uploads", json=asked).json())["parts"]:
            assert first.poll() is None, "the upload ended before it could be cut"
        first.kill()
        first.communicate()
        there = client.post("/uploads", json=asked).json()
        assert not there["complete"] and set(sent["parts"]) <= set(there["parts"])
    made = alice("data", "upload", "大きい.bin", "--json").json
    assert (made["files"], made["bytes"]) == (1, size)
    assert alice("data", "download", made["id"], "back").code == 0
    assert hashes(alice.home / "back")["大きい.bin"] == asked["sha256"]


def test_a_dataset_is_made_of_splits_and_found_again(alice: Person) -> None:
    (alice.home / "a.txt").write_text("a")
    data = alice("data", "upload", "a.txt", "--json").json["id"]
    made = alice(
        "dataset", "create", "一番", "--split", f"training={data}", "--split", f"testing={data}", "--json"
    ).json
    assert made["version"]["entries"]["splits"] == {"training": [data], "testing": [data]}
    assert "一番" in alice("dataset", "list").out
    assert f"training: {data}" in alice("dataset", "get", made["id"]).out
    assert alice("dataset", "download", made["id"], "laid").code == 0
    assert len(hashes(alice.home / "laid")) == 2
    assert alice("data", "delete", data).code == Code.CONFLICT


def test_a_training_from_git_is_followed_live_and_its_results_come_home(alice: Person, repository: Path) -> None:
    (alice.home / "a.txt").write_text("a")
    data = alice("data", "upload", "a.txt", "--json").json["id"]
    dataset = alice("dataset", "create", "d", "--split", f"training={data}", "--json").json["id"]
    following = alice.start(
        "training", "create", "--title", "学習", "--git", repository, "--dataset", dataset,
        "-c", "python3 train.py", "--tag", "最初", "--follow",
    )  # fmt: skip
    assert following.stdout and following.stderr
    assert following.stdout.readline() == "読み込み ['meta.json', 'training']\n"
    run = int(next(word for word in following.stderr.readline().split() if word.isdigit()))
    assert alice("training", "get", run, "--json").json["phase"] == "running"
    (alice.home / "go").write_text("")
    assert alice("training", "attach", run, "go").code == 0
    out, err = following.communicate(timeout=60)
    assert (following.returncode, out) == (0, "終わり 1\n"), err
    assert "モデル/" in alice("training", "outputs", run).out
    assert [entry["name"] for entry in alice("training", "outputs", run, "モデル", "--json").json] == ["重み.bin"]
    assert alice("training", "download", run, "results").code == 0
    assert (alice.home / "results" / "モデル" / "重み.bin").read_bytes() == bytes(range(256))
    assert alice("training", "download", run, "--zip-file", "all.zip").code == 0
    assert (alice.home / "all.zip").read_bytes().startswith(b"PK")
    assert alice("training", "logs", run).out.splitlines() == ["読み込み ['meta.json', 'training']", "終わり 1"]
    assert alice("training", "list", "--tag", "最初", "--json").json[0]["id"] == run
    row = next(line for line in alice("training", "list").out.splitlines() if line.split()[:1] == [str(run)])
    assert "学習" in row and "最初" in row and "alice" in row
    assert [event["phase"] for event in alice("training", "events", run, "--json").json][-1] == "completed"
    assert alice("dataset", "edit", dataset, "--flat", data).code == Code.CONFLICT


def test_a_training_from_a_folder_is_copied_with_one_thing_changed(alice: Person, repository: Path) -> None:
    (repository / "count.sh").write_text("echo $EPOCHS epochs; test $EPOCHS != 3\n")
    words = ["training", "create", "--title", "f", "-d", repository.name, "-c", "sh count.sh", "-e", "EPOCHS=2"]
    first = alice(*words, "-e", "KEPT=1", "--tag", "mine", "--follow")
    assert first.code == 0 and first.out == "2 epochs\n"
    run = alice("training", "list", "--limit", 1, "--json").json[0]["id"]
    second = alice("training", "copy", run, "-e", "EPOCHS=3", "--parent", run, "--follow")
    assert second.code == Code.FAILED and second.out == "3 epochs\n"
    last = alice("training", "list", "--limit", 1, "--json").json[0]
    assert (last["phase"], last["parents"], last["source"]) == ("failed", [run], last["source"])
    assert last["environment"] == {"EPOCHS": "3", "KEPT": "1"}
    words = ["--no-zip", "--image", "default", "--stop-at-first-failure", "--memo", "m", "--tag", "other"]
    third = alice("training", "copy", run, "-c", "false", "-c", "true", *words, "--json").json
    assert (third["zip"], third["image"], third["stop_at_first_failure"]) == (False, "default", True)
    assert (third["memo"], third["tags"], third["environment"]) == ("m", ["other"], {"EPOCHS": "2", "KEPT": "1"})
    assert alice("training", "wait", third["id"]).code == Code.FAILED
    assert alice("training", "get", third["id"], "--json").json["exit_code"] == 1
    assert alice("training", "wait", last["id"], "--json").code == Code.FAILED
    assert alice("training", "wait", run, "--json").json["phase"] == "completed"


@pytest.mark.parametrize(("more", "phase"), [([], "canceled"), (["--kill"], "killed")])
def test_a_training_can_be_stopped(alice: Person, more: list[str], phase: str) -> None:
    run = alice.train("echo begun; sleep 600")
    following = alice.start("training", "logs", run, "--follow", "--json")
    assert following.stderr and following.stderr.readline() == "begun\n"
    assert alice("training", "stop", run, *more).code == 0
    out, err = following.communicate(timeout=60)
    assert (following.returncode, json.loads(out)["phase"]) == (Code.FAILED, phase), err


def test_ctrl_c_leaves_the_training_running_and_names_the_way_back(alice: Person) -> None:
    following = alice.start("training", "create", "--title", "t", "-c", "echo begun; sleep 600", "--follow")
    assert following.stdout and following.stdout.readline() == "begun\n"
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=30)
    assert following.returncode == Code.INTERRUPTED
    run = alice("training", "list", "--limit", 1, "--json").json[0]
    assert run["phase"] == "running" and f"kqi training logs {run['id']} --follow" in err
    assert alice("training", "stop", run["id"], "--kill").code == 0


def test_a_run_is_seen_by_the_others_of_its_tenant(tokens: dict[str, str], alice: Person) -> None:
    run = alice.train("echo mine")
    assert alice("training", "wait", run).code == 0
    assert alice("training", "logs", run, KQI_TOKEN=tokens["bob"]).out == "mine\n"
    assert "alice" in alice("training", "get", run, KQI_TOKEN=tokens["bob"]).out


def test_why_a_training_failed_is_said_at_the_end_of_its_log_and_afterwards(alice: Person) -> None:
    number = alice.train("exit 3")
    followed = alice("training", "logs", number, "--follow", KQI_LANG="ja")
    assert followed.code == Code.FAILED and "終了コード 3 で終わりました" in followed.err, followed.err
    for words in (("get", number), ("wait", number)):
        assert "Its command ended with exit code 3." in alice("training", *words).out
