"""The page of the terms of service, which comes before everything else; it works without scripts."""

from tornado.web import authenticated

from kqi_hub.audit import log as audit
from kqi_hub.errors import Conflict
from kqi_hub.identity import people
from kqi_hub.jupyterhub.pages import Page
from kqi_hub.terms import service as terms
from kqi_hub.terms.rows import TermsRow


class Terms(Page):
    """`/hub/kqi/terms`: read them, accept them, and go on to where one wanted to."""

    @authenticated
    async def get(self) -> None:
        await self._form()

    @authenticated
    async def post(self) -> None:
        given = self.field("version")
        if self.field("accept") != "yes" or not given.isascii() or not given.isdigit():
            await self._form(400, self.t("page.terms_missing"))
            return
        try:
            await self._accept(int(given[:9]))
        except Conflict as error:
            await self._form(409, self.t(error.code, **error.params))
            return
        self.redirect(self.way_on())

    async def _accept(self, version: int) -> None:
        with self.asking():
            async with self.authenticator.database.write() as session:
                person = await people.person_named(session, self.current_user.name)
                entry = audit.Entry(
                    action="terms.accept",
                    thing=f"terms/{version}",
                    person=person.id if person else None,
                    name=self.current_user.name,
                    address=self.authenticator.address(self.request),
                )
                await terms.accept(session, entry, version)

    async def _form(self, status: int = 200, fault: str = "") -> None:
        row, done = await self._found()
        await self.show(
            "kqi_terms.html",
            status,
            fault=fault,
            done=done,
            version=row.version if row else 0,
            date=row.published_at.date().isoformat() if row else "",
            said=terms.text_of(row, self.language) if row else "",
            next=self.way_on(),
        )

    async def _found(self) -> tuple[TermsRow | None, bool]:
        with self.asking():
            async with self.authenticator.database.read() as session:
                row = await terms.current(session)
                person = await people.person_named(session, self.current_user.name)
                last = await terms.accepted(session, person.id) if person else 0
                done = row is not None and row.version == last
        return row, done
