"""Trainings: from submit to collected output, through the public door."""

import asyncio
import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller, sha256

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a branch `other`, a tag, and a submodule."""
    inner, outer = Path("/var/tmp/kqi-test-inner"), tmp_path_factory.mktemp("git") / "outer"
    inner = outer.parent / "inner"
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]

    def git(folder: Path, *words: str) -> str:
        done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    for folder in (inner, outer):
        folder.mkdir()
        git(folder, "init", "--quiet", "-b", "main")
        (folder / "file.txt").write_text(folder.name)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", "first")
    git(outer, "submodule", "--quiet", "add", str(inner), "sub")
    git(outer, "commit", "--quiet", "-m", "with a submodule")
    git(outer, "tag", "v1")
    git(outer, "checkout", "--quiet", "-b", "other")
    (outer / "file.txt").write_text("of the other branch")
    git(outer, "commit", "--quiet", "-am", "second")
    git(outer, "checkout", "--quiet", "main")
    for folder in (outer.parent, *outer.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    return outer


async def test_a_command_of_several_lines_ends_with_the_code_of_its_last(alice: Caller) -> None:
    run = await alice.train("echo first\nfalse\necho last; exit 7", title="Größe und 猫")
    ended = await alice.ended(run["id"])
    assert (ended["phase"], ended["exit_code"], ended["reason"]) == ("failed", 7, "exit_code")
    assert (ended["title"], ended["name"]) == ("Größe und 猫", "groe-und")
    assert await alice.log(run["id"]) == "first\nlast\n"
    assert ended["started_at"] <= ended["finished_at"]
    events = (await alice.get(f"/trainings/{run['id']}/events"))["events"]
    assert [event["phase"] for event in events] == ["queued", "preparing", "running", "collecting", "failed"]


async def test_stop_at_the_first_failing_line_is_a_switch(alice: Caller) -> None:
    run = await alice.train("false\necho not reached", stop_at_first_failure=True)
    assert (await alice.ended(run["id"]))["exit_code"] == 1
    assert await alice.log(run["id"]) == ""


async def test_code_comes_from_the_commit_the_branch_or_the_default_branch(alice: Caller, repository: Path) -> None:
    def head(name: str) -> str:
        words = ["git", "rev-parse", f"{name}^{{commit}}"]
        return subprocess.run(words, cwd=repository, check=True, capture_output=True, text=True).stdout.strip()

    show = "cat file.txt; pwd; cat sub/file.txt; git log -1 --format=%H"
    for asked, commit, rule in (
        ({}, head("main"), "default_branch"),
        ({"branch": "other"}, head("other"), "branch"),
        ({"branch": "v1"}, head("v1"), "branch"),
        ({"branch": "other", "commit": head("main")}, head("main"), "commit"),
    ):
        run = await alice.train(show, source={"kind": "git", "url": str(repository), **asked})
        assert (run["source"]["commit"], run["source"]["rule"]) == (commit, rule)
        ended = await alice.ended(run["id"])
        assert ended["phase"] == "completed", (ended, await alice.log(run["id"]))
        text = await alice.log(run["id"])
        assert ("other branch" in text) == (commit == head("other"))
        assert text.endswith("inner" + commit + "\n")


async def test_wrong_sources_are_refused_at_submit(alice: Caller, repository: Path) -> None:
    for source, code in (
        ({"url": str(repository), "branch": "nope"}, "git_branch_unknown"),
        ({"url": str(repository), "commit": "zzz"}, "git_commit_not_valid"),
        ({"url": f"{repository}-that-is-not"}, "git_failed"),
        ({"url": "/nowhere/at/all"}, "git_local_forbidden"),
        ({"url": "ext::sh -c 'touch /tmp/owned'"}, "git_url_not_valid"),
        ({"url": "--upload-pack=touch /tmp/owned"}, "git_url_not_valid"),
        ({"url": "https://name:secret@example.org/x.git"}, "git_credentials_in_url"),
    ):
        body = {"command": "true", "source": {"kind": "git", **source}}
        refused = await alice.post("/trainings", body, 422)
        assert refused["code"] == code
        assert "secret" not in str(refused)


async def test_a_commit_that_is_not_there_ends_the_run_with_the_reason(alice: Caller, repository: Path) -> None:
    run = await alice.train("true", source={"kind": "git", "url": str(repository), "commit": "0" * 40})
    ended = await alice.ended(run["id"])
    assert (ended["phase"], ended["reason"]) == ("failed", "git_failed")


async def test_a_packed_folder_is_the_code(alice: Caller) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("run.sh")
        member.size, member.mode = 16, 0o755
        archive.addfile(member, io.BytesIO(b"#!/bin/sh\necho x"))
    content = buffer.getvalue()
    await alice.upload({"code.tar.gz": content})
    run = await alice.train("./run.sh", source={"kind": "archive", "sha256": sha256(content), "origin": "my folder"})
    assert (await alice.ended(run["id"]))["phase"] == "completed", await alice.log(run["id"])
    assert await alice.log(run["id"]) == "x\n"


async def test_a_packed_folder_with_a_way_out_is_refused(alice: Caller) -> None:
    for name, link in (("../out", None), ("link", "/etc"), ("/abs", None)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member, io.BytesIO(b""))
        await alice.upload({"code.tar.gz": buffer.getvalue()})
        run = await alice.train("ls", source={"kind": "archive", "sha256": sha256(buffer.getvalue())})
        ended = await alice.ended(run["id"])
        if ended["phase"] != "completed":  # an absolute name may also be taken as a relative one
            assert ended["reason"] == "archive_not_readable"
        assert not os.path.exists("/abs")


async def test_the_environment_is_the_one_of_the_contract(alice: Caller) -> None:
    data = await alice.data({"f": b"x"})
    dataset = await alice.dataset({"flat": [data["id"]]})
    run = await alice.train(
        "env -0", dataset={"id": dataset["id"]}, environment={"MINE": "a\nb 'c' $(d)", "COLUMNS": "80"}
    )
    await alice.ended(run["id"])
    seen = dict(line.split("=", 1) for line in (await alice.log(run["id"])).split("\0") if "=" in line)
    for name, value in {
        "MINE": "a\nb 'c' $(d)",
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        "TRAINING_ID": str(run["id"]),
        "DATASET_ID": str(dataset["id"]),
        "PARENT_ID": "",
        "ENTRY_POINT": "env -0",
        "ZIP_FILE_CREATED": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "NVIDIA_VISIBLE_DEVICES": "none",
        "MODEL_REPOSITORY_TOKEN": "",
    }.items():
        assert seen[name] == value, name
    assert seen["KQI_TOKEN"].startswith("kqi_")
    refused = await alice.post("/trainings", {"command": "x", "environment": {"KQI_TOKEN": "mine"}}, 422)
    assert refused["code"] == "environment_fixed"


async def test_the_token_of_a_run_works_in_its_tenant_while_it_runs_and_not_after(
    service: Running, alice: Caller
) -> None:
    script = (
        "import json, os, urllib.request as u; "
        "r = u.Request(os.environ['KQI_SERVER'] + '/services/kqi/api/v1/trainings/' + os.environ['TRAINING_ID'], "
        "headers={'Authorization': 'Bearer ' + os.environ['KQI_TOKEN']}); "
        "print(json.load(u.urlopen(r))['id']); print(os.environ['KQI_TOKEN'])"
    )
    run = await alice.train(f'python -c "{script}"')
    assert (await alice.ended(run["id"]))["phase"] == "completed", await alice.log(run["id"])
    number, token = (await alice.log(run["id"])).split()
    assert int(number) == run["id"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await alice.client.get("/me", headers=headers)).status_code == 401


async def test_a_parent_is_mounted_read_only_and_also_directly_when_it_is_the_only_one(alice: Caller) -> None:
    first = await alice.train("mkdir $KQI_ROOT/output/deep; echo model > $KQI_ROOT/output/deep/model.txt")
    second = await alice.train("echo two > $KQI_ROOT/output/two.txt")
    await alice.ended(first["id"])
    await alice.ended(second["id"])
    child = await alice.train(
        f"cat $KQI_ROOT/parent/deep/model.txt $KQI_ROOT/parent/{first['id']}/deep/model.txt; "
        f"echo x 2>/dev/null > $KQI_ROOT/parent/{first['id']}/deep/model.txt; "
        "cat $KQI_ROOT/parent/deep/model.txt; echo $PARENT_ID",
        parents=[first["id"]],
    )
    await alice.ended(child["id"])
    assert await alice.log(child["id"]) == f"model\nmodel\nmodel\n{first['id']}\n"
    both = await alice.train(
        f"cat $KQI_ROOT/parent/{second['id']}/two.txt; ls $KQI_ROOT/parent | wc -l", parents=[first["id"], second["id"]]
    )
    await alice.ended(both["id"])
    assert await alice.log(both["id"]) == "two\n2\n"
    refused = await alice.delete(f"/trainings/{first['id']}", 409)
    assert refused["code"] == "run_is_parent"


async def test_output_is_browsed_while_running_and_packed_at_the_end(alice: Caller) -> None:
    command = "cd $KQI_ROOT/output; mkdir d; echo x > d/f; ln -s /etc/passwd link; echo ready; sleep 600"
    run = await alice.train(command, grace_s=5)
    await alice.says(run["id"], "ready")
    place = f"/trainings/{run['id']}/outputs"
    assert [(e["name"], e["folder"]) for e in (await alice.get(place))["items"]] == [("d", True)]
    assert [e["name"] for e in (await alice.get(place, params={"path": "d"}))["items"]] == ["f"]
    assert (await alice.client.get(f"{place}/content/d/f")).content == b"x\n"
    for bad in ("link", "../attach", "d/../../attach", "d", "%2e%2e/attach", "d%00"):
        assert (await alice.client.get(f"{place}/content/{bad}")).status_code == 404, bad
    await alice.post(f"/trainings/{run['id']}/stop", {"mode": "cancel"}, 200)
    ended = await alice.ended(run["id"])
    assert (ended["phase"], ended["exit_code"]) == ("canceled", 143)
    kept = await alice.client.get(f"/trainings/{run['id']}/attachments/output.zip")
    with zipfile.ZipFile(io.BytesIO(kept.content)) as archive:
        assert archive.namelist() == ["d/f"]


async def test_zip_is_a_switch_and_also_for_failed_runs(alice: Caller) -> None:
    without = await alice.train("echo x > $KQI_ROOT/output/f; false", zip=False)
    packed = await alice.train("echo x > $KQI_ROOT/output/f; false")
    for run, names in ((without, []), (packed, ["output.zip"])):
        assert (await alice.ended(run["id"]))["phase"] == "failed"
        found = (await alice.get(f"/trainings/{run['id']}/attachments"))["items"]
        assert [item["name"] for item in found if item["name"].endswith(".zip")] == names


async def test_a_stop_with_grace_lets_it_finish_and_a_kill_does_not(alice: Caller) -> None:
    command = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    for mode, phase, text in (("cancel", "canceled", "ready\nsaved\n"), ("kill", "killed", "ready\n")):
        run = await alice.train(command, grace_s=60)
        await alice.says(run["id"], "ready")
        await alice.post(f"/trainings/{run['id']}/stop", {"mode": mode}, 200)
        assert (await alice.ended(run["id"]))["phase"] == phase
        assert (await alice.log(run["id"])).replace("Terminated\n", "") == text
    again = await alice.post(f"/trainings/{run['id']}/stop", {"mode": "kill"}, 409)
    assert again["code"] == "run_ended"


async def test_a_kill_does_not_wait_for_the_grace_of_a_cancel(alice: Caller) -> None:
    run = await alice.train("trap '' TERM; echo ready; while :; do sleep 0.1; done", grace_s=3600)
    await alice.says(run["id"], "ready")
    await alice.post(f"/trainings/{run['id']}/stop", {"mode": "cancel"}, 200)
    await alice.until(run["id"], "stopping")
    await alice.post(f"/trainings/{run['id']}/stop", {"mode": "kill"}, 200)
    assert (await alice.ended(run["id"]))["phase"] == "killed"


async def test_files_are_attached_while_it_runs_and_ours_are_locked(alice: Caller) -> None:
    run = await alice.train("sleep 600")
    await alice.until(run["id"], "running")
    place = f"/trainings/{run['id']}/attachments"
    assert (await alice.client.put(f"{place}/notes 1.txt", content=b"n")).status_code == 204
    found = {item["name"]: item["locked"] for item in (await alice.get(place))["items"]}
    assert found == {"notes 1.txt": False, f"training_stdout_stderr_{run['id']}.log": True}
    assert (await alice.client.get(f"{place}/notes 1.txt")).content == b"n"
    assert (await alice.delete(f"{place}/training_stdout_stderr_{run['id']}.log", 409))["code"] == "attachment_locked"
    await alice.delete(f"{place}/notes 1.txt")
    await alice.delete(f"/trainings/{run['id']}", 409)
    await alice.post(f"/trainings/{run['id']}/stop", {"mode": "kill"}, 200)
    await alice.ended(run["id"])


async def test_a_copy_runs_the_recorded_commit_with_what_is_given_instead(alice: Caller, repository: Path) -> None:
    run = await alice.train(
        "cat file.txt", source={"kind": "git", "url": str(repository), "branch": "other"}, tags=["t"]
    )
    copy = await alice.post(f"/trainings/{run['id']}/copy", {"title": "again", "environment": {"A": "b"}})
    assert copy["source"] == {**run["source"]}
    assert (copy["title"], copy["command"], copy["environment"], copy["tags"]) == (
        "again",
        run["command"],
        {"A": "b"},
        ["t"],
    )
    await alice.ended(copy["id"])
    await alice.ended(run["id"])


@pytest.mark.parametrize("plant", ["ln -s /etc/passwd", "mkfifo"])
async def test_a_log_that_its_run_has_replaced_shows_nothing_of_anybody_elses(alice: Caller, plant: str) -> None:
    log = '"$KQI_ROOT/attach/training_stdout_stderr_$TRAINING_ID.log"'
    run = await alice.train(f"rm {log}; {plant} {log}; touch $KQI_ROOT/output/planted; sleep 1")
    while not (await alice.get(f"/trainings/{run['id']}/outputs"))["items"]:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert await alice.log(run["id"], follow=True) == ""
    await alice.ended(run["id"])
    assert await alice.log(run["id"]) == ""


async def test_what_the_platform_could_never_give_is_refused_and_the_rest_queues_with_a_reason(alice: Caller) -> None:
    for resources, code in (
        ({"gpu": 3}, "more_gpus_than_there_are"),
        ({"gpu": 1, "gpu_kind": "other"}, "more_gpus_than_there_are"),
        ({"cpu": 9}, "more_cpu_than_there_is"),
        ({"memory_gb": 9}, "more_memory_than_there_is"),
    ):
        assert (await alice.post("/trainings", {"command": "x", "resources": resources}, 422))["code"] == code
    small = {"cpu": 0.1, "memory_gb": 0.1, "gpu": 2}
    holder = await alice.post("/trainings", {"command": "echo $CUDA_VISIBLE_DEVICES; sleep 600", "resources": small})
    waiting = await alice.post(
        "/trainings", {"command": "echo $CUDA_VISIBLE_DEVICES", "resources": {**small, "gpu": 1}}
    )
    assert (waiting["phase"], waiting["queue"]["position"], waiting["queue"]["reason"]) == (
        "queued",
        1,
        "waiting_for_gpu",
    )
    assert "GPU" in waiting["queue"]["detail"]
    free = await alice.get("/capacity")
    assert (free["gpus"], free["queued"]) == ([{"kind": "made-up", "total": 2, "free": 0}], 1)
    await alice.says(holder["id"], "0,1")
    await alice.post(f"/trainings/{holder['id']}/stop", {"mode": "kill"}, 200)
    ended = await alice.ended(waiting["id"])
    assert (ended["phase"], ended["gpu_indexes"]) == ("completed", [0])
    assert await alice.log(waiting["id"]) == "0\n"


async def test_a_queued_run_can_be_stopped_before_it_begins(alice: Caller) -> None:
    gpus = {"cpu": 0.1, "memory_gb": 0.1, "gpu": 2}
    holder = await alice.post("/trainings", {"command": "sleep 600", "resources": gpus})
    waiting = await alice.post("/trainings", {"command": "true", "resources": gpus})
    stopped = await alice.post(f"/trainings/{waiting['id']}/stop", {"mode": "cancel"}, 200)
    assert (stopped["phase"], stopped["exit_code"], stopped["queue"]) == ("canceled", None, None)
    await alice.post(f"/trainings/{holder['id']}/stop", {"mode": "kill"}, 200)
    await alice.ended(holder["id"])


async def test_a_notebook_that_is_over_does_not_keep_its_parents(alice: Caller) -> None:
    parent = await alice.train("true")
    await alice.ended(parent["id"])
    notebook = await alice.post("/notebooks", {"parents": [parent["id"]], "resources": {"cpu": 0.1, "memory_gb": 0.1}})
    refused = await alice.delete(f"/trainings/{parent['id']}", 409)
    assert (refused["code"], refused["params"]["child_kind"]) == ("run_is_parent", "notebook")
    assert refused["params"]["child"] == notebook["id"]
    await alice.post(f"/notebooks/{notebook['id']}/stop", {"mode": "kill"}, 200)
    await alice.ended(notebook["id"], "notebooks")
    await alice.delete(f"/trainings/{parent['id']}")
    assert (await alice.get(f"/notebooks/{notebook['id']}"))["parents"] == []


async def test_others_runs_do_not_exist_for_a_stranger(alice: Caller, stranger: Caller) -> None:
    run = await alice.train("true")
    await alice.ended(run["id"])
    place = f"/trainings/{run['id']}"
    for path in ("", "/log", "/events", "/outputs", "/outputs/content/x", "/outputs.zip", "/attachments"):
        assert (await stranger.get(place + path, 404))["code"] == "not_found"
    await stranger.patch(place, {"memo": "x"}, 404)
    await stranger.post(f"{place}/stop", {}, 404)
    await stranger.post(f"{place}/copy", {}, 404)
    await stranger.delete(place, 404)
    assert (await stranger.post("/trainings", {"command": "x", "parents": [run["id"]]}, 422))[
        "code"
    ] == "parent_unknown"
    assert (await stranger.get("/trainings"))["items"] == []


async def test_errors_speak_the_readers_language(alice: Caller) -> None:
    for language, word in (("ja", "存在しない"), ("zh-CN,zh;q=0.9", "不存在"), ("fr", "There is no")):
        problem = await alice.get("/trainings/999999", 404, headers={"Accept-Language": language})
        assert word in problem["detail"]
        assert problem["code"] == "not_found"


async def test_no_user_code_runs_as_root_or_sees_another_home(alice: Caller) -> None:
    run = await alice.train(
        "id -u; ls /root /home /var/lib/kqi 2>/dev/null; ls / > /dev/null; cat /proc/1/environ | wc -c"
    )
    await alice.ended(run["id"])
    assert (await alice.log(run["id"])).splitlines()[0] != "0"
