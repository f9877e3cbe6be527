"""Who a browser is: the hub's OAuth (code with PKCE), kept as an encrypted cookie of ours.

The cookie holds the hub's own token for this service; the hub is asked who it belongs to, and the answer is kept for
some seconds, so that a sign-out at the hub ends the session here too.
"""

import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode

import httpx
from cryptography.fernet import Fernet, InvalidToken
from fastapi import Request
from sqlalchemy import delete, insert, update
from starlette.responses import RedirectResponse, Response

from kqi_hub.clock import now
from kqi_hub.db.base import kept
from kqi_hub.db.engine import Database
from kqi_hub.errors import Forbidden, Invalid, NotSignedIn, Unavailable
from kqi_hub.identity import people
from kqi_hub.identity.model import Principal
from kqi_hub.identity.rows import BrowserSessionRow
from kqi_spawner.workload import Secret

COOKIE = "kqi-session"
_HUB_SESSION = "jupyterhub-session-id"
_STATE = "kqi-oauth-state"
_PATH = "/services/kqi/"
_TRUST_S = 15.0
_REMEMBERED = 10_000
# From where a session was used is for people to see; written at most this often, so that reads stay reads.
_NOTE_S = 300.0
_LIFE_S = 14 * 86_400
_SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(slots=True, kw_only=True)
class _Known:
    """Whose session it is by the hub's last word, which holds `until`; `ended` once the hub knows it no more."""

    name: str
    number: str
    until: float
    noted: float = float("-inf")
    ended: bool = False


@dataclass(slots=True, kw_only=True)
class HubSession:
    """`hub_url` is how we reach the hub, `/hub` included; `public_url` how browsers reach the platform."""

    database: Database
    hub_url: str
    public_url: str
    client_id: str
    client_secret: Secret
    key: Secret
    _known: OrderedDict[str, "_Known"] = field(default_factory=OrderedDict)
    _client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=10, trust_env=False))

    async def principal(self, request: Request) -> Principal | None:
        """Return who the cookie says, None without one. A change needs `check_form` as well."""
        cookie = request.cookies.get(COOKIE)
        token = self._opened(cookie)
        if cookie is None or token is None:
            return None
        known = await self._who(token, request.cookies.get(_HUB_SESSION, ""))
        if known is None:
            return None
        async with self.database.read() as session:
            person = await people.person_named(session, known.name)
            # Whose session has ended with their account is told so; with any other end, they are nobody.
            if person is None or (known.ended and not person.disabled):
                return None
            principal = await people.principal(session, person)
        if not known.ended and time.monotonic() - known.noted > _NOTE_S:
            known.noted = time.monotonic()
            await self._note(known, principal.person, request)
        return principal

    def check_form(self, request: Request) -> None:
        """Raise Forbidden for a change that comes without the form token of its session."""
        if request.method in _SAFE:
            return
        given = request.headers.get("x-kqi-csrf", "") or request.query_params.get("_csrf", "")
        if not secrets.compare_digest(given.encode(), self.csrf(request.cookies.get(COOKIE, "")).encode()):
            raise Forbidden("csrf_token_missing")

    def csrf(self, cookie: str) -> str:
        """Return the token that forms and scripts of this session send back."""
        return hashlib.blake2b(cookie.encode(), key=self.key.reveal().encode()[:64], digest_size=24).hexdigest()

    def begin(self, request: Request, after: str) -> Response:
        """Send the browser to the hub to sign in, and then back to `after`."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = urlencode(
            {
                "client_id": self.client_id,
                "redirect_uri": f"{_PATH}oauth_callback",
                "response_type": "code",
                "state": state,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        response = RedirectResponse(f"/hub/api/oauth2/authorize?{asked}", 302)
        kept = self._fernet().encrypt(f"{state}\n{verifier}\n{local_path(after)}".encode()).decode()
        self._set(request, response, _STATE, kept, 600)
        return response

    async def finish(self, request: Request) -> Response:
        """Exchange the hub's code for its token and make the session.

        Who took long, or has since begun in another tab, is sent to the front page, which begins anew if need be.
        """
        code = request.query_params.get("code", "")
        if not code:
            raise Invalid("sign_in_expired")
        kept = self._decrypted(request.cookies.get(_STATE), 600)
        state, verifier, after = kept.split("\n", 2) if kept else ("", "", "")
        given = request.query_params.get("state", "")
        if not state or not secrets.compare_digest(state.encode(), given.encode()):
            return RedirectResponse(_PATH, 302)
        token = await self._exchange(code, verifier)
        response = RedirectResponse(after, 302)
        self._set(request, response, COOKIE, self._fernet().encrypt(token.encode()).decode(), _LIFE_S)
        response.delete_cookie(_STATE, path=_PATH)
        return response

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _exchange(self, code: str, verifier: str) -> str:
        form = {
            "client_id": self.client_id,
            "client_secret": self.client_secret.reveal(),
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": f"{_PATH}oauth_callback",
            "code_verifier": verifier,
        }
        try:
            answer = await self._client.post(f"{self.hub_url}/api/oauth2/token", data=form)
        except httpx.HTTPError as error:
            raise Unavailable("hub_unreachable") from error
        token = answer.json().get("access_token") if answer.status_code == 200 else None
        if not isinstance(token, str):
            raise NotSignedIn("not_signed_in")
        return token

    async def _who(self, token: str, hub_session: str) -> _Known | None:
        # A sign-out takes the hub's cookie away: what is remembered of a session holds only together with it.
        key = hashlib.sha256(f"{token} {hub_session}".encode()).hexdigest()
        known = self._known.get(key)
        if known and known.until > time.monotonic():
            return known
        try:
            answer = await self._client.get(f"{self.hub_url}/api/user", headers={"Authorization": f"token {token}"})
        except httpx.HTTPError as error:
            if known:
                return known  # the hub restarts: who was signed in goes on
            raise Unavailable("hub_unreachable") from error
        said = answer.json() if answer.status_code == 200 else {}
        name = said.get("name")
        if not isinstance(name, str):
            if known:
                known.ended = True
            return known
        self._known.pop(key, None)
        fresh = _Known(name=name, number=str(said.get("token_id", "")), until=time.monotonic() + _TRUST_S)
        if known:
            fresh.noted = known.noted
        self._known[key] = fresh
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return fresh

    async def _note(self, known: _Known, person: int, request: Request) -> None:
        """Keep from where a session was last used, for its person and administrators to see."""
        address = request.client.host if request.client else ""
        seen = {
            "address": kept(address)[:64],
            "agent": kept(request.headers.get("user-agent", ""))[:255],
            "used_at": now(),
        }
        mine = (BrowserSessionRow.token == known.number) & (BrowserSessionRow.person_id == person)
        async with self.database.write() as session:
            done = await session.execute(update(BrowserSessionRow).where(mine).values(**seen))
            if done.rowcount == 0:  # type: ignore[attr-defined]
                long_ago = now() - timedelta(seconds=2 * _LIFE_S)
                stale = (BrowserSessionRow.used_at < long_ago) | (BrowserSessionRow.token == known.number)
                await session.execute(delete(BrowserSessionRow).where(stale))
                row = {"token": known.number, "person_id": person, "began_at": now()}
                await session.execute(insert(BrowserSessionRow).values(**row, **seen))

    def _opened(self, cookie: str | None) -> str | None:
        return self._decrypted(cookie, _LIFE_S)

    def _decrypted(self, text: str | None, life_s: int) -> str | None:
        if not text or len(text) > 4096:
            return None
        try:
            return self._fernet().decrypt(text.encode("utf-8", "replace"), ttl=life_s).decode()
        except InvalidToken:
            return None

    def _fernet(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(self.key.reveal().encode()).digest()))

    def _set(self, request: Request, response: Response, name: str, value: str, life_s: int) -> None:
        secure = self.public_url.startswith("https:")
        response.set_cookie(name, value, max_age=life_s, path=_PATH, secure=secure, httponly=True, samesite="lax")


def local_path(text: str) -> str:
    """Return `text` if it is a path of this platform, else our own front page."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and "\\" not in text
    return text if plain and not any(char <= " " for char in text) and len(text) < 2000 else _PATH
