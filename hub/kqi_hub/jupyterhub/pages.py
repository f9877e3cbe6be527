"""Sign-in and change of password inside the hub; they work without scripts."""

import contextlib
import hashlib
import hmac
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub.handlers import BaseHandler
from tornado.web import authenticated

from kqi_hub.directory.base import Entry, Refusal, Refused
from kqi_hub.i18n import COOKIE, LANGUAGES, NAMES, text
from kqi_hub.jupyterhub.authenticator import NAME
from kqi_hub.jupyterhub.reader import language_of
from kqi_hub.jupyterhub.ways import HOME, way_on
from kqi_hub.runtime import kept_secret
from kqi_spawner.workload import Secret

_CHANGE = "kqi-change"
_CHANGE_LIFE_S = 600
_MAX_FIELD = 4096


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
        html = await self.render_template(
            template, t=self.t, language=self.language, language_names=NAMES, xsrf=self.xsrf_token.decode(), **values
        )
        self.finish(html)

    async def sign_in(self, entry: Entry) -> None:
        """Give the session and go on."""
        user = await self.auth_to_user(await self.authenticator.get_authenticated_user(self, {"entry": entry}))
        self.set_login_cookie(user)
        self.redirect(self.way_on())

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
            self.log.warning("sign-in refused: %s", entry.why.value)
            await self._form(503 if entry.why is Refusal.UNREACHABLE else 403, name, refusal_text(self, entry))
        elif entry.must_change:
            expires = int(time.time()) + _CHANGE_LIFE_S
            secure = self.request.protocol == "https"
            kept = signed(self, f"{entry.name}:{expires}")
            self.set_cookie(_CHANGE, kept, httponly=True, samesite="strict", secure=secure)
            self.redirect(f"/hub/kqi/first-password?next={quote(self.way_on())}")
        else:
            await self.sign_in(entry)

    async def _form(self, status: int = 200, name: str = "", fault: str = "") -> None:
        shown = name if NAME.fullmatch(name) else ""
        await self.show("kqi_login.html", status, person=shown, fault=fault, next=self.way_on())


class FirstPassword(Page):
    """The change that must come before the first session; the name is in a signed cookie, the password nowhere."""

    async def get(self) -> None:
        name = self._name()
        if name is None:
            self.redirect("/hub/login")
            return
        await self.show("kqi_password.html", person=name, fault="", first=True, next=self.way_on())

    async def post(self) -> None:
        name = self._name()
        if name is None:
            self.redirect("/hub/login")
            return
        fault = await change(self, name)
        if fault:
            await self.show(
                "kqi_password.html", fault.status, person=name, fault=fault.text, first=True, next=self.way_on()
            )
            return
        self.clear_cookie(_CHANGE)
        entry = await self.authenticator.check(name, Secret(self.field("new")))
        if isinstance(entry, Entry):
            await self.sign_in(entry)
        else:
            self.redirect("/hub/login")

    def _name(self) -> str | None:
        plain = unsigned(self, self.get_cookie(_CHANGE) or "")
        name, _, expires = (plain or "").partition(":")
        return name if expires.isdigit() and int(expires) > time.time() else None


class ChangePassword(Page):
    """`/hub/kqi/password`: a change that one wants."""

    @authenticated
    async def get(self) -> None:
        await self.show("kqi_password.html", person=self.current_user.name, fault="", first=False, next=HOME)

    @authenticated
    async def post(self) -> None:
        name = self.current_user.name
        fault = await change(self, name)
        if fault:
            await self.show("kqi_password.html", fault.status, person=name, fault=fault.text, first=False, next=HOME)
            return
        await self.show("kqi_password.html", person=name, fault="", first=False, done=True, next=HOME)


class Home(Page):
    """`/hub/home`, where JupyterLab's menu leads: our front page has the person's servers."""

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
    fault = await page.authenticator.change(name, Secret(page.field("old")), Secret(new))
    if fault:
        rules = page.authenticator.settings.sign_in
        said = page.t(fault.value, length=rules.password_min_length, minutes=-(-rules.lock_s // 60))
        return Fault(503 if fault is Refusal.UNREACHABLE else 400, said)
    _forget_initial_password(page, name)
    return None


def refusal_text(page: Page, refused: Refused) -> str:
    if refused.why is Refusal.LOCKED:
        return page.t("account_locked", minutes=-(-refused.retry_after_s // 60))
    return page.t(refused.why.value)


def signed(page: Page, plain: str) -> str:
    return f"{plain}:{_mac(page, plain)}"


def unsigned(page: Page, given: str) -> str | None:
    plain, _, mac = given.rpartition(":")
    return plain if hmac.compare_digest(mac.encode(), _mac(page, plain).encode()) else None


def _mac(page: Page, plain: str) -> str:
    key = kept_secret(page.authenticator.settings, "cookie-secret").reveal().encode()
    return hmac.new(key, b"change:" + plain.encode(), hashlib.sha256).hexdigest()


def _forget_initial_password(page: Page, name: str) -> None:
    path = Path(page.authenticator.settings.secrets / "initial-password")
    if path.exists() and path.read_text("utf-8").split(" ", 1)[0] == name:
        # Where an installer keeps it, it is not ours to remove; it opens nothing any more.
        with contextlib.suppress(OSError):
            path.unlink()
