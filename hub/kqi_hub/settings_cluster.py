"""What an administrator says about a cluster: `[kubernetes]` of the settings."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

# Of every table of the settings: an unknown key is a fault.
STRICT = ConfigDict(extra="forbid", frozen=True)


class _Section(BaseModel):
    model_config = STRICT


class Toleration(_Section):
    """A taint of nodes that is no obstacle."""

    key: str = Field(min_length=1, max_length=317)
    value: str | None = None  # None: whatever value it has
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""  # empty: all of them


class Cards(_Section):
    """How cards of one kind are asked for on a cluster."""

    kind: str = Field(min_length=1, max_length=100)
    resource: str = "nvidia.com/gpu"  # MIG profiles and shared cards have names of their own
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []  # the taints that keep others off these nodes
    memory_mib: int | None = None


class Space(_Section):
    """A namespace, and the claim in it that is the store."""

    namespace: str
    claim: str = "kqi-store"


class Total(_Section):
    """What there is to give out, where the cluster cannot be asked for its nodes, or makes nodes as they are needed."""

    cpu: float = Field(gt=0)
    memory_gb: float = Field(gt=0)
    gpus: dict[str, Annotated[int, Field(ge=0)]] = {}  # by kind


_Number = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Kubernetes(_Section):
    """Where workloads run on a cluster; needed with `engine.kind = "kubernetes"`."""

    platform: str = "kqi"  # label of all that is ours: several platforms may share a namespace
    namespace: str
    claim: str = "kqi-store"  # the ReadWriteMany claim, in that namespace, of the store
    kubeconfig: Path | None = None  # None: the account that the cluster gives this process
    images: dict[str, str] = {}  # short names to references; `default` where nothing is asked for
    allowed_images: list[str] = []  # patterns of references that anybody may name
    image_pull_secrets: list[str] = []  # names of Secrets, in that namespace, that open closed registries
    image_patience_s: float = Field(default=60, gt=0)  # how long a pull may fail before the workload is given up
    cards: list[Cards] = []
    capacity: Total | None = None  # None: what the nodes have
    user: tuple[int, int] = (1000, 100)  # uid and gid of workloads
    # Who workloads of a tenant are instead: whom the image names, the person, or root of a user namespace of their own.
    who: dict[str, Literal["account", "image", "person", "root"]] = {}
    accounts: dict[str, tuple[_Number, _Number]] = {}  # uid and gid of people where a tenant's policy is "person"
    root: Space | None = None  # where workloads of tenants run whose policy is "root"
    cpu_request_share: float = Field(default=1, gt=0, le=1)  # part of the cores that is kept for a workload alone
    memory_request_share: float = Field(default=1, gt=0, le=1)  # below 1 nodes are oversold
    shm_mib: int | None = Field(default=None, ge=1)  # largest /dev/shm; None: up to the memory of the workload
    node_selector: dict[str, str] = {}  # the nodes that workloads of any kind may use
    tolerations: list[Toleration] = []  # taints that are no obstacle to workloads of any kind
    priority_class: str = ""  # a PriorityClass of the cluster
    pod_labels: dict[str, str] = {}
    pod_annotations: dict[str, str] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.root is None and "root" in self.who.values():
            raise PydanticCustomError("root_without_namespace", '"root" of `who` needs `root.namespace`')
        if unknown := sorted(self.capacity.gpus.keys() - {one.kind for one in self.cards} if self.capacity else ()):
            raise PydanticCustomError("capacity_of_unknown_cards", "no `cards` of kind {kind}", {"kind": unknown[0]})
        return self

    @property
    def sharing(self) -> frozenset[str]:
        """The tenants whose workloads are not the platform's account, and share files with it by its group."""
        return frozenset(tenant for tenant, who in self.who.items() if who != "account")
