"""How a process that has one loop and some threads is best run by Python."""

import gc
import sys

# At 5 ms, as Python has it, each step of a transaction that a thread does waits for whoever computes.
_SWITCH_S = 0.0005


def settle() -> None:
    """Keep for good what is loaded by now: to look at all of it again would halt the process for a quarter second.

    And let the loop and its threads take turns quickly.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_S)
