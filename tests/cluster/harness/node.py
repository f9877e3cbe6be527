"""A node in a room of its own: containerd, kubelet, kube-proxy, and what stands for cards and network policies."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.harness import cgroups
from tests.cluster.harness.control_plane import SERVER, wait
from tests.cluster.harness.network import DNS_SERVICE, PODS, Place
from tests.cluster.harness.pki import Authority
from tests.cluster.harness.room import Room

_CONTAINERD = """version = 3
root = '{work}/containerd/root'
state = '/run/containerd-state'
[grpc]
  address = '/run/containerd.sock'
[plugins.'io.containerd.internal.v1.opt']
  path = '{work}/containerd/opt'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'localhost/pause:1'
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '{work}/registries'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['{plugins}']
  conf_dir = '{work}/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    BinaryName = '{runc}'
    SystemdCgroup = false
"""


@dataclass(slots=True)
class Node:
    """`programs` maps kube, containerd, ctr, runc and the folder of the network plug-ins to where they were built."""

    room: Room
    place: Place
    authority: Authority
    programs: Mapping[str, Path]
    gpus: Mapping[str, int] = field(default_factory=dict)  # made-up cards by resource name

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def work(self) -> Path:
        return self.room.folder

    @property
    def cgroup(self) -> str:
        return f"kqi-{self.work.parent.name}-{self.name}"

    def start(self) -> None:
        self._configure()
        cgroups.make(self.cgroup)
        self.start_containerd()
        self.start_kubelet()
        config = self.work / "kube-proxy.json"
        self.room.spawn(
            "kube-proxy", self.programs["kube"], "kube-proxy", "--config", config, f"--hostname-override={self.name}"
        )
        for resource, count in self.gpus.items():
            words = ("gpus", f"--resource={resource}", f"--count={count}")
            self.room.spawn(f"gpus-{resource.replace('/', '-')}", self.programs["kube"], *words)
        self.start_policies()

    def start_containerd(self) -> None:
        """Start it and wait until it answers: a kubelet gives up at once where it does not."""
        self.room.spawn("containerd", self.programs["containerd"], "-c", self.work / "containerd.toml")
        wait("containerd", lambda: "Server" in self._ctr("version", check=False), self.room.log("containerd"))

    def start_kubelet(self) -> None:
        self.room.spawn(
            "kubelet",
            *(self.programs["kube"], "kubelet", "--config", self.work / "kubelet.json"),
            *("--kubeconfig", self.authority.folder / f"{self.name}.kubeconfig", "--root-dir=/var/lib/kubelet"),
            *("--cert-dir=/var/lib/kubelet/pki", f"--hostname-override={self.name}", f"--node-ip={self.place.address}"),
        )

    def start_policies(self) -> None:
        admin = self.authority.folder / "admin.kubeconfig"
        words = ("policies", f"--node={self.name}", f"--pods={self.place.pods}", f"--kubeconfig={admin}")
        self.room.spawn("policies", self.programs["kube"], *words)

    def load(self, archive: Path) -> None:
        """Put an image of an archive where the kubelet finds it."""
        self._ctr("-n", "k8s.io", "images", "import", archive, timeout_s=600)  # gigabytes, and a machine that is busy

    def trust(self, registry: str) -> None:
        """Have images of `registry` (host:port) pulled without TLS."""
        folder = self.work / "registries" / registry
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text(f'server = "http://{registry}"\n')

    def stop(self) -> None:
        """End the node and all that runs on it at once."""
        self.room.close()
        cgroups.remove(self.cgroup)

    def _ctr(self, *words: object, check: bool = True, timeout_s: float = 120) -> str:
        words = (self.programs["ctr"], "-a", "/run/containerd.sock", *words)
        return self.room.run(*words, check=check, timeout_s=timeout_s)

    def _configure(self) -> None:
        for folder in ("containerd/root", "cni", "kubelet", "volumeplugins", "podlogs"):
            (self.work / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("", "containerd", "containerd/root"):
            # Pods with user namespaces cannot be prepared behind a folder of mode 0700.
            os.chmod(self.work / folder, 0o711)
        self.authority.issue(
            self.name, f"system:node:{self.name}", groups=["system:nodes"], hosts=[self.name, self.place.address]
        )
        self.authority.kubeconfig(self.name, SERVER)
        (self.work / "cni" / "10-kqi.conflist").write_text(json.dumps(self._network()))
        (self.work / "containerd.toml").write_text(
            _CONTAINERD.format(work=self.work, plugins=self.programs["plugins"], runc=self.programs["runc"])
        )
        (self.work / "kubelet.json").write_text(json.dumps(self._kubelet()))
        (self.work / "kube-proxy.json").write_text(json.dumps(self._proxy()))

    def _network(self) -> object:
        ranges = [[{"subnet": self.place.pods}]]
        ipam = {
            "type": "host-local",
            "dataDir": str(self.work / "ipam"),
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        routed = {"type": "ptp", "ipMasq": False, "ipam": ipam}
        return {
            "cniVersion": "1.0.0",
            "name": "kqi",
            "plugins": [routed, {"type": "portmap", "capabilities": {"portMappings": True}}],
        }

    def _kubelet(self) -> object:
        pki = self.authority.folder
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.place.address,
            # No systemd, and perhaps cgroup v1 and a root without CAP_SYS_RESOURCE.
            **{"failCgroupV1": False, "cgroupDriver": "cgroupfs", "oomScoreAdj": 0, "maxOpenFiles": 20000},
            **{"cgroupRoot": f"/{self.cgroup}", "cgroupsPerQOS": True, "enforceNodeAllocatable": ["pods"]},
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            **{"tlsCertFile": f"{pki}/{self.name}.crt", "tlsPrivateKeyFile": f"{pki}/{self.name}.key"},
            **{"clusterDNS": [DNS_SERVICE], "clusterDomain": "cluster.local", "resolvConf": f"{self.work}/resolv.conf"},
            **{"imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99},
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "100Mi", "imagefs.available": "100Mi"},
            **{"volumePluginDir": f"{self.work}/volumeplugins", "podLogsDir": f"{self.work}/podlogs"},
            **{"containerRuntimeEndpoint": "unix:///run/containerd.sock", "serializeImagePulls": False},
            **{
                "nodeStatusUpdateFrequency": "2s",
                "nodeLeaseDurationSeconds": 10,
                "kubeAPIQPS": 200,
                "kubeAPIBurst": 400,
            },
        }

    def _proxy(self) -> object:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            **{"mode": "iptables", "oomScoreAdj": 0, "clusterCIDR": PODS},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "clientConnection": {"kubeconfig": str(self.authority.folder / "kube-proxy.kubeconfig")},
        }


def remove(folder: Path) -> None:
    """Remove what a node left on disk: its mounts went with its room."""
    shutil.rmtree(folder, ignore_errors=True)
