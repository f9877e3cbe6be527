"""What the cluster is given for a workload, word for word."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes import entry, manifest
from kqi_spawner.kubernetes.settings import Who
from kqi_spawner.workload import Gpu, Registry, Resources, Secret, Workload
from tests.unit.spawner.golden.compare import same_as
from tests.unit.spawner.samples import EVERYTHING, MODELS, NOTEBOOK, PLAIN, TRAINING

_IMAGE = "registry.example/python:1"


def test_a_training_with_cards_inputs_and_a_secret() -> None:
    same_as("training", manifest.job(TRAINING, _IMAGE, PLAIN))


def test_a_training_where_an_administrator_set_everything() -> None:
    same_as("training-everything", manifest.job(TRAINING, _IMAGE, EVERYTHING))


def test_a_notebook_with_its_port() -> None:
    made = manifest.job(NOTEBOOK, _IMAGE, PLAIN)
    same_as("notebook", made)
    assert manifest.port_of(made) == 8888
    assert manifest.port_of(manifest.job(TRAINING, _IMAGE, PLAIN)) is None


def test_a_pod_alone_says_what_its_job_would_have_said() -> None:
    job = manifest.job(NOTEBOOK, _IMAGE, replace(PLAIN, pod_annotations={"example.org/team": "vision"}))
    pod = manifest.alone(job)
    assert pod["metadata"]["name"] == NOTEBOOK.name
    assert pod["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    assert pod["metadata"]["annotations"] == {**job["metadata"]["annotations"], "example.org/team": "vision"}
    assert pod["spec"] == job["spec"]["template"]["spec"]
    assert manifest.port_of(pod) == 8888


@pytest.mark.parametrize("who", list(Who))
def test_a_tenants_policy_says_who_its_people_are_inside(who: Who) -> None:
    settings = replace(PLAIN, who={"Vision & Co": who}, accounts={"hanako": (2001, 2002)})
    made = manifest.job(_with(person="hanako", tenant="Vision & Co"), _IMAGE, settings)
    same_as(f"training-{who}", {"metadata": made["metadata"], **_identity(made)})
    assert _identity(manifest.job(_with(tenant="other"), _IMAGE, settings)) == _identity(
        manifest.job(TRAINING, _IMAGE, PLAIN)
    )


def test_a_person_without_a_uid_is_nobody_elses() -> None:
    with pytest.raises(CannotStart, match="hanako"):
        manifest.job(_with(person="hanako", tenant="vision"), _IMAGE, replace(PLAIN, who={"vision": Who.PERSON}))


def _identity(job: manifest.Manifest) -> manifest.Manifest:
    """Return what says who it is; of the script only what files are made with."""
    spec = job["spec"]["template"]["spec"]
    (main,) = spec["containers"]
    script = main["command"][-1].splitlines()
    return {
        "hostUsers": spec.get("hostUsers"),
        "pod": spec["securityContext"],
        "container": main["securityContext"],
        "files": [line for line in script if line.startswith(("_kqi_umask", "_kqi_shared"))],
    }


def test_volumes_of_an_administrator_are_claimed_once_and_mounted_by_folders() -> None:
    with_models = _with(mounts=(*TRAINING.mounts, *MODELS))
    same_as("training-volumes", manifest.job(with_models, _IMAGE, EVERYTHING))
    with pytest.raises(CannotStart, match="models"):
        manifest.job(with_models, _IMAGE, PLAIN)


def test_secrets_are_in_a_secret_and_nowhere_else() -> None:
    same_as("training-secret", manifest.secret(TRAINING, PLAIN))
    assert "of two lines" not in str(manifest.job(TRAINING, _IMAGE, PLAIN))


def test_a_credential_is_for_the_registry_of_the_image_alone_and_in_a_secret_of_the_runs_own() -> None:
    own = (
        Registry(server="registry.example", username="alice", password=Secret("canary-pull")),
        Registry(server="docker.io", username="octo", password=Secret("canary-hub")),
        Registry(server="other.example:5000", username="bob", password=Secret("canary-other")),
    )
    workload = _with(registries=own)
    same_as("training-pull-secret", manifest.pull_secret(workload, _IMAGE, EVERYTHING))
    made = manifest.job(workload, _IMAGE, EVERYTHING)
    same_as("training-pulled", made["spec"]["template"]["spec"]["imagePullSecrets"])
    assert "canary" not in str(made) + repr(workload)
    for image, user in (
        ("python:3.12", "octo"),
        ("team/python:3.12", "octo"),
        ("docker.io/library/python", "octo"),
        ("index.docker.io/library/python", "octo"),
        ("other.example:5000/team/python@sha256:0", "bob"),
    ):
        assert f'"username": "{user}"' in str(manifest.pull_secret(workload, image, PLAIN)), image
    for image in ("other.example/python", "registry.example.evil/python", "localhost/registry.example/python"):
        assert manifest.pull_secret(workload, image, PLAIN) is None, image


def test_cards_that_the_cluster_does_not_have_are_refused_by_name() -> None:
    with pytest.raises(CannotStart, match="abacus"):
        asked = Resources(cpu_milli=1, memory_mib=1, gpus=(Gpu(kind="abacus", index=0),))
        manifest.job(_with(resources=asked), _IMAGE, PLAIN)


def test_a_tenants_nodes_are_not_left_for_the_cards() -> None:
    cards = Resources(cpu_milli=1, memory_mib=1, gpus=(Gpu(kind="a100", index=0),))
    for values, fits in ((("a100",), True), (("t4",), False), (("t4", "a100"), True), (("t4", "v100"), False)):
        workload = _with(resources=cards, nodes={"gpu": values})
        if fits:
            assert manifest.pod_spec(workload, _IMAGE, PLAIN)["nodeSelector"] == {"gpu": "a100"}
        else:
            with pytest.raises(CannotStart, match="gpu=a100"):
                manifest.pod_spec(workload, _IMAGE, PLAIN)


def test_who_has_no_cards_is_shown_none_whatever_the_image_asks_for() -> None:
    def shown(**changes: Any) -> dict[str, str]:
        (main,) = manifest.pod_spec(_with(**changes), _IMAGE, PLAIN)["containers"]
        return {one["name"]: one["value"] for one in main["env"] if one["name"].endswith("_VISIBLE_DEVICES")}

    none = Resources(cpu_milli=1, memory_mib=1)
    assert shown(resources=none) == {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}
    assert shown() == {}  # the device plug-in says which


_NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,10}", fullmatch=True)


@given(st.dictionaries(_NAMES, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_what_was_hidden_is_read_back_unchanged(texts: dict[str, str]) -> None:
    names = {name: text for name, text in texts.items() if entry.exportable(name)}
    hidden = entry.secrets_text(_with(secrets={name: Secret(text) for name, text in names.items()}))
    assert {name: secret.reveal() for name, secret in entry.secrets_of(hidden).items()} == names


def _with(**changes: Any) -> Workload:
    return replace(TRAINING, **changes)
