"""JupyterLab of the platform, whatever people do to their homes."""

import os
from pathlib import Path

import pytest

from tests.images.conftest import Reference
from tests.images.containers import USER, Container, owned
from tests.images.lab import HOME, lab

_SLEEP = ("/usr/bin/tini", "--", "sleep", "600")
_POISON = "raise SystemExit('the home was imported')\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return owned(tmp_path / "home")


def test_a_kernel_has_the_tools_of_the_trade_and_what_a_person_adds(
    image: Reference, free_port: int, home: Path
) -> None:
    with lab(image("jupyterlab"), free_port, home) as server:
        assert "JupyterLab" in server.http.get("lab").raise_for_status().text
        assert server.kernels()["default"] == "python3"
        code = (
            "import sys, numpy, pandas, sklearn, matplotlib, tensorboard, kqi; "
            "print(sys.prefix, kqi.__version__, numpy.arange(4).sum())"
        )
        assert server.execute(code).split()[0::2] == ["/opt/kqi/python", "6"]
        asked = "import importlib.metadata as m; print(m.version('jupyterlab'))"
        lab_version = server.container.run("/opt/kqi/jupyter/bin/python", "-c", asked)
        assert server.execute("import os; print(os.environ['JUPYTERLAB_VERSION'])") == lab_version
        own = home / ".local/lib" / _version(server.container) / "site-packages"
        own.mkdir(parents=True)
        (own / "brought.py").write_text("answer = 42\n")
        assert server.execute("import brought; print(brought.answer)") == "42\n"
        made = "import os; os.close(os.open('/opt/kqi/python/x', os.O_CREAT | os.O_WRONLY))"
        assert "PermissionError" in server.execute(made)


def test_an_environment_of_ones_own_becomes_a_kernel_and_goes_again(
    image: Reference, free_port: int, home: Path
) -> None:
    with lab(image("jupyterlab"), free_port, home) as server:
        shell = ("env", f"HOME={HOME}", "bash", "-lc")
        server.container.run(
            *shell, "python -m venv --system-site-packages ~/own && ~/own/bin/python -c 'import numpy'"
        )
        server.container.run(*shell, "~/own/bin/python -m ipykernel install --user --name custom-env")
        assert "custom-env" in server.kernels()["kernelspecs"]
        assert server.execute("import sys; print(sys.prefix)", "custom-env") == f"{HOME}/own\n"
        server.container.run(*shell, "jupyter kernelspec uninstall -y custom-env")
        assert "custom-env" not in server.kernels()["kernelspecs"]


@pytest.mark.parametrize("wrong", ["c.ServerApp.port = 'not a number'", "raise SystemExit('a setting')"])
def test_it_starts_with_a_home_that_is_broken_in_every_way(
    image: Reference, free_port: int, home: Path, wrong: str
) -> None:
    with Container(image=image("jupyterlab"), entrypoint=_SLEEP) as container:
        version = _version(container)
    for name in ("jupyter_server", "jupyterhub", "jupyterlab", "tornado", "traitlets"):
        package = home / ".local/lib" / version / "site-packages" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(_POISON)
    (home / ".local/lib" / version / "site-packages" / "poison.pth").write_text(f"import os; {_POISON}")
    (home / ".local/lib" / version / "site-packages" / "sitecustomize.py").write_text(_POISON)
    programs = home / ".local/bin"
    programs.mkdir()
    for name in ("python", "python3", "jupyter", "mktemp", "jupyterhub-singleuser"):
        (programs / name).write_text("#!/bin/sh\nexit 3\n")
        (programs / name).chmod(0o755)
    settings = home / ".jupyter"
    (settings / "jupyter_server_config.d").mkdir(parents=True)
    (settings / "labconfig").mkdir()
    (settings / "jupyter_server_config.py").write_text(f"{wrong}\n")
    for name in ("jupyter_config.json", "jupyter_server_config.json", "labconfig/page_config.json"):
        (settings / name).write_text('{"broken": ')
    (settings / "jupyter_server_config.d" / "own.json").write_text('{"ServerApp": {"jpserver_extensions": {"no": ')
    (home / ".local/share/jupyter").mkdir(parents=True)
    (home / ".local/share/jupyter/runtime").write_text("a file where a folder should be")
    (home / ".ipython").write_text("likewise")
    _give(home)
    with lab(image("jupyterlab"), free_port, home) as server:
        assert "JupyterLab" in server.http.get("lab").raise_for_status().text
        assert "the home was imported" not in server.container.output
        assert "without the settings in ~/.jupyter" in server.container.output


def test_settings_in_a_home_that_can_be_read_count(image: Reference, free_port: int, home: Path) -> None:
    (home / ".jupyter").mkdir()
    (home / ".jupyter/jupyter_server_config.py").write_text("c.ServerApp.terminals_enabled = False\n")
    _give(home)
    with lab(image("jupyterlab"), free_port, home) as server:
        assert server.http.get("api/terminals").status_code == 404
        assert "without the settings" not in server.container.output


def test_it_starts_with_an_empty_home_and_with_one_that_takes_nothing_more(
    image: Reference, free_port: int, home: Path
) -> None:
    with lab(image("jupyterlab"), free_port, home, home_mode="ro") as server:
        assert server.execute("print(6 * 7)") == "42\n"
    with lab(image("jupyterlab"), free_port, home) as server:
        server.container.run("find", HOME, "-mindepth", "1", "-delete")
        assert server.execute("print(6 * 7)") == "42\n"


def test_a_notebook_is_executed_from_a_terminal(image: Reference, home: Path) -> None:
    cell = '{"cell_type": "code", "metadata": {}, "source": "print(6 * 7)", "outputs": [], "execution_count": null}'
    (home / "example.ipynb").write_text(f'{{"cells": [{cell}], "metadata": {{}}, "nbformat": 4, "nbformat_minor": 4}}')
    _give(home)
    with Container(image=image("jupyterlab"), entrypoint=_SLEEP, mounts={HOME: home}) as container:
        line = "jupyter nbconvert --to notebook --ExecutePreprocessor.timeout=-1 --execute example.ipynb"
        container.run("env", f"HOME={HOME}", "bash", "-lc", f"cd && {line}")
    assert '"42\\n"' in (home / "example.nbconvert.ipynb").read_text()


def test_the_programs_that_people_are_told_to_use_are_there(image: Reference) -> None:
    programs = (
        "git git-lfs wget curl rsync rclone ssh sftp tmux ssh-import-id vim nano less zip unzip jq make gcc g++ uv"
    )
    with Container(image=image("jupyterlab"), entrypoint=_SLEEP) as container:
        found = container.run("bash", "-lc", f"for one in {programs}; do type -P $one || echo NO; done")
        assert "NO" not in found.split()
        compiled = "echo 'int main(void){return 42;}' >/tmp/a.c && gcc -o /tmp/a /tmp/a.c && { /tmp/a; echo $?; }"
        assert container.run("bash", "-lc", compiled).strip() == "42"
        assert container.run("git", "config", "--get", "filter.lfs.required").strip() == "true"


def _version(container: Container) -> str:
    return f"python{container.run('python3', '-c', 'import sys; print(*sys.version_info[:2], sep=chr(46))').strip()}"


def _give(folder: Path) -> None:
    for place, _, files in os.walk(folder):
        for one in (place, *(os.path.join(place, name) for name in files)):
            os.chown(one, *USER, follow_symlinks=False)
