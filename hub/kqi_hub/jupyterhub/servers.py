"""The end of a server whose run is over."""

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.scopes import needs_scope


class Server(UserServerAPIHandler):  # type: ignore[misc]
    """JupyterHub's; `?workload=` ends a server only as long as it is this one.

    A person may have started it anew meanwhile, which JupyterHub would interrupt.
    """

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
