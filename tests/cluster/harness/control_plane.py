"""etcd, apiserver, controller-manager and scheduler in a room."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness.network import API_PORT, API_SERVICE, CONTROL, PODS, SERVICES
from tests.cluster.harness.pki import Authority, signing_key
from tests.cluster.harness.room import Room

_ETCD, _PEER = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
SERVER = f"https://{CONTROL}:{API_PORT}"


class NotReady(Exception):
    """Something did not come up in time; the message holds the end of its log."""


@dataclass(slots=True)
class ControlPlane:
    room: Room
    authority: Authority
    kube: Path
    etcd: Path
    options: Sequence[str] = ()  # of the apiserver

    def certify(self) -> None:
        folder = self.authority.folder
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        addresses = [CONTROL, API_SERVICE, "127.0.0.1", "localhost"]
        self.authority.issue("apiserver", "kube-apiserver", hosts=[*names, *addresses])
        self.authority.issue("apiserver-kubelet", "kube-apiserver-kubelet-client", groups=["system:masters"])
        self.authority.issue("admin", "admin", groups=["system:masters"])
        for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
            self.authority.issue(name, f"system:{name}")
            self.authority.kubeconfig(name, SERVER)
        self.authority.kubeconfig("admin", SERVER)
        signing_key(folder, "tokens")

    def start(self) -> None:
        self.start_etcd()
        self.start_apiserver()
        pki = self.authority.folder
        self.room.spawn(
            "controllers",
            *(self.kube, "kube-controller-manager", f"--kubeconfig={pki}/kube-controller-manager.kubeconfig"),
            *("--use-service-account-credentials=true", "--leader-elect=false", "--kube-api-qps=500"),
            *(
                "--kube-api-burst=1000",
                "--concurrent-job-syncs=20",
                f"--service-account-private-key-file={pki}/tokens.key",
            ),
            *(f"--root-ca-file={pki}/ca.crt", f"--flex-volume-plugin-dir={self.room.folder}/volumeplugins"),
        )
        self.room.spawn(
            "scheduler",
            *(self.kube, "kube-scheduler", f"--kubeconfig={pki}/kube-scheduler.kubeconfig", "--leader-elect=false"),
            *("--kube-api-qps=500", "--kube-api-burst=1000"),
        )

    def start_etcd(self) -> None:
        self.room.spawn(
            "etcd",
            *(self.etcd, "--data-dir", self.room.folder / "etcd", "--unsafe-no-fsync", "--log-level=warn"),
            *(f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}", f"--listen-peer-urls={_PEER}"),
            *(f"--initial-advertise-peer-urls={_PEER}", f"--initial-cluster=default={_PEER}"),
        )

    def start_apiserver(self) -> None:
        """Start it and wait until it answers."""
        pki = self.authority.folder
        self.room.spawn(
            "apiserver",
            *(self.kube, "kube-apiserver", f"--etcd-servers={_ETCD}", f"--secure-port={API_PORT}"),
            *(f"--advertise-address={CONTROL}", f"--service-cluster-ip-range={SERVICES}"),
            *(f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt"),
            *(f"--tls-private-key-file={pki}/apiserver.key", f"--service-account-key-file={pki}/tokens.pub"),
            *(f"--service-account-signing-key-file={pki}/tokens.key", "--authorization-mode=Node,RBAC"),
            *("--service-account-issuer=https://kubernetes.default.svc", "--allow-privileged=true"),
            *(f"--kubelet-certificate-authority={pki}/ca.crt", "--kubelet-preferred-address-types=InternalIP"),
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            *self.options,
        )
        wait(
            "apiserver",
            lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok",
            self.room.log("apiserver"),
        )

    def stop_apiserver(self, *, how: signal.Signals = signal.SIGKILL) -> None:
        self.room.end("apiserver", how=how)

    def kubectl(self, *words: object, text: str | None = None, check: bool = True) -> str:
        """Run kubectl as cluster administrator and return what it printed. Raises RuntimeError."""
        config = self.authority.folder / "admin.kubeconfig"
        return self.room.run(self.kube, "kubectl", "--kubeconfig", config, *words, text=text, check=check)


def wait(what: str, ready: Callable[[], bool], log: Path, *, within_s: float = 60) -> None:
    """Ask until it is so. Raises `NotReady`."""
    until = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > until:
            raise NotReady(f"{what} is not ready after {within_s:.0f} s; {log.name} says:\n{_last_words(log)}")
        time.sleep(0.05)


def _last_words(log: Path) -> str:
    """Return what went wrong at last: components write one letter for how grave a line is."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    grave = [line for line in lines if line[:1] in "EF"]
    return "\n".join((grave or lines)[-12:])


__all__ = ["PODS", "SERVER", "ControlPlane", "NotReady", "wait"]
