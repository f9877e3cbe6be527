"""Sign-in and change of password inside the hub; they work without scripts."""

import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from jupyterhub.handlers import BaseHandler
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError, authenticated

from kqi_hub.directory.base import Entry, Refusal, Refused
from kqi_hub.errors import Unavailable
from kqi_hub.i18n import COOKIE, LANGUAGES, NAMES, text
from kqi_hub.identity.rows import LOCAL
from kqi_hub.jupyterhub.authenticator import NAME
from kqi_hub.jupyterhub.passwords import change_by_program, forget_initial_password, is_json, numbers, said_of
from kqi_hub.jupyterhub.reader import language_of
from kqi_hub.jupyterhub.ways import HOME, way_on
from kqi_hub.runtime import kept_secret
from kqi_hub.terms import service as terms
from kqi_spawner.workload import Secret

TERMS = "/hub/kqi/terms"
_CHANGE, _NOTICE = "kqi-change", "kqi-notice"
_KEPT_S = 600
_MAX_FIELD = 4096


class Away(HTTPError):
    """Something that a page needs does not answer; `said` tells its reader so."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(503, code)
        self.jupyterhub_message = said


class Page(BaseHandler):  # type: ignore[misc]
    """What our pages share: language, safe ways on, and the limit of attempts."""

    @property
    def language(self) -> str:
        return language_of(self)

    def t(self, key: str, **params: object) -> str:
        return text(key, self.language, params)

    def field(self, name: str) -> str:
        """Return a form field exactly as typed, cut where no honest one would be that long."""
        raw = self.request.body_arguments.get(name, [b""])[-1]
        return str(raw.decode("utf-8", "replace"))[:_MAX_FIELD]

    def way_on(self) -> str:
        """Return where to go after signing in: a path of ours, whatever was asked for."""
        return way_on(str(self.get_argument("next", "", strip=False)))

    async def show(self, template: str, status: int = 200, **values: Any) -> None:
        asked = self.get_query_argument("lang", "")
        if asked in LANGUAGES:
            self.set_cookie(COOKIE, asked, expires_days=365, httponly=True, samesite="lax")
        self.set_status(status)
        notes = self.authenticator.settings.texts.shown(self.language)
        values = {"notes": notes, **values}
        html = await self.render_template(
            template, t=self.t, language=self.language, language_names=NAMES, xsrf=self.xsrf_token.decode(), **values
        )
        self.finish(html)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Say why, as a page with status 503, where the database is away."""
        try:
            yield
        except Unavailable as error:
            raise Away(error.code, self.t(error.code, **error.params)) from error

    async def sign_in(self, entry: Entry) -> Refused | None:
        """Give the session and go on, or return why that may not be."""
        arrived = await self.authenticator.arrive(entry, self.request)
        if isinstance(arrived, Refused):
            return arrived
        who = {"arrived": arrived, "entry": entry}
        user = await self.auth_to_user(await self.authenticator.get_authenticated_user(self, who))
        self.set_login_cookie(user)
        on, notice = await self._first(arrived.id), notice_of(entry)
        if notice:
            self.keep(_NOTICE, f"{entry.name}:{notice}")
            on = f"/hub/kqi/password?next={quote(on)}"
        self.redirect(on)
        return None

    async def _first(self, person: int) -> str:
        """Return where to go now: to the terms where they have yet to be accepted, and on from there."""
        on = self.way_on()
        try:
            async with self.authenticator.database.read() as session:
                version = await terms.keeps_out(session, person)
        except (Unavailable, SQLAlchemyError) as error:
            self.log.error("the terms could not be asked for", exc_info=error)
            return on  # the api asks again, at every request
        return f"{TERMS}?next={quote(on)}" if version else on

    def keep(self, cookie: str, plain: str) -> None:
        """Remember something for some minutes; nobody else can have written it."""
        expires = int(time.time()) + _KEPT_S
        secure = self.request.protocol == "https"
        self.set_cookie(cookie, signed(self, f"{plain}:{expires}"), httponly=True, samesite="strict", secure=secure)

    def kept(self, cookie: str) -> list[str]:
        """Return the parts of what was kept, an empty list if there is nothing."""
        *parts, expires = (unsigned(self, self.get_cookie(cookie) or "") or "").split(":")
        return parts if expires.isdigit() and int(expires) > time.time() else []

    def waits(self) -> int:
        return int(self.authenticator.wait_s(self.request))


class SignIn(Page):
    """`/hub/login`."""

    async def get(self) -> None:
        user = await self.get_current_user()
        if user:
            self.redirect(self.way_on())
            return
        await self._form()

    async def post(self) -> None:
        name = self.field("username").strip()
        wait = self.waits()
        if wait:
            await self._form(429, name, self.t("too_many_attempts", retry_after_s=wait))
            return
        entry = await self.authenticator.check(name, Secret(self.field("password")))
        if isinstance(entry, Refused):
            await self.authenticator.refused(name, entry, self.request)
            await self._refuse(name, entry)
        elif entry.must_change:
            given = entry.source == LOCAL and entry.grace_left is None  # by an administrator, for one time
            self.keep(_CHANGE, f"{entry.name}:{'first' if given else 'again'}")
            self.redirect(f"/hub/kqi/first-password?next={quote(self.way_on())}")
        else:
            refused = await self.sign_in(entry)
            if refused:
                await self._refuse(name, refused)

    async def _refuse(self, name: str, refused: Refused) -> None:
        self.log.warning("sign-in refused: %s", refused.why.value)
        await self._form(503 if refused.why is Refusal.UNREACHABLE else 403, name, refusal_text(self, refused))

    async def _form(self, status: int = 200, name: str = "", fault: str = "") -> None:
        shown = name if NAME.fullmatch(name) else ""
        apply = self.authenticator.settings.applications.enabled
        await self.show("kqi_login.html", status, person=shown, fault=fault, next=self.way_on(), apply=apply)


class FirstPassword(Page):
    """The change that must come before the session; the name is in a signed cookie, the password nowhere."""

    async def get(self) -> None:
        await self._form() if self.kept(_CHANGE) else self.redirect("/hub/login")

    async def post(self) -> None:
        if not self.kept(_CHANGE):
            self.redirect("/hub/login")
            return
        name = self.kept(_CHANGE)[0]
        fault = await change(self, name)
        if fault:
            await self._form(fault.status, fault.text)
            return
        self.clear_cookie(_CHANGE)
        entry = await self.authenticator.check(name, Secret(self.field("new")))
        if isinstance(entry, Refused) or entry.must_change or await self.sign_in(entry):
            self.redirect("/hub/login")

    async def _form(self, status: int = 200, fault: str = "") -> None:
        name, which = self.kept(_CHANGE)
        intro = "page.first_password" if which == "first" else "page.password_must_change"
        await self.show("kqi_password.html", status, person=name, intro=intro, fault=fault, next=self.way_on())


class ChangePassword(Page):
    """`/hub/kqi/password`: a change that one wants, or is reminded of. Programs send the same as JSON."""

    def check_xsrf_cookie(self) -> None:
        if not is_json(self.request):
            super().check_xsrf_cookie()

    @authenticated
    async def get(self) -> None:
        name, *notice = self.kept(_NOTICE) or [""]
        self.clear_cookie(_NOTICE)
        said = self._said(notice) if name == self.current_user.name else ""
        await self._form(notice=said, next=self.way_on())

    async def post(self) -> None:
        if is_json(self.request):
            await change_by_program(self)
        elif self.current_user is None:
            self.redirect("/hub/login")
        else:
            fault = await change(self, self.current_user.name)
            if fault:
                await self._form(fault.status, fault=fault.text, next=self.way_on())
            else:
                await self._form(done=True, next=self.way_on())

    async def _form(self, status: int = 200, **values: Any) -> None:
        shown = {"person": self.current_user.name, "intro": "page.password_of", "fault": "", **values}
        await self.show("kqi_password.html", status, **shown)

    def _said(self, notice: list[str]) -> str:
        kind, value = notice
        if kind == "expires":
            return self.t("page.password_expires", date=datetime.fromtimestamp(int(value), UTC).date().isoformat())
        return self.t("page.password_grace" if int(value) else "page.password_no_grace", count=value)


class Home(Page):
    """`/hub/home`, where JupyterLab's menu leads, and `/hub/token`: our front page has servers, tokens are ours."""

    @authenticated
    async def get(self) -> None:
        self.redirect(HOME)


@dataclass(frozen=True, slots=True)
class Fault:
    status: int
    text: str


async def change(page: Page, name: str) -> Fault | None:
    """Change the password as the form says; return what is wrong, or None."""
    wait = page.waits()
    if wait:
        return Fault(429, page.t("too_many_attempts", retry_after_s=wait))
    new = page.field("new")
    if new != page.field("again"):
        return Fault(400, page.t("password_not_alike"))
    fault = await page.authenticator.change(name, Secret(page.field("old")), Secret(new), page.request)
    if isinstance(fault, Refused):
        return Fault(503, refusal_text(page, fault))
    if fault:
        return Fault(400, page.t(fault.value, **numbers(page.authenticator.settings.sign_in)))
    forget_initial_password(page.authenticator.settings, name)
    return None


def refusal_text(page: Page, refused: Refused) -> str:
    code, params = said_of(refused)
    return " ".join([page.t(code, **params), *([page.t(refused.cause)] if refused.cause else [])])


def notice_of(entry: Entry) -> str:
    """Return what somebody is to be reminded of; empty: nothing."""
    if entry.grace_left is not None:
        return f"grace:{max(0, entry.grace_left)}"
    return f"expires:{int(entry.expires_at.timestamp())}" if entry.expires_at else ""


def signed(page: Page, plain: str) -> str:
    return f"{plain}:{_mac(page, plain)}"


def unsigned(page: Page, given: str) -> str | None:
    plain, _, mac = given.rpartition(":")
    return plain if hmac.compare_digest(mac.encode(), _mac(page, plain).encode()) else None


def _mac(page: Page, plain: str) -> str:
    key = kept_secret(page.authenticator.settings, "cookie-secret").reveal().encode()
    return hmac.new(key, b"change:" + plain.encode(), hashlib.sha256).hexdigest()
