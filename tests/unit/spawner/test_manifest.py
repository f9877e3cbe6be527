"""What the cluster is given for a workload, word for word."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqi_spawner.errors import CannotStart
from kqi_spawner.kubernetes import entry, manifest
from kqi_spawner.workload import Gpu, Resources, Secret, Workload
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


def test_volumes_of_an_administrator_are_claimed_once_and_mounted_by_folders() -> None:
    with_models = _with(mounts=(*TRAINING.mounts, *MODELS))
    same_as("training-volumes", manifest.job(with_models, _IMAGE, EVERYTHING))
    with pytest.raises(CannotStart, match="models"):
        manifest.job(with_models, _IMAGE, PLAIN)


def test_secrets_are_in_a_secret_and_nowhere_else() -> None:
    same_as("training-secret", manifest.secret(TRAINING, PLAIN))
    assert "of two lines" not in str(manifest.job(TRAINING, _IMAGE, PLAIN))


def test_cards_that_the_cluster_does_not_have_are_refused_by_name() -> None:
    with pytest.raises(CannotStart, match="abacus"):
        asked = Resources(cpu_milli=1, memory_mib=1, gpus=(Gpu(kind="abacus", index=0),))
        manifest.job(_with(resources=asked), _IMAGE, PLAIN)


_NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,10}", fullmatch=True)


@given(st.dictionaries(_NAMES, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_what_was_hidden_is_read_back_unchanged(texts: dict[str, str]) -> None:
    names = {name: text for name, text in texts.items() if entry.exportable(name)}
    hidden = entry.secrets_text(_with(secrets={name: Secret(text) for name, text in names.items()}))
    assert {name: secret.reveal() for name, secret in entry.secrets_of(hidden).items()} == names


def _with(**changes: Any) -> Workload:
    return replace(TRAINING, **changes)
