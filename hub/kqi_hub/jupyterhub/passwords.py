"""Changes of passwords by programs, and what all changes share."""

import contextlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kqi import schema
from kqi_hub.directory.base import PasswordFault, Refusal, Refused
from kqi_hub.jupyterhub.answers import problem
from kqi_hub.settings import Settings
from kqi_hub.settings_people import SignIn
from kqi_spawner.workload import Secret

# Who cannot prove the old password learns nothing more than at a sign-in: a name that nobody has is answered the same.
_NOT_PROVED = {PasswordFault.WRONG_OLD: PasswordFault.WRONG_OLD.value, PasswordFault.LOCKED: "account_locked"}


def is_json(request: Any) -> bool:
    """Return whether a program asks: no form of a browser can be sent so, and there is nothing to forge."""
    kind = str(request.headers.get("Content-Type", "")).partition(";")[0]
    return kind.strip().lower() == "application/json"


async def change_by_program(handler: Any) -> None:
    """`POST /hub/kqi/password` with name, old and new password; 204 when it is done."""
    wait = handler.authenticator.wait_s(handler.request)
    if wait:
        problem(handler, 429, "too_many_attempts", retry_after_s=wait)
        return
    try:
        given = schema.ChangePassword.model_validate(json.loads(handler.request.body))
    except (ValueError, ValidationError, RecursionError):
        problem(handler, 422, "invalid_request", fields="username, old, new")
        return
    old, new = Secret(given.old), Secret(given.new)
    fault = await handler.authenticator.change(given.username, old, new, handler.request)
    if isinstance(fault, Refused):
        code, params = said_of(fault)
        problem(handler, 503, code, **params)
    elif fault:
        status, code = (403, _NOT_PROVED[fault]) if fault in _NOT_PROVED else (422, fault.value)
        problem(handler, status, code, **numbers(handler.authenticator.settings.sign_in))
    else:
        forget_initial_password(handler.authenticator.settings, given.username)
        handler.set_status(204)
        handler.finish()


def numbers(rules: SignIn) -> dict[str, int]:
    """Return the numbers in sentences about passwords."""
    return {"length": rules.password_min_length, "minutes": -(-rules.lock_s // 60)}


def said_of(refused: Refused) -> tuple[str, dict[str, object]]:
    """Return the code that says why somebody was not let in, and its numbers."""
    if refused.why is Refusal.LOCKED and not refused.retry_after_s:
        return "account_locked_there", {}
    return refused.why.value, {"minutes": -(-refused.retry_after_s // 60), **_cause(refused)}


def forget_initial_password(settings: Settings, name: str) -> None:
    path = Path(settings.secrets / "initial-password")
    if path.exists() and path.read_text("utf-8").split(" ", 1)[0] == name:
        # Where an installer keeps it, it is not ours to remove; it opens nothing any more.
        with contextlib.suppress(OSError):
            path.unlink()


def _cause(refused: Refused) -> dict[str, object]:
    return {"cause": refused.cause} if refused.cause else {}
