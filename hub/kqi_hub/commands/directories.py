"""`kqi-hub check-config --ldap USER`: what the directory answers about somebody, step by step; never a secret."""

import ssl
import time
from collections.abc import Iterator

import typer
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from kqi_hub.commands.console import t
from kqi_hub.db.engine import Database
from kqi_hub.directory.ldap import entries
from kqi_hub.directory.ldap.configured import ldap_traits
from kqi_hub.directory.ldap.directory import LdapDirectory
from kqi_hub.directory.ldap.groups import base_of
from kqi_hub.directory.ldap.servers import Visit
from kqi_hub.directory.ldap.steps import Known
from kqi_hub.directory.ldap.traits import LdapTraits
from kqi_hub.directory.ldap.wire import Away, Found, Place
from kqi_hub.errors import ConfigError, Unavailable
from kqi_hub.identity import people
from kqi_hub.identity.rows import LOCAL, PersonRow
from kqi_hub.settings import Settings
from kqi_hub.traits import traits_of


async def explain(settings: Settings, name: str) -> bool:
    """Say what each server answers about `name`; return whether they could sign in at the first that does."""
    traits = ldap_traits(traits_of(settings))
    if not traits.configured:
        raise ConfigError("ldap_not_configured")
    directory = LdapDirectory(traits)
    known: Known | None = None
    answered = False
    try:
        for number, place in enumerate(directory.servers.places):
            typer.echo(t("check.server", server=place.name, tls=t(f"check.tls.{place.tls}")))
            visit = Visit(directory.servers, number, time.monotonic() + traits.deadline_s)
            try:
                found = _visited(directory, visit, place, name)
            except Away as error:
                typer.echo(f"  ✗ {t(error.code)} {error.params['message']}")
                continue
            known, answered = known or found, True
        taken = await _taken(settings, name, known) if known else None
    finally:
        directory.close()
    if not answered or known is None:
        return False
    refused = directory.steps.refused(known)
    if refused or taken:
        typer.echo(t("check.may_not", name=name, why=t(refused.why.value) if refused else taken))
        return False
    typer.echo(t("check.may_administrator" if known.entry.administrator else "check.may", name=known.entry.name))
    return True


def _visited(directory: LdapDirectory, visit: Visit, place: Place, name: str) -> Known | None:
    traits = directory.traits
    for line in _connection(visit, place):
        typer.echo(f"  ✓ {line}")
    if not traits.lookup_dn and not visit.has_account:
        typer.echo(f"  · {t('check.nobody')}")
        return None
    listed = _searched(directory, visit, name)
    if len(listed) != 1:
        typer.echo(f"  ✗ {t('check.not_unique')}")
        return None
    found = listed[0]
    for line in _entry(found, traits):
        typer.echo(f"  · {line}")
    if entries.own_name(found, name, traits) is None:
        attribute = entries.name_attribute(traits)
        values = ", ".join(found.texts(attribute)) or t("check.missing")
        typer.echo(f"  ✗ {t('check.not_exact', attribute=attribute, values=values)}")
        return None
    known = directory.steps.known(visit, found, name)
    for line in _groups(known, traits) if known else ():
        typer.echo(f"  · {line}")
    return known


def _connection(visit: Visit, place: Place) -> Iterator[str]:
    begin = time.monotonic()
    certificate = visit.certificate()
    yield t("check.connected", ms=round((time.monotonic() - begin) * 1000))
    if place.context is not None and place.context.verify_mode is not ssl.CERT_REQUIRED:
        yield t("check.certificate_not_verified")
    elif certificate:
        yield t("check.certificate", subject=_subject(certificate), until=certificate.get("notAfter"))


def _searched(directory: LdapDirectory, visit: Visit, name: str) -> list[Found]:
    traits, account = directory.traits, directory.servers.account
    wanted = [*entries.wanted(traits), *entries.OF_THE_PASSWORD]
    if not traits.lookup_dn:
        found = directory.steps.found(visit, name)
        return [found] if found else []
    base, text = traits.user_search_base or "", directory.steps.filter_of(name)
    listed = visit.search(base, text, wanted)
    typer.echo(f"  ✓ {t('check.service', dn=account.dn) if account else t('check.anonymous')}")
    typer.echo(f"  · {t('check.search', filter=text, base=base, count=len(listed))}")
    return listed


def _entry(found: Found, traits: LdapTraits) -> Iterator[str]:
    yield t("check.entry", dn=found.dn)
    shown = [entries.name_attribute(traits), *traits.display_name_attributes, traits.email_attribute]
    for name in [*shown, traits.uid_attribute, traits.gid_attribute]:
        yield t("check.attribute", name=name, value=", ".join(found.texts(name)) or t("check.missing"))
    stays = entries.immutable_id(found, traits.id_attributes)
    yield stays or t("check.id_none", attributes=", ".join(traits.id_attributes))
    ends = entries.password_ends(found)
    if entries.locked(found):
        yield t("check.locked")
    if entries.must_change(found):
        yield t("check.must_change")
    elif ends:
        yield t("check.password_ends", until=f"{ends:%Y-%m-%d %H:%M} UTC")


def _groups(known: Known, traits: LdapTraits) -> Iterator[str]:
    groups = known.entry.groups
    yield t("check.groups", count=len(groups), base=base_of(traits, known.found.dn))
    for group in groups:
        yield t("check.group" if group.direct else "check.group_nested", name=group.name, dn=group.dn)


async def _taken(settings: Settings, name: str, known: Known) -> str | None:
    """Return why the platform's person of this name is another one; a database that is not there yet knows nobody."""
    database = Database.of(settings)
    try:
        async with database.read() as session:
            person = await people.person_named(session, known.entry.name)
            ids = [] if known.entry.directory_id is None else [known.entry.directory_id]
            before = await session.scalar(select(PersonRow.name).where(PersonRow.directory_id.in_(ids)))
    except (Unavailable, SQLAlchemyError):
        return None
    finally:
        await database.close()
    if before is not None and before != known.entry.name:
        return t("check.renamed", before=before)
    if person is None or (person.source, person.directory_id) == (known.entry.source, known.entry.directory_id):
        return None
    return t("check.local", name=name) if person.source == LOCAL else t("check.name_taken")


def _subject(certificate: dict[str, object]) -> str:
    subject = certificate.get("subject")
    names = [value for part in (subject if isinstance(subject, tuple) else ()) for _, value in part]
    return ", ".join(map(str, names))
