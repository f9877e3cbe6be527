"""How a process that has one loop and some threads is best run by Python."""

import gc
import sys

# At 5 ms, as Python has it, each step of a transaction that a thread does waits for whoever computes.
_SWITCH_S = 0.0005
# At 700, as Python has it, a body of ten thousand files is looked through for circles a dozen times while it is read.
_ALLOCATIONS = 20_000


def settle() -> None:
    """Keep for good what is loaded by now: to look at all of it again would halt the process for a quarter second.

    Look for circles in what comes after less often, and let the loop and its threads take turns quickly.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 10, 10)
    sys.setswitchinterval(_SWITCH_S)
