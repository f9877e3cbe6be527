"""People, errands and applications as the API answers them."""

import json
import logging

from kqi import schema
from kqi_hub.administration.courier import Courier
from kqi_hub.administration.people import Seen
from kqi_hub.administration.rows import ErrandRow
from kqi_hub.errors import KqiError
from kqi_hub.identity.applications import ApplicationRow

log = logging.getLogger(__name__)


def somebody(seen: Seen) -> schema.Somebody:
    row, suspension = seen.row, seen.suspension
    roles = {role for role in (row.platform_role, row.directory_platform_role) if role}
    return schema.Somebody(
        id=row.id,
        name=row.name,
        display_name=row.display_name,
        email=row.email,
        source=row.source,
        state=seen.state,
        platform_roles=sorted(roles),
        platform_role=row.platform_role,
        tenants=list(seen.tenants),
        default_tenant=seen.default_tenant,
        must_change_password=bool(seen.account and seen.account.must_change),
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
        suspended_at=suspension.at if suspension else None,
        suspended_by=suspension.by if suspension else "",
        suspended_for=suspension.reason if suspension else "",
    )


def errand(row: ErrandRow) -> schema.Errand:
    return schema.Errand(
        id=row.id,
        kind=row.kind,
        about=row.about,
        state=schema.ErrandState(row.state),
        asked=json.loads(row.asked),
        report=json.loads(row.report),
        fault=row.fault,
        by=row.by,
        at=row.at,
        began_at=row.began_at,
        ended_at=row.ended_at,
    )


def application(row: ApplicationRow) -> schema.Application:
    return schema.Application(
        id=row.id,
        at=row.at,
        name=row.name,
        email=row.email,
        category=row.category,
        affiliation=row.affiliation,
        terms=row.terms,
        language=row.language,
        address=row.address,
        state=schema.ApplicationState(row.state),
        user=row.user,
        reason=row.reason,
        by=row.by,
        decided_at=row.decided_at,
    )


async def sent(courier: Courier, to: str, key: str, language: str, **params: object) -> bool:
    """Send an e-mail; return whether it went out."""
    try:
        await courier.send(to, key, language, **params)
    except KqiError as error:
        log.warning("an e-mail could not be sent", extra={"code": error.code})
        return False
    return True
