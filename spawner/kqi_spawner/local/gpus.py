"""The cards of this machine, by NVML."""

import contextlib
import re
from collections.abc import Iterator

from kqi_spawner.status import GpuKind

try:
    import pynvml
except ImportError:  # the bare install has no GPU inventory
    pynvml = None


def inventory() -> tuple[GpuKind, ...]:
    """Return the cards by kind, none where there is no driver. Indexes are NVML's (order of the PCI bus). Blocks."""
    if pynvml is None:
        return ()
    try:
        with _nvml():
            cards = [_card(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return ()
    kinds: dict[tuple[str, int], list[int]] = {}
    for index, name, memory_mib in cards:
        kinds.setdefault((name, memory_mib), []).append(index)
    return tuple(
        GpuKind(name=name, indexes=tuple(found), memory_mib=mib) for (name, mib), found in sorted(kinds.items())
    )


def variables(indexes: tuple[int, ...]) -> dict[str, str]:
    """Return the environment that shows exactly these cards; with none of them every card is hidden."""
    chosen = ",".join(str(index) for index in indexes)
    # Without the order CUDA counts the fastest card first, and the indexes would mean other cards than NVML's.
    return {
        "CUDA_VISIBLE_DEVICES": chosen,
        "NVIDIA_VISIBLE_DEVICES": chosen or "none",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


@contextlib.contextmanager
def _nvml() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _card(index: int) -> tuple[int, str, int]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name = pynvml.nvmlDeviceGetName(handle)
    text = name.decode() if isinstance(name, bytes) else str(name)
    kind = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return index, kind, int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) // 2**20
