"""What can go wrong, one class for each thing a caller can do about it."""

from typing import Any

from kqi.schema import FieldError
from kqi.texts import say


class KqiError(Exception):
    """Base of all errors of the client; its text is a sentence in the reader's language."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key, values)
        self.key = key
        self.values = values

    def __str__(self) -> str:
        return say(self.key, **self.values)


class ApiError(KqiError):
    """The server refused. `code` is stable; `detail` is the server's sentence in the caller's language."""

    def __init__(self, refusal: "Refusal") -> None:
        super().__init__(refusal.code)
        self.code = refusal.code
        self.status = refusal.status
        self.detail = refusal.detail
        self.params = refusal.params
        self.errors = refusal.errors

    def __str__(self) -> str:
        fields = "".join(f"\n  {error.field}: {error.message}" for error in self.errors)
        return self.detail + fields


class Refusal:
    """The parts of a problem document that an error carries."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.params: dict[str, Any] = {}
        self.errors: list[FieldError] = []


class NotSignedIn(ApiError):
    """401: the token is missing, wrong or expired."""


class Forbidden(ApiError):
    """403: the account may not do this."""


class NotFound(ApiError):
    """404: not there, or not visible to this account."""


class Conflict(ApiError):
    """409, 412 or 423: the state of the thing does not allow it."""


class Invalid(ApiError):
    """400, 413 or 422: the request was not understood or breaks a rule."""


class Unavailable(ApiError):
    """429, 502, 503 or 504: try again later."""


class Foreign(Unavailable):
    """404 or 5xx of another program: a proxy before it knows the way again, or a wrong address."""


class ConnectionFailed(KqiError):
    """The server did not answer, or the connection broke."""


class UnexpectedAnswer(KqiError):
    """The server answered something that is not KQI Hub's API."""


class NoServer(KqiError):
    """No server is set."""


class BadSettings(KqiError):
    """A setting or the configuration file cannot be used."""


class BadFile(KqiError):
    """A local file cannot be sent or stored: missing, changed, or with a name that cannot be used."""


class Damaged(KqiError):
    """What arrived is not what was sent; nothing was kept."""


_CLASSES: dict[int, type[ApiError]] = {
    400: Invalid,
    401: NotSignedIn,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: Invalid,
    422: Invalid,
    423: Conflict,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def api_error(refusal: Refusal) -> ApiError:
    """Return the error of the class that its status stands for."""
    return _CLASSES.get(refusal.status, ApiError)(refusal)
