"""Members of JSON that is kept as text."""

from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from kqi_hub.db.base import Words


class member(GenericFunction[str]):
    """`member(column, "name")`: the text of that member of the object; null if there is none."""

    type = Words()
    inherit_cache = True


@compiles(member)
def _sqlite(element: member, compiler: SQLCompiler, **options: Any) -> str:
    column, name = element.clauses
    return f"json_extract({compiler.process(column, **options)}, '$.' || {compiler.process(name, **options)})"


@compiles(member, "postgresql")
def _postgresql(element: member, compiler: SQLCompiler, **options: Any) -> str:
    column, name = element.clauses
    return f"(({compiler.process(column, **options)})::json ->> {compiler.process(name, **options)})"
