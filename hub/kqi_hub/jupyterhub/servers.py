"""What the platform asks of the servers of its runs."""

import asyncio

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.scopes import needs_scope
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError

from kqi_hub.jupyterhub.progress import fault_of

_MOST_S = 60.0


class Server(UserServerAPIHandler):  # type: ignore[misc]
    """JupyterHub's; `?workload=` ends a server only as long as it is this one, `?wait=` answers when it has started.

    A person may have started it anew meanwhile, which JupyterHub would interrupt. Who waits so many seconds for the
    answer need not follow the account of the start as well: 201 that it can be opened, 200 and a fault that it cannot,
    202 that the account goes on.
    """

    @property
    def slow_spawn_timeout(self) -> float:
        asked = self.get_query_argument("wait", "0")
        return min(float(asked), _MOST_S) if asked.isdecimal() else 0.0

    @needs_scope("start:servers")  # type: ignore[untyped-decorator]
    async def post(self, user_name: str, server_name: str = "") -> None:
        try:
            await super().post(user_name, server_name)
        except (HTTPError, SQLAlchemyError):
            raise
        except (Exception, asyncio.CancelledError) as error:  # whatever has ended the start
            if not self.slow_spawn_timeout:
                raise
            self.set_status(200)
            self.finish({"fault": fault_of(self, error)})

    @needs_scope("delete:servers")  # type: ignore[untyped-decorator]
    async def delete(self, user_name: str, server_name: str = "") -> None:
        workload = self.get_query_argument("workload", "")
        user = self.find_user(user_name)
        spawner = user.spawners.get(server_name) if user and workload else None
        if spawner is not None and spawner.active and spawner.workload != workload:
            self.set_status(204)
            return
        await super().delete(user_name, server_name)


# As JupyterHub has them; handlers of an authenticator come first.
SERVERS = (
    (r"/api/users/([^/]+)/server", Server),
    (r"/api/users/([^/]+)/servers/([^/]*)", Server),
)
