"""What the control of password policies says, in whichever lengths a server writes it; and Active Directory's codes."""

import pytest

from kqi_hub.directory.base import PasswordFault
from kqi_hub.directory.ldap.verdicts import (
    EXPIRED,
    POLICY,
    Answer,
    Policy,
    Said,
    Standing,
    decoded,
    fault_of_change,
    standing,
)


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("3000", Policy()),
        ("3003810102", Policy(error=Said.MUST_CHANGE)),
        # 389 Directory Server writes each length in four bytes.
        ("30840000000381 0102", Policy(error=Said.MUST_CHANGE)),
        ("308400000009a084000000 03810101", Policy(grace_left=1)),
        ("30840000000ea08400000005 80030d2eff 810102", Policy(error=Said.MUST_CHANGE, expires_in_s=863999)),
        ("30840000ff0381 0102", Policy()),
        ("30ff", Policy()),
        ("30", Policy()),
        ("3003810109", Policy()),
    ],
)
def test_lengths_are_read_in_each_form_and_nonsense_says_nothing(value: str, policy: Policy) -> None:
    assert decoded({POLICY: bytes.fromhex(value)}) == policy


def test_who_has_sign_ins_left_need_not_change_at_once() -> None:
    grace = decoded({POLICY: bytes.fromhex("3005a003810102"), EXPIRED: b"0"})
    assert standing(Answer(code=0, policy=grace)) is Standing.RIGHT and grace.grace_left == 2
    assert standing(Answer(code=0, policy=decoded({EXPIRED: b"0"}))) is Standing.MUST_CHANGE


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        # Windows names the attribute, and no rule.
        (
            "0000052D: AtrErr: DSID-03191083, #1:\n\t0: 0000052D: DSID-03191083, problem 1005 (CONSTRAINT_ATT_TYPE), "
            "data 0, Att 9005a (unicodePwd)\n",
            PasswordFault.QUALITY,
        ),
        ("00000056: AtrErr: DSID-03191083, #1:\n\t0: 00000056: DSID-03191083", PasswordFault.WRONG_OLD),
        # Locked since the old one was looked at.
        ("00000775: AtrErr: DSID-03191083, #1:\n\t0: 00000775: DSID-03191083", PasswordFault.LOCKED),
    ],
)
def test_what_windows_says_of_a_new_password(message: str, fault: PasswordFault) -> None:
    assert fault_of_change(Answer(code=19, message=message)) is fault
