"""What an administrator says about the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kqi_spawner.status import Capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """A taint of nodes that pods may be put on all the same; an empty `effect` means all of them."""

    key: str
    value: str | None = None  # None: whatever value it has
    effect: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """How cards of one kind are asked for."""

    # Extended resource: whole cards by default; MIG profiles (`nvidia.com/mig-1g.10gb`) and cards that are shared by
    # time slices or MPS (`nvidia.com/gpu.shared`) have names of their own.
    resource: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = field(default_factory=dict)  # the nodes that have such cards
    tolerations: tuple[Toleration, ...] = ()  # the taints that keep others off these nodes
    memory_mib: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim in the namespace of the workloads, or a folder in it, that mounts may name."""

    claim: str
    folder: str = ""


class Who(StrEnum):
    """Who a workload is inside of its container. All share the group of `KubernetesSettings.user`."""

    ACCOUNT = "account"  # the one account of the platform
    IMAGE = "image"  # whom the image names, who must be a number and not 0
    PERSON = "person"  # the person's own uid and gid
    ROOT = "root"  # uid 0 of a user namespace of this pod alone, nobody on the node


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A namespace of the cluster, and the claim in it that is the store."""

    namespace: str
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """Where workloads run and what they get. `store` is where the platform itself sees the claim."""

    platform: str  # label value: several platforms may share a namespace
    namespace: str
    store: Path
    claim: str  # the ReadWriteMany claim that holds the store
    images: Mapping[str, str]  # short names to references; `default` is taken where nothing is asked for
    allowed_images: tuple[str, ...] = ()  # patterns (`registry.example/team/*`) of references that anybody may name
    volumes: Mapping[str, Claim] = field(default_factory=dict)  # by the names that mounts use; lower case and hyphens
    tools: str = "tools"  # folder of the store that workloads see as /kqi/tools
    kubeconfig: Path | None = None  # None: the account of the pod that this runs in
    user: tuple[int, int] = (1000, 100)  # uid and gid of workloads
    who: Mapping[str, Who] = field(default_factory=dict)  # by tenant; others are the account
    accounts: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # uid and gid of people, for Who.PERSON
    root: Space | None = None  # where workloads of Who.ROOT run: their capabilities are not for "restricted"
    cards: Mapping[str, Cards] = field(default_factory=dict)  # by kind
    capacity: Capacity | None = None  # what there is to give out; None: what the nodes have
    image_patience_s: float = 60.0  # how long a pull, or the making of a pod, may fail before the workload is given up
    image_pull_secrets: tuple[str, ...] = ()  # names of Secrets with which images of closed registries are fetched
    cpu_request_share: float = 1.0  # share of a workload's cores that is kept for it alone; below 1 nodes are oversold
    memory_request_share: float = 1.0  # the same of its memory; below 1 a full node ends the greediest
    shm_mib: int | None = None  # largest /dev/shm, which counts as memory; None: up to the limit of the memory
    node_selector: Mapping[str, str] = field(default_factory=dict)  # the nodes that workloads of any kind may use
    tolerations: tuple[Toleration, ...] = ()  # taints that workloads of any kind do not mind
    priority_class: str = ""  # class of the cluster that says who goes first; empty: its default
    pod_labels: Mapping[str, str] = field(default_factory=dict)  # further labels, for policies and accounting
    pod_annotations: Mapping[str, str] = field(default_factory=dict)  # further annotations, for admission and meshes

    def who_is(self, tenant: str) -> Who:
        return self.who.get(tenant, Who.ACCOUNT)
