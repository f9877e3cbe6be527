"""Workloads as the recipes of the hub make them, and settings of a cluster."""

from dataclasses import replace
from pathlib import Path

from kqi_spawner.kubernetes.settings import Cards, Claim, KubernetesSettings, Toleration
from kqi_spawner.names import checked_name
from kqi_spawner.workload import Access, Gpu, Link, Mount, Resources, Scratch, Secret, StorePath, VolumePath, Workload

PLAIN = KubernetesSettings(
    platform="kqi",
    namespace="kqi-runs",
    store=Path("/store"),
    claim="kqi-store",
    images={"default": "registry.example/python:1"},
    cards={
        "a100": Cards(node_selector={"gpu": "a100"}, tolerations=(Toleration(key="nvidia.com/gpu"),)),
        "slice": Cards(resource="nvidia.com/mig-1g.10gb"),
    },
)
EVERYTHING = replace(
    PLAIN,
    cpu_request_share=0.25,
    memory_request_share=0.5,
    shm_mib=256,
    node_selector={"pool": "work", "gpu": "any"},
    tolerations=(Toleration(key="dedicated", value="research", effect="NoSchedule"),),
    priority_class="kqi-work",
    pod_labels={"cost-centre": "7", "kqi.io/platform": "not this"},
    pod_annotations={"sidecar.istio.io/inject": "false"},
    image_pull_secrets=("registry",),
    volumes={"models": Claim("nas", "models")},
)
TRAINING = Workload(
    name=checked_name("training-7"),
    command=("/bin/sh", "-c", "python train.py --rate=$RATE"),
    image="default",
    workdir="/kqi/git",
    resources=Resources(cpu_milli=1500, memory_mib=4097, gpus=(Gpu(kind="a100", index=2), Gpu(kind="a100", index=3))),
    log=StorePath("runs/training/7/attach/log"),
    environment={"RATE": "0.1", "ODD": "a $(RATE) b $$"},
    secrets={"KQI_TOKEN": Secret('it\'s "secret"\nof two lines')},
    mounts=(
        Mount(source=StorePath("datasets/3/1/training"), target="/kqi/input/training", access=Access.READ_ONLY),
        Mount(source=StorePath("runs/training/7/output"), target="/kqi/output", access=Access.READ_WRITE),
    ),
    scratches=(Scratch(target="/kqi/input"),),
    links=(Link(target="/kqi/input/test", to="testing"),),
)
NOTEBOOK = Workload(
    name=checked_name("notebook-12"),
    command=("jupyterhub-singleuser", "--ServerApp.ip=0.0.0.0"),
    image="default",
    workdir="/kqi/output",
    resources=Resources(cpu_milli=1000, memory_mib=2048),
    log=StorePath("runs/notebook/12/attach/log"),
    environment={"JUPYTERHUB_USER": "alice", "HOME": "/home/alice"},
    secrets={"JUPYTERHUB_API_TOKEN": Secret("0123")},
    mounts=(Mount(source=StorePath("homes/alice"), target="/home/alice", access=Access.READ_WRITE),),
    port=8888,
)
MODELS = (
    Mount(source=VolumePath("models"), target="/kqi/models", access=Access.READ_ONLY),
    Mount(source=VolumePath("models", "large"), target="/kqi/volumes/large", access=Access.READ_WRITE),
)
