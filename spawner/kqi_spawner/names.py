"""Names of workloads: safe as a file name, a DNS label and a process argument."""

import re
from typing import NewType

WorkloadName = NewType("WorkloadName", str)

_RULE = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


def workload_name(kind: str, number: int) -> WorkloadName:
    """Return the one name of run `number` of `kind`, e.g. `training-42`."""
    return checked_name(f"{kind}-{number}")


def checked_name(text: str) -> WorkloadName:
    """Return `text` as a name; ValueError unless it is a DNS label of at most 63 that starts with a letter."""
    if not _RULE.fullmatch(text):
        raise ValueError(f"not a workload name: {text!r} (lower-case letters, digits and '-', at most 63)")
    return WorkloadName(text)
