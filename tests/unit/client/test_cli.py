"""The command line, as a process of its own against the stub."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kqi.cli import COMMANDS, run
from kqi.client.local_names import Naming
from kqi.schema import CreateTraining
from kqi.texts import LANGUAGES, catalogue

from .conftest import Shell
from .stub import TOKEN, Fault, Stub


@pytest.fixture
def stranger(shell: Shell) -> Shell:
    """A person who has not signed in."""
    return Shell(shell.folder, {name: text for name, text in shell.environment.items() if name != "KQI_TOKEN"})


def test_a_day_from_login_to_result(stub: Stub, stranger: Shell) -> None:
    shell = Shell(stranger.folder, {k: v for k, v in stranger.environment.items() if k != "KQI_SERVER"})
    login = shell("login", stub.url, "--no-browser")
    assert login.code == 0 and "ABCD-EFGH" in login.err and "hanako" in login.out
    (shell.folder / "images").mkdir()
    for number in range(20):
        (shell.folder / "images" / f"{number}.txt").write_text(str(number))
    data = shell("data", "upload", "images", "--tag", "raw", "--json")
    assert data.json["files"] == 20 and data.json["name"] == "images"
    split = f"training={data.json['id']}"
    dataset = shell("dataset", "create", "numbers", "--split", split, "--split", "testing=1", "--json")
    assert dataset.json["version"]["entries"]["splits"] == {"training": [1], "testing": [1]}
    (shell.folder / "code").mkdir()
    (shell.folder / "code" / "train.py").write_text("print(1)\n")
    made = shell("training", "create", "--title", "first", "-c", "cd .", "-c", "python train.py", "-d", "code",
                 "--dataset", "1:1", "-e", "A=b=c", "--cpu", "2", "--gpu", "1", "--follow")  # fmt: skip
    assert made.code == 0, made.err
    assert "損失 0.5" in made.out
    got = shell("training", "get", "1", "--json").json
    assert got["command"] == "cd .\npython train.py" and got["environment"] == {"A": "b=c"}
    assert got["dataset"] == {"id": 1, "version": 1} and got["resources"]["cpu"] == 2
    assert shell("training", "download", "1", "results").code == 0
    assert (shell.folder / "results" / "sub" / "metrics.json").read_bytes() == b"{}"
    assert shell("logout").code == 0
    assert shell("whoami").code == 3


def test_a_password_is_read_from_the_input_and_never_shown(stranger: Shell) -> None:
    done = stranger("login", "--password", "--user", "hanako", text="correct horse\n")
    assert done.code == 0, done.err
    assert "correct horse" not in done.out + done.err and TOKEN not in done.out + done.err
    assert stranger("whoami", "--json").json["name"] == "hanako"
    wrong = stranger("login", "--user", "hanako", text="wrong\n")
    assert wrong.code == 3 and "Name or password is wrong." in wrong.err


def test_an_expired_token_does_not_keep_one_from_signing_in(stranger: Shell) -> None:
    done = stranger("login", "--user", "hanako", text="correct horse\n", KQI_TOKEN="expired")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["training", "get", "99"], 4),
        (["data", "get", "1"], 4),
        (["training", "delete", "1"], 5),
        (["data", "upload", "no-such-file"], 2),
        (["training", "create", "--title", "x"], 2),
        (["training", "create", "-c", "x", "--cpu", "-1"], 2),
        (["training", "create", "-c", "x", "--branch", "main"], 2),
        (["training", "create", "-c", "x", "--name", "Not Allowed"], 2),
        (["training", "get", "x"], 2),
        (["training", "frobnicate"], 2),
        (["training", "list", "--phase", "odd"], 2),
        (["training", "list", "--unknown"], 2),
        (["dataset", "create", "x"], 2),
        (["dataset", "create", "x", "--flat", "1,b"], 2),
        (["whoami", "--server", "http://127.0.0.1:9"], 7),
        (["whoami", "--server", "ftp://x"], 2),
        (["whoami", "--ca-file", "no-such-file"], 2),
    ],
)
def test_each_failure_has_its_code_and_one_sentence(shell: Shell, client, arguments: list[str], code: int) -> None:
    language = LANGUAGES[len(" ".join(arguments)) % len(LANGUAGES)]
    client.trainings.create(CreateTraining(title="held", command="hold"))
    done = shell(*arguments, KQI_LANG=language)
    assert done.code == code, done.err
    assert done.out == "" and "Traceback" not in done.err
    assert done.err.startswith(catalogue(language)["cli.error"].split("{")[0])


def test_without_a_token_the_next_step_is_named(stranger: Shell) -> None:
    done = stranger("data", "list", LC_ALL="ja_JP.UTF-8")
    assert done.code == 3
    assert "kqi login URL" in done.err and "ログイン" in done.err


def test_the_server_is_asked_in_the_persons_language(shell: Shell, stub: Stub) -> None:
    assert shell("whoami", LC_ALL="zh_CN.UTF-8").code == 0
    assert stub.headers[-1]["accept-language"] == "zh"


def test_every_command_explains_itself_in_every_language(shell: Shell) -> None:
    for words in (["--help"], ["training", "--help"], ["training", "create", "--help"], ["data", "upload", "-h"]):
        pages = {language: shell(*words, KQI_LANG=language) for language in LANGUAGES}
        assert all(page.code == 0 and page.err == "" for page in pages.values())
        assert len({page.out for page in pages.values()}) == len(LANGUAGES)
        for english in ("Usage", "Options", "Commands", "Show this", "default", "Missing"):
            assert english not in pages["ja"].out + pages["zh"].out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command.words))
def test_every_command_explains_itself_and_can_answer_in_json(command, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.words, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_json_is_all_there_is_on_the_standard_output(shell: Shell) -> None:
    (shell.folder / "a").write_text("a")
    assert shell("data", "upload", "a", "--json").json["id"] == 1
    assert shell("data", "list", "--json").json[0]["name"] == "a"
    assert shell("data", "files", "1", "--json").json[0]["path"] == "a"
    assert shell("data", "edit", "1", "--tag", "x", "--json").json["tags"] == ["x"]
    assert shell("data", "tags", "--json").json == ["x"]
    assert shell("data", "download", "1", "out", "--json").json["files"] == 1
    followed = shell("training", "create", "-c", "exit 0", "--follow", "--json")
    assert followed.json["phase"] == "completed" and "epoch 1" in followed.err
    assert "epoch 1" in shell("training", "logs", "1", "--json").json["log"]
    assert shell("training", "events", "1", "--json").json[0]["phase"] == "queued"
    assert shell("training", "outputs", "1", "--json").json[0]["name"] == "model.bin"
    assert shell("training", "delete", "1", "--json").json == {"id": 1}
    assert shell("capacity", "--json").json["gpus"][0]["free"] == 1
    assert shell("tokens", "create", "ci", "--json").json["token"] == TOKEN
    assert shell("tokens", "list", "--json").json[0]["name"] == "ci"
    assert shell("tokens", "revoke", "1", "--json").code == 0
    assert shell("dataset", "create", "f", "--flat", "1", "--json").json["flat"] is True
    assert shell("dataset", "version", "1", "--flat", "1,1", "--json").json["version"]["number"] == 2
    assert len(shell("dataset", "versions", "1", "--json").json) == 2
    assert shell("dataset", "files", "1:1", "--json").json[0]["path"] == "1/a"
    assert shell("dataset", "types", "--set", "training", "--set", "rest", "--json").json == ["training", "rest"]
    assert shell("dataset", "download", "1:1", "laid", "--json").json["files"] == 1
    assert (shell.folder / "laid" / "1" / "a").read_text() == "a"


def test_the_exit_code_tells_whether_the_training_completed(shell: Shell) -> None:
    assert shell("training", "create", "-c", "exit 0", "--follow").code == 0
    assert shell("training", "create", "-c", "exit 3", "--follow").code == 1
    assert shell("training", "wait", "1").code == 0
    assert shell("training", "wait", "2").code == 1
    assert shell("training", "logs", "2", "--follow").code == 1
    assert shell("training", "copy", "2", "-c", "exit 0", "--follow").code == 0


def test_a_command_can_come_from_the_standard_input(shell: Shell) -> None:
    made = shell("training", "create", "-c", "-", "--json", text="echo 一\necho 二\n")
    assert made.json["command"] == "echo 一\necho 二\n"


@pytest.mark.skipif(Naming.here() is Naming.WINDOWS, reason="sends a signal as a terminal of POSIX does")
def test_ctrl_c_leaves_the_training_running(shell: Shell, stub: Stub) -> None:
    process = shell.start("training", "create", "-c", "hold", "--follow")
    assert process.stderr and process.stdout
    assert process.stderr.readline()
    stub.write(1, b"working\n")
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "1 goes on" in err
    assert not stub.runs[1].phase.ended


@pytest.mark.skipif(Naming.here() is Naming.WINDOWS, reason="sends a signal as a terminal of POSIX does")
def test_an_upload_says_which_links_it_left_out(shell: Shell, stub: Stub) -> None:
    (shell.folder / "in").mkdir()
    (shell.folder / "other").mkdir()
    (shell.folder / "other" / "f").write_text("f")
    (shell.folder / "in" / "link").symlink_to(shell.folder / "other")
    ended = shell("data", "upload", "in", "--json")
    assert ended.json["left_out"] == [str(Path("in", "link"))] and ended.json["files"] == 0
    assert str(Path("in", "link")) in ended.err and "--follow-links" in ended.err
    followed = shell("data", "add", str(ended.json["id"]), "in", "--follow-links", "--json")
    assert followed.json["left_out"] == [] and not followed.err
    assert stub.files[1].keys() == {"link/f"}


def test_ctrl_c_in_an_upload_says_so_at_once(shell: Shell, stub: Stub) -> None:
    (shell.folder / "a").write_text("a")
    fault = Fault("POST", "/uploads/batch", "hold")
    stub.faults.append(fault)
    process = shell.start("data", "upload", "a")
    assert fault.held.wait(60)
    process.send_signal(signal.SIGINT)
    fault.released.set()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err


def test_a_closed_pipe_is_no_error(shell: Shell) -> None:
    if os.name == "nt":
        pytest.skip("uses a shell of POSIX")
    done = subprocess.run(
        ["bash", "-c", "python -m kqi --help | head -1; exit ${PIPESTATUS[1]}"],
        env={**shell.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""


def test_a_notebook_tells_its_whole_address(shell: Shell, stub: Stub) -> None:
    made = shell("notebook", "create", "--title", "n", "--wait", "--json")
    assert made.json["url"] == f"{stub.url}/user/hanako/1/lab"
    assert shell("notebook", "stop", "1", "--kill", "--json").json["phase"] == "killed"
    assert shell("notebook", "start", "1", "--json").json["url"].startswith(stub.url)


def test_a_private_authority_must_be_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    assert shell("whoami", "--ca-file", str(tmp_path / "ca.pem")).code == 2


def test_the_client_tells_its_version_without_a_server(stranger: Shell) -> None:
    alone = Shell(stranger.folder, {k: v for k, v in stranger.environment.items() if k != "KQI_SERVER"})
    assert alone("version").out.startswith("kqi ")
    assert stranger("version", "--json").json["server"] == "9.9.9"


def test_completion_knows_the_commands(shell: Shell) -> None:
    done = shell(_KQI_COMPLETE="complete_bash", COMP_WORDS="kqi training cr", COMP_CWORD="2")
    assert done.out.split() == ["create"]
    assert "_KQI_COMPLETE" in shell("completion", "bash").out
