"""The settings of tenants in the words of Cube Studio: exact round trips, and refusals that name place and reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqi_hub.errors import KqiError
from kqi_hub.i18n.catalogue import catalogue
from kqi_hub.tenants.expand import Bound, Expand, Mount, MountKind, Quota, Span, Thing, mounts, parsed, quotas, written

_WORD = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?", fullmatch=True)
_PATH = st.from_regex(r"(/[a-z0-9_]{1,6}){1,3}", fullmatch=True)
_MOUNTS = st.lists(
    st.builds(Mount, _WORD, st.sampled_from([kind for kind in MountKind if kind is not MountKind.MEMORY]), _PATH),
    unique_by=(lambda mount: mount.path, lambda mount: (mount.source, mount.kind)),
    max_size=4,
)
_QUOTAS = st.lists(
    st.builds(Quota, st.sampled_from(Span), st.sampled_from(Thing), st.sampled_from(Bound), st.just("4")),
    unique_by=lambda quota: (quota.span, quota.thing, quota.bound),
    max_size=4,
)
_EXPANDS = st.builds(
    Expand,
    cluster=st.none() | _WORD,
    node_selector=st.dictionaries(_WORD, _WORD, max_size=3).map(lambda found: tuple(found.items())),
    org=st.lists(_WORD, unique=True, max_size=3).map(tuple),
    mounts=_MOUNTS.map(tuple),
    quota=_QUOTAS.map(tuple),
    others=st.dictionaries(st.sampled_from(["index", "SERVICE_EXTERNAL_IP", "x"]), st.integers() | st.text(max_size=5)),
)


@given(_EXPANDS)
def test_what_is_written_is_read_as_it_was(expand: Expand) -> None:
    assert parsed(written(expand)) == expand


def test_the_examples_of_the_guide_are_read() -> None:
    found = parsed({"cluster": "dev", "node_selector": "org=public;gpu=true", "index": 7})
    assert (found.cluster, found.node_selector) == ("dev", (("org", "public"), ("gpu", "true")))
    assert found.others == {"index": 7}
    text = "kubeflow-user-workspace(pvc):/mnt,4G(memory):/dev/shm;/data/models:/models"
    assert [(mount.kind, mount.path) for mount in mounts(text)] == [
        (MountKind.OWN, "/mnt"),
        (MountKind.MEMORY, "/dev/shm"),
        (MountKind.HOST, "/models"),
    ]
    assert [quota.amount for quota in quotas("all,memory,concurrent,16G;all,cpu,single,1.5")] == [16384, 1500]


@pytest.mark.parametrize(
    ("key", "text", "code", "position"),
    [
        ("volume_mount", "a(pvc):/mnt, b(nfs):/x", "expand_mount_kind", 14),
        ("volume_mount", "a(pvc):mnt", "expand_mount_path", 1),
        ("volume_mount", "a(pvc):/mnt,b(pvc):/mnt", "expand_mount_path_twice", 13),
        ("volume_mount", "a(pvc):/a,a(pvc):/b", "expand_mount_source_twice", 11),
        ("volume_mount", "much(memory):/dev/shm", "expand_mount_size", 1),
        ("volume_mount", "nothing", "expand_mount_syntax", 1),
        ("node_selector", "a=b;a=c", "expand_selector_twice", 5),
        ("node_selector", "=b", "expand_selector_syntax", 1),
        ("org", "a, b c", "expand_org_syntax", 4),
        ("quota", "all,cpu,single", "expand_quota_syntax", 1),
        ("quota", "all,cpu,single,1;mars,cpu,single,1", "expand_quota_word", 18),
        ("quota", "all,gpu,single,0.5", "expand_quota_value", 1),
        ("quota", "all,gpu,single,1;all,gpu,single,2", "expand_quota_twice", 18),
        ("cluster", "a b", "expand_cluster_syntax", 1),
    ],
)
def test_what_is_wrong_is_refused_with_place_and_reason(key: str, text: str, code: str, position: int) -> None:
    with pytest.raises(KqiError) as refused:
        parsed({key: text})
    assert (refused.value.code, refused.value.params["position"]) == (code, position)
    assert code in catalogue("en")


@given(st.sampled_from(["volume_mount", "quota", "node_selector", "org", "cluster"]), st.text(max_size=40))
def test_any_text_is_read_or_refused(key: str, text: str) -> None:
    try:
        first = parsed({key: text})
    except KqiError as refused:
        assert refused.status == 422
    else:
        assert parsed(written(first)) == first
