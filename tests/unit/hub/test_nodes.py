"""What a run asks for must be had in one place: the sum of what many nodes have is no help to it."""

from dataclasses import replace

import pytest

from kqi_hub.admission.plan import Ask, Limits, Wait, fits_at_all
from kqi_hub.admission.service import Admission
from kqi_hub.errors import Invalid
from kqi_spawner.status import Capacity, GpuKind

_BIG = Capacity(cpu_milli=64_000, memory_mib=1_000)
_WITH_CARDS = Capacity(cpu_milli=8_000, memory_mib=8_000, gpus=(GpuKind(name="a100", indexes=(0, 1, 2, 3)),))
_ALL = Capacity(
    cpu_milli=80_000,
    memory_mib=17_000,
    gpus=(GpuKind(name="a100", indexes=tuple(range(8))),),
    nodes=(_BIG, _WITH_CARDS, _WITH_CARDS),
)


@pytest.mark.parametrize(
    ("ask", "short"),
    [
        (Ask(cpu_milli=8_000, memory_mib=8_000, gpus=4), None),
        (Ask(cpu_milli=64_000, memory_mib=1_000), None),
        (Ask(cpu_milli=1_000, memory_mib=1_000, gpus=5), Wait.GPU),
        (Ask(cpu_milli=9_000, memory_mib=1_000, gpus=1), Wait.CPU),
        (Ask(cpu_milli=1_000, memory_mib=9_000, gpus=1), Wait.MEMORY),
        (Ask(cpu_milli=10_000, memory_mib=2_000), Wait.MEMORY),
    ],
)
def test_what_no_one_node_has(ask: Ask, short: Wait | None) -> None:
    assert fits_at_all(ask, _ALL) is short
    admission = Admission(capacity=_ALL, limits=Limits())
    if short is None:
        admission.check(ask)
        return
    with pytest.raises(Invalid) as refused:
        admission.check(ask)
    assert refused.value.code == "fits_on_no_node"
    Admission(capacity=replace(_ALL, nodes=()), limits=Limits()).check(ask)
