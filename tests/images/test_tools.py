"""What the platform shows to every image at /kqi/tools: programs and a JupyterLab that need nothing of the image."""

import io
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from images import rootfs
from images.engine import Buildah
from tests.images.conftest import Reference
from tests.images.containers import USER, Container, owned
from tests.images.lab import lab

_SLEEP = ("sleep", "600")
_SHELL = ("/bin/sh", "-c")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/kqi/tools/bin"
# What a Python that somebody compiled may want.
_LIBRARIES = ("libbz2-1.0", "libffi8", "liblzma5", "libreadline8", "libsqlite3-0", "libssl3", "libuuid1", "zlib1g")
# Folders of Pythons to try besides those of Debian, for drills: `KQI_TEST_PYTHONS=/opt/python3.6:/opt/python3.8`.
_FURTHER = [Path(one) for one in os.environ.get("KQI_TEST_PYTHONS", "").split(":") if one]
_WHO = (
    "import sys; maps = open('/proc/self/maps').read(); "
    "print(sys.executable, *sys.version_info[:2], maps.count('/kqi/tools/lib/'))"
)


@pytest.fixture(scope="module")
def store(image: Reference, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store that the tools were installed into, as the platform does it."""
    folder = owned(tmp_path_factory.mktemp("store") / "store")
    _install(image, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def tools(store: Path) -> dict[str, Path]:
    return {"/kqi/tools:ro": (store / "tools").resolve()}


@pytest.fixture(scope="session")
def busybox() -> str:
    """An image without any library: a shell, and a folder for what is temporary."""
    program = shutil.which("busybox")
    assert program
    packed = rootfs.cache() / ".busybox.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(program, "bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("etc", "home", "proc", "sys", "dev", "tmp"):
            place = tarfile.TarInfo(name)
            place.type, place.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(place)
        tar.addfile(tarfile.TarInfo("etc/nothing"), io.BytesIO())
    reference = "localhost/kqi-test/busybox:1"
    Buildah().import_root(packed, reference)
    packed.unlink()
    return reference


def debian(suite: str, *include: str) -> str:
    """Return an image of somebody else: a suite of Debian, with packages."""
    reference = f"localhost/kqi-test/{suite}:{len(include)}"
    if not Buildah().has(reference):
        Buildah().import_root(rootfs.archive(suite, include=include), reference)
    return reference


@pytest.fixture(params=["nothing", "an old libc"])
def foreign(request: pytest.FixtureRequest, image: Reference, busybox: str) -> str:
    return busybox if request.param == "nothing" else debian("bullseye", "python3")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/kqi/tools/bin/git --version", r"git version 2\."),
        ("/kqi/tools/bin/git lfs version", "git-lfs/3"),
        (
            "/kqi/tools/bin/git init -q /tmp/a && cd /tmp/a && /kqi/tools/bin/git -c user.name=a -c user.email=a@b "
            "commit -q --allow-empty -m first && /kqi/tools/bin/git clone -q file:///tmp/a /tmp/b && cd /tmp/b && "
            "/kqi/tools/bin/git log --format=%s",
            "first",
        ),
        ("/kqi/tools/bin/git ls-remote https://127.0.0.1:1/x 2>&1", "127.0.0.1"),
        ("cd /tmp && echo hello >f && /kqi/tools/bin/zip -q f.zip f && /kqi/tools/bin/unzip -p f.zip", "hello"),
        ("/kqi/tools/bin/python3 -m pip --version", r"pip 2\d.* from /kqi/tools/"),
        ("/kqi/tools/bin/python3 -c 'import ssl, sqlite3, ctypes, lzma, zlib, curses, uuid, decimal; print(42)'", "42"),
        ("/kqi/tools/bin/python3 -m venv /tmp/v && /tmp/v/bin/python -m pip --version", "/tmp/v/lib"),
        ("/kqi/tools/bin/kqi --help", "Usage"),
        ("printf 'a\\nb\\n' | /kqi/tools/bin/wc -l && /kqi/tools/bin/setsid /kqi/tools/bin/env", "2"),
    ],
    ids=["git", "lfs", "clone", "https", "zip", "pip", "modules", "venv", "kqi", "applets"],
)
def test_a_tool_runs(foreign: str, tools: dict[str, Path], line: str, says: str) -> None:
    # As some images say, and which would break a program that listens to it.
    around = {"PATH": _PATH, "LD_LIBRARY_PATH": "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu", "HOME": "/tmp"}
    with Container(image=foreign, entrypoint=_SLEEP, mounts=tools, environment=around) as container:
        assert re.search(says, container.run(*_SHELL, line, check="https" not in line)), line


def test_tools_come_as_a_whole_and_those_before_stay_for_what_runs(image: Reference, store: Path) -> None:
    link = store / "tools"
    version = (link / "version").read_text().strip()
    assert os.readlink(link) == f".tools/{version}"
    for older in ("one", "two"):
        owned(store / ".tools" / older)
    link.unlink()
    link.symlink_to(".tools/two")
    os.chown(link, *USER, follow_symlinks=False)
    _install(image, store)
    assert sorted(os.listdir(store / ".tools")) == sorted(["two", version])
    assert (link / "bin" / "git").exists()
    _install(image, store)
    assert os.listdir(store / ".tools") == [version]


@pytest.mark.parametrize(
    ("suite", "version"), [("bullseye", "3 9"), ("bookworm", "3 11"), ("trixie", "3 13")], ids=["3.9", "3.11", "3.13"]
)
def test_a_notebook_in_an_image_of_anybody_runs_that_images_own_python(
    image: Reference, free_port: int, tmp_path: Path, tools: dict[str, Path], suite: str, version: str
) -> None:
    foreign = image("base") if suite == "trixie" else debian(suite, "python3", *_libraries(suite))
    home = owned(tmp_path / "home")
    program = "/kqi/tools/bin/jupyterhub-singleuser"
    with lab(foreign, free_port, home, program=program, mounts=tools, path=_PATH) as server:
        assert "JupyterLab" in server.http.get("lab").raise_for_status().text
        assert server.execute(_WHO) == f"/usr/bin/python3 {version} 0\n"
        assert "ModuleNotFoundError" in server.execute("import jupyterlab")


def test_an_image_without_python_has_the_one_of_the_tools(
    busybox: str, free_port: int, tmp_path: Path, tools: dict[str, Path]
) -> None:
    program = "/kqi/tools/bin/jupyterhub-singleuser"
    with lab(busybox, free_port, owned(tmp_path / "home"), program=program, mounts=tools, path=_PATH) as server:
        assert server.execute("import sys; print(sys.executable)") == "/kqi/tools/lab/bin/python\n"


@pytest.mark.parametrize("prefix", _FURTHER, ids=lambda path: path.name)
def test_a_python_of_any_age_is_a_kernel(free_port: int, tmp_path: Path, tools: dict[str, Path], prefix: Path) -> None:
    foreign = debian("bookworm", "python3", *_LIBRARIES)
    mounts = {**tools, "/opt/own:ro": prefix}
    program = "/kqi/tools/bin/jupyterhub-singleuser"
    home = owned(tmp_path / "home")
    with lab(foreign, free_port, home, program=program, mounts=mounts, path=f"/opt/own/bin:{_PATH}") as server:
        said = server.execute(_WHO).split()
        assert said[0].startswith("/opt/own/bin/python") and said[-1] == "0", said


def _libraries(suite: str) -> tuple[str, ...]:
    return _LIBRARIES if suite == "bookworm" else ()


def _install(image: Reference, store: Path) -> None:
    words = ("/usr/bin/tini", "--", "install-tools", "/store/tools")
    with Container(image=image("runner"), entrypoint=words, mounts={"/store": store}, read_only=True) as container:
        assert container.wait() == 0, container.output
