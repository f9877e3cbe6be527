"""What directories say of passwords: the control of password policies, and Active Directory's codes. Pure."""

import re
from dataclasses import dataclass
from enum import IntEnum

from kqi_hub.directory.base import PasswordFault

POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"
# Netscape's, which 389 Directory Server sends unasked.
EXPIRED, EXPIRING = "2.16.840.1.113730.3.4.4", "2.16.840.1.113730.3.4.5"
_AD_CODE = re.compile(r"\bdata ([0-9a-f]{2,8})\b", re.IGNORECASE)
_SEQUENCE, _WARNING, _ERROR = 0x30, 0xA0, 0x81
_BEFORE_EXPIRATION, _GRACE = 0x80, 0x81


class Said(IntEnum):
    """Errors of the policy's control (draft-behera-ldap-password-policy)."""

    EXPIRED = 0
    LOCKED = 1
    MUST_CHANGE = 2
    MAY_NOT_CHANGE = 3
    OLD_IS_NEEDED = 4
    QUALITY = 5
    TOO_SHORT = 6
    TOO_YOUNG = 7
    IN_HISTORY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    error: Said | None = None
    expires_in_s: int | None = None
    grace_left: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said to a bind or a change. `message` may quote nothing but the server."""

    code: int
    message: str = ""
    policy: Policy = Policy()

    @property
    def good(self) -> bool:
        return self.code == 0


class Standing(IntEnum):
    """What a bind says of whoever asked."""

    RIGHT = 0
    MUST_CHANGE = 1  # the password is right, and good for nothing but its change
    WRONG = 2
    LOCKED = 3
    DISABLED = 4
    EXPIRED = 5  # only an administrator can help
    UNKNOWN = 6  # the server could not answer


def decoded(controls: dict[str, bytes | None]) -> Policy:
    """Return what the controls of an answer say; one that cannot be read says nothing."""
    value = controls.get(POLICY)
    policy = _policy(value) if value else Policy()
    if EXPIRED in controls and policy.error is None and policy.grace_left is None:
        return Policy(error=Said.MUST_CHANGE)
    seconds = controls.get(EXPIRING)
    if seconds and seconds.isdigit() and policy == Policy():
        return Policy(expires_in_s=int(seconds))
    return policy


def standing(answer: Answer) -> Standing:
    """Return what the answer to a bind means."""
    if answer.good:
        must = answer.policy.error in {Said.MUST_CHANGE, Said.EXPIRED}
        return Standing.MUST_CHANGE if must else Standing.RIGHT
    if answer.policy.error is Said.LOCKED and answer.code != _UNWILLING:
        return Standing.LOCKED
    if answer.policy.error is Said.EXPIRED:
        return Standing.EXPIRED
    if answer.code == _INVALID_CREDENTIALS:
        return _AD_STANDINGS.get(ad_code(answer.message), Standing.WRONG)
    return _STANDINGS.get(answer.code, Standing.UNKNOWN)


def fault_of_change(answer: Answer) -> PasswordFault | None:
    """Return why a new password was not taken; None where the answer is no word about the password."""
    if answer.policy.error in _FAULTS:
        return _FAULTS[answer.policy.error]
    if answer.code == _INVALID_CREDENTIALS:
        return PasswordFault.WRONG_OLD
    if answer.code == _UNWILLING and "old" in answer.message.lower():
        return PasswordFault.WRONG_OLD
    code = answer.message[:8].upper()
    if code in _AD_FAULTS:
        return _AD_FAULTS[code]
    if answer.code in {_CONSTRAINT, _UNWILLING} or code == _AD_RULE:
        lowered = answer.message.lower()
        return next((fault for word, fault in _IN_WORDS if word in lowered), PasswordFault.QUALITY)
    return PasswordFault.NOT_ALLOWED if answer.code == _NO_RIGHT else None


def ad_code(message: str) -> str:
    """Return Active Directory's own code of a refused bind, as `773`; empty without one."""
    found = _AD_CODE.search(message)
    return found[1].lower() if found and "AcceptSecurityContext" in message else ""


_CONSTRAINT, _INVALID_CREDENTIALS, _NO_RIGHT, _UNWILLING = 19, 49, 50, 53
_STANDINGS = {
    _CONSTRAINT: Standing.LOCKED,  # 389: too many wrong ones
    32: Standing.WRONG,  # no such object
    34: Standing.WRONG,  # not a name of an entry
    48: Standing.WRONG,  # it has no password
    _NO_RIGHT: Standing.WRONG,
    _UNWILLING: Standing.WRONG,  # 389: the account is not active, which it tells to whoever asks, password or not
}
_AD_STANDINGS = {
    "525": Standing.WRONG,
    "52e": Standing.WRONG,
    "530": Standing.DISABLED,  # not at this time
    "531": Standing.DISABLED,  # not at this machine
    "532": Standing.MUST_CHANGE,  # expired; who knows it may change it
    "533": Standing.DISABLED,
    "701": Standing.DISABLED,  # the account has expired
    "773": Standing.MUST_CHANGE,
    "775": Standing.LOCKED,
}
_FAULTS = {
    Said.LOCKED: PasswordFault.LOCKED,
    Said.MAY_NOT_CHANGE: PasswordFault.NOT_ALLOWED,
    Said.OLD_IS_NEEDED: PasswordFault.WRONG_OLD,
    Said.QUALITY: PasswordFault.QUALITY,
    Said.TOO_SHORT: PasswordFault.DIRECTORY_TOO_SHORT,
    Said.TOO_YOUNG: PasswordFault.TOO_SOON,
    Said.IN_HISTORY: PasswordFault.IN_HISTORY,
}
_AD_FAULTS = {"00000056": PasswordFault.WRONG_OLD, "00000775": PasswordFault.LOCKED}
# A rule is broken: length, history, age and letters alike. Samba says in words which one, Windows does not.
_AD_RULE = "0000052D"
# What a server says in words where it sends no control.
_IN_WORDS = (
    ("history", PasswordFault.IN_HISTORY),
    ("too short", PasswordFault.DIRECTORY_TOO_SHORT),
    ("length", PasswordFault.DIRECTORY_TOO_SHORT),
    ("too young", PasswordFault.TOO_SOON),
    ("within", PasswordFault.TOO_SOON),
    ("minimum age", PasswordFault.TOO_SOON),
)


def _policy(value: bytes) -> Policy:
    outer = _parts(value)
    if len(outer) != 1 or outer[0][0] != _SEQUENCE:
        return Policy()
    error: Said | None = None
    expires = grace = None
    for tag, content in _parts(outer[0][1]):
        if tag == _ERROR and content and int.from_bytes(content) in Said.__members__.values():
            error = Said(int.from_bytes(content))
        elif tag == _WARNING:
            for kind, number in _parts(content):
                seconds = int.from_bytes(number, signed=True)
                expires = seconds if kind == _BEFORE_EXPIRATION else expires
                grace = seconds if kind == _GRACE else grace
    return Policy(error=error, expires_in_s=expires, grace_left=grace)


def _parts(raw: bytes) -> list[tuple[int, bytes]]:
    """Return tags and contents of BER values; none at all if they are not well-formed."""
    found, at = [], 0
    while at < len(raw):
        begin, size = _length(raw, at + 1)
        if begin > len(raw) or begin + size > len(raw):
            return []
        found.append((raw[at], raw[begin : begin + size]))
        at = begin + size
    return found


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """Return where contents begin and how long they are; a length may take bytes of its own, as those of 389 do."""
    first = raw[at] if at < len(raw) else 0
    begin = at + 1 + (first & 0x7F if first & 0x80 else 0)
    return begin, int.from_bytes(raw[at + 1 : begin]) if first & 0x80 else first
