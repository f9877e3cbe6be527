"""`/hub/kqi/sessions`: our own service asks who is signed in at a browser, and ends it."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm

from kqi_hub.jupyterhub.rest import Rest

# The owner of tokens that were made for a server, or once by hand; all others belong to a browser.
_OURS = "jupyterhub"
_ACTIVITY = "users:activity!user"


class Sessions(Rest):
    """A browser is known by the session under which the hub gave its tokens out."""

    def get(self) -> None:
        if self.is_service():
            query = self.db.query(orm.APIToken).filter(orm.APIToken.user_id.is_not(None))
            tokens = query.filter(orm.APIToken.client_id != _OURS).order_by(orm.APIToken.id).all()
            person = self.get_query_argument("person", None)
            self.answer([_shown(held) for held in _by_session(tokens) if person in {None, held[0].user.name}])

    async def delete(self) -> None:
        """End one browser session of a person, all, or with `everything` their servers' tokens as well."""
        if not self.is_service():
            return
        user = self.find_user(self.get_query_argument("person"))
        if user is None:
            self.answer({"ended": 0})
            return
        everything = bool(self.get_query_argument("everything", ""))
        chosen = self.get_query_argument("session", None)
        kept = {} if everything else _of_servers(user)
        held_by = self.db.query(orm.APIToken).filter(orm.APIToken.user_id == user.id).order_by(orm.APIToken.id)
        tokens = [token for token in held_by if not _is_kept(token, kept)]
        sessions = [held for held in _by_session(tokens) if chosen in {None, *(token.api_id for token in held)}]
        for held in sessions:
            for token in held:
                self.db.delete(token)
        if sessions or chosen is None:
            # The hub's own cookie holds this: without it, a browser would be given new tokens without being asked.
            user.orm_user.cookie_id = orm.new_token()
            user._auth_refreshed = None
        self.db.commit()
        self.answer({"ended": len(sessions)})

    def answer(self, value: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(value))


def _of_servers(user: Any) -> dict[str, set[str]]:
    """Return, by their notes, what the tokens of servers that run may do."""
    return {
        f"Server at {spawner.server.base_url}": {f"access:servers!server={user.name}/{spawner.name}", _ACTIVITY}
        for spawner in user.spawners.values()
        if spawner.server
    }


def _is_kept(token: orm.APIToken, kept: Mapping[str, set[str]]) -> bool:
    """A note can be anybody's words: what is kept can do no more than the server whose note it is."""
    return token.client_id == _OURS and token.note in kept and set(token.scopes) <= kept[token.note]


def _by_session(tokens: Iterable[orm.APIToken]) -> list[list[orm.APIToken]]:
    held: dict[tuple[int, str], list[orm.APIToken]] = {}
    for token in tokens:
        held.setdefault((token.user_id, token.session_id or token.api_id), []).append(token)
    return list(held.values())


def _shown(tokens: list[orm.APIToken]) -> dict[str, Any]:
    return {
        "id": tokens[0].api_id,
        "person": tokens[0].user.name,
        "tokens": [token.api_id for token in tokens],
        "began_at": _moment(min((token.created for token in tokens if token.created), default=None)),
        "used_at": _moment(max((token.last_activity for token in tokens if token.last_activity), default=None)),
        "expires_at": _moment(max((token.expires_at for token in tokens if token.expires_at), default=None)),
    }


def _moment(at: datetime | None) -> str | None:
    """The hub's times are of UTC, whether or not they say so."""
    return None if at is None else at.replace(tzinfo=at.tzinfo or UTC).isoformat()
