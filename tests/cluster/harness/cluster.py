"""A whole cluster: started in seconds, reached by loopback ports, gone without a trace."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.harness import build, cgroups, images, network
from tests.cluster.harness.control_plane import ControlPlane, wait
from tests.cluster.harness.node import Node
from tests.cluster.harness.pki import Authority
from tests.cluster.harness.room import Room

_DNS = Path(__file__).with_name("coredns.yaml")
PAUSE_IMAGE, DNS_IMAGE = "localhost/pause:1", "localhost/coredns:1"
BUSYBOX_IMAGE, PROBE_IMAGE = "localhost/busybox:1", "localhost/probe:1"
_PLACE, _PREFIX = Path("/var/tmp"), "kqi-cluster-"


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Use as a context. `gpus` are made-up cards of every node by resource name, `apiserver` further options of it."""

    nodes: int = 1
    gpus: Mapping[str, int] = field(default_factory=lambda: {"nvidia.com/gpu": 4})
    apiserver: Sequence[str] = ()
    folder: Path = field(init=False)
    control: ControlPlane = field(init=False)
    workers: list[Node] = field(default_factory=list)
    _relays: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _lock: int = -1  # held as long as the cluster lives

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until pods can run. Raises `CannotBuild`, `NotReady` or RuntimeError."""
        programs = _programs()
        with (build.cache() / ".clusters.lock").open("w") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            _sweep()
            self.folder = Path(tempfile.mkdtemp(dir=_PLACE, prefix=_PREFIX))
            self._lock = _locked(self.folder)
        self.folder.chmod(0o711)
        authority = Authority.make(self.folder / "pki")
        room = Room("control", self.folder / "control", [programs["kube"].parent])
        room.open()
        self.control = ControlPlane(room, authority, programs["kube"], programs["etcd"], self.apiserver)
        self.control.certify()
        network.lay_bridge(room)
        for number in range(1, self.nodes + 1):
            place = network.Place(number)
            inside = Room(
                place.name,
                self.folder / place.name,
                [programs["kube"].parent, programs["plugins"], programs["runc"].parent],
            )
            inside.open()
            self.workers.append(Node(inside, place, authority, programs, self.gpus))
            network.plug_in(room, inside, place)
        for one in self.workers:
            for other in self.workers:
                if one is not other:
                    network.tell_way(one.room, other.place)
        (self.folder / "resolv.conf").write_text("nameserver 192.0.2.53\n")
        self.control.start()
        for node in self.workers:
            (node.work / "resolv.conf").write_text("nameserver 192.0.2.53\n")
            node.start()
        self._furnish(programs)
        self._export()

    def stop(self) -> None:
        """End everything, whatever state it is in, and remove its files."""
        for relay in self._relays:
            relay.kill()
            relay.wait(10)
        self._relays.clear()
        for node in self.workers:
            node.stop()
        self.workers.clear()
        if hasattr(self, "control"):
            self.control.room.close()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)

    @property
    def image(self) -> str:
        """One with busybox in it."""
        return BUSYBOX_IMAGE

    @property
    def kubeconfig(self) -> Path:
        """For programs of the machine: it goes by a loopback port."""
        return self.folder / "kubeconfig"

    def kubectl(self, *words: object, text: str | None = None, check: bool = True) -> str:
        return self.control.kubectl(*words, text=text, check=check)

    def get(self, *words: object) -> Any:
        """Return what `kubectl get` says, as objects."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def load(self, archive: Path) -> None:
        """Put an image on every node."""
        with ThreadPoolExecutor() as together:
            list(together.map(lambda node: node.load(archive), self.workers))

    def forward(self, host: str, port: int) -> int:
        """Return a loopback port of the machine that leads to an address of the cluster."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            words = [
                "nsenter",
                f"--net={self.control.room.network}",
                "--",
                sys.executable,
                "-m",
                "tests.cluster.harness.relay",
            ]
            relay = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *words, str(listener.fileno()), host, str(port)],
                pass_fds=[listener.fileno()],
                cwd=Path(__file__).parents[3],
                stdin=subprocess.DEVNULL,
            )
            self._relays.append(relay)
            return int(listener.getsockname()[1])

    def _furnish(self, programs: Mapping[str, Path]) -> None:
        """Bring the images that every cluster needs, and names for pods."""
        folder = self.folder / "images"
        folder.mkdir()
        single = {PAUSE_IMAGE: "pause", DNS_IMAGE: "coredns", PROBE_IMAGE: "probe"}
        made = [
            images.Image(reference=reference, files={name: programs[name]}, entrypoint=(f"/{name}",))
            for reference, name in single.items()
        ]
        archives = [images.write(image, folder / f"{number}.tar") for number, image in enumerate([*made, busybox()])]
        for node in self.workers:
            for archive in archives:
                node.load(archive)
        for node in self.workers:
            wait(node.name, partial(self._ready, node), node.room.log("kubelet"))
        wait("service account", self._has_account, self.control.room.log("controllers"))
        self.kubectl("apply", "-f", "-", text=_DNS.read_text())

    def _has_account(self) -> bool:
        return "default" in self.kubectl("get", "serviceaccount", "default", "-o", "name", check=False)

    def _ready(self, node: Node) -> bool:
        """Whether it takes pods, and has told of its cards."""
        told = self.kubectl("get", "node", node.name, "-o", "json", "--ignore-not-found", check=False)
        status = json.loads(told)["status"] if told else {}
        ready = {one["type"]: one["status"] for one in status.get("conditions", [])}.get("Ready") == "True"
        return ready and all(status["allocatable"].get(name) == str(count) for name, count in self.gpus.items())

    def _export(self) -> None:
        port = self.forward(network.CONTROL, network.API_PORT)
        made = self.control.authority.kubeconfig("admin", f"https://127.0.0.1:{port}")
        shutil.copy(made, self.kubeconfig)
        self.control.authority.kubeconfig("admin", f"https://{network.CONTROL}:{network.API_PORT}")


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _sweep() -> None:
    """Remove what clusters left whose keeper was killed; their processes ended with it."""
    for folder in _PLACE.glob(f"{_PREFIX}*"):
        try:
            descriptor = _locked(folder)
        except OSError:
            continue
        for group in cgroups.named(f"kqi-{folder.name}-"):
            cgroups.remove(group)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _programs() -> dict[str, Path]:
    kubernetes, runtime, runc = build.binaries(("kubernetes", "runtime", "runc"))
    return {
        **{name: kubernetes / name for name in ("kube", "coredns", "pause", "probe")},
        **{name: runtime / name for name in ("containerd", "ctr", "etcd")},
        **{"plugins": runtime, "runc": runc / "runc"},
    }


def busybox() -> images.Image:
    """Return an image of many small programs. Raises `CannotBuild`."""
    found = shutil.which("busybox")
    if found is None:
        raise build.CannotBuild("busybox is needed for the images of tests: apt-get install busybox-static")
    names = subprocess.run([found, "--list"], check=True, capture_output=True, text=True).stdout.split()
    links = {f"bin/{name}": "busybox" for name in names if name != "busybox"}
    return images.Image(reference=BUSYBOX_IMAGE, files={"bin/busybox": Path(found)}, links=links)
