"""One tree of errors. A class is what a caller can do about it; `code` is stable, the key of its text."""

from collections.abc import Mapping


class KqiError(Exception):
    """`code` names a text of the catalogue; `params` are the numbers and names in it. Never a secret."""

    status = 500

    def __init__(self, code: str, **params: object) -> None:
        super().__init__(f"{code} {params}" if params else code)
        self.code = code
        self.params: Mapping[str, object] = params


class Invalid(KqiError):
    """The request cannot mean anything: mend it and send it again."""

    status = 422


class NotSignedIn(KqiError):
    status = 401


class Forbidden(KqiError):
    """`tenant` is where it was refused, if that is known: for the record, not for the answer."""

    status = 403

    def __init__(self, code: str, *, tenant: int | None = None, **params: object) -> None:
        super().__init__(code, **params)
        self.tenant = tenant


class NotFound(KqiError):
    """There is no such thing, or none that the caller may know of."""

    status = 404

    def __init__(self, kind: str, key: object) -> None:
        super().__init__("not_found", kind=kind, key=str(key)[:200])


class Conflict(KqiError):
    """It would break a rule as things stand: change something else first."""

    status = 409


class Outdated(KqiError):
    """It was changed since the caller looked at it: look again."""

    status = 412


class TooLarge(KqiError):
    status = 413


class TooMany(KqiError):
    """Later: `retry_after_s` says when."""

    status = 429

    def __init__(self, code: str, *, retry_after_s: int, **params: object) -> None:
        super().__init__(code, retry_after_s=retry_after_s, **params)
        self.retry_after_s = retry_after_s


class Unavailable(KqiError):
    """Something the platform needs is away or full; nothing was changed. Try again later."""

    status = 503


class ConfigError(KqiError):
    """The platform cannot start as it is configured."""
