"""`/hub/kqi/apply`: somebody asks for an account. Works without scripts; there only where it is switched on."""

from tornado.web import HTTPError

from kqi_hub.errors import KqiError
from kqi_hub.identity.applications import ApplicationRow, Asked, fault, keep
from kqi_hub.jupyterhub.pages import Page


class Apply(Page):
    """The answer is the same for an address that is known and one that is not."""

    async def prepare(self) -> None:
        await super().prepare()
        if not self.authenticator.settings.applications.enabled:
            raise HTTPError(404)

    async def get(self) -> None:
        await self._form(Asked(name="", email="", category="", affiliation="", accepted=False))

    async def post(self) -> None:
        asked = Asked(
            name=self.field("name").strip(),
            email=self.field("email").strip(),
            category=self.field("category"),
            affiliation=self.field("affiliation").strip(),
            accepted=self.field("terms") == "yes",
        )
        settings = self.authenticator.settings.applications
        wrong = fault(asked, settings.categories)
        if wrong:
            await self._form(asked, 400, self.t(wrong))
            return
        wait = self.authenticator.applications.wait_s(self.authenticator.address(self.request))
        if wait:
            await self._form(asked, 429, self.t("too_many_attempts", retry_after_s=wait))
            return
        row = ApplicationRow(
            name=asked.name,
            email=asked.email,
            category=asked.category,
            affiliation=asked.affiliation,
            terms=settings.terms_version,
            language=self.language,
            address=self.authenticator.address(self.request)[:64],
        )
        try:
            async with self.authenticator.database.write() as session:
                kept = await keep(session, row, at_most=settings.waiting)
        except KqiError as error:
            self.log.error("an application could not be kept: %s", error.code)
            await self._form(asked, 503, self.t("directory_unreachable"))
            return
        if kept:
            await self.show("kqi_apply.html", done=True, next="")
        else:
            await self._form(asked, 503, self.t("apply.full"))

    async def _form(self, asked: Asked, status: int = 200, wrong: str = "") -> None:
        settings = self.authenticator.settings.applications
        await self.show(
            "kqi_apply.html", status, asked=asked, fault=wrong, done=False, next="", form=settings.model_dump()
        )
