"""What an administrator says about the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """How cards of one kind are asked for."""

    resource: str = (
        "nvidia.com/gpu"  # extended resource; those of MIG profiles and shared cards have names of their own
    )
    node_selector: Mapping[str, str] = field(default_factory=dict)
    memory_mib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """Where workloads run and what they get. `store` is where the platform itself sees the claim."""

    platform: str  # label value: several platforms may share a namespace
    namespace: str
    store: Path
    claim: str  # the ReadWriteMany claim that holds the store
    images: Mapping[str, str]  # short names to references; `default` is taken where nothing is asked for
    allowed_images: tuple[str, ...] = ()  # patterns (`registry.example/team/*`) of references that anybody may name
    tools: str = "tools"  # folder of the store that workloads see as /kqi/tools
    kubeconfig: Path | None = None  # None: the account of the pod that this runs in
    user: tuple[int, int] = (1000, 100)  # uid and gid of workloads
    cards: Mapping[str, Cards] = field(default_factory=dict)  # by kind
    image_patience_s: float = 60.0  # how long a pull may fail before the workload is given up
