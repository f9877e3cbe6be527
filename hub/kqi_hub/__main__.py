"""`kqi-hub`: run and administer the platform."""

import os

import typer

from kqi_hub.commands import backups, images, parts, run, users
from kqi_hub.commands.console import t

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=t("help.kqi_hub"))
app.command("up", help=t("help.up"))(run.up)
app.command("down", help=t("help.down"))(run.down)
app.command("migrate", help=t("help.migrate"))(run.migrate)
app.command("check-config", help=t("help.check_config"))(run.check_config)
app.command("backup", help=t("help.backup"))(backups.backup)
app.command("restore", help=t("help.restore"))(backups.restore)
app.command("install-service", help=t("help.install_service"))(run.install_service)
app.command("prepare", help=t("help.prepare"))(parts.prepare)
app.command("hub", help=t("help.hub"))(parts.hub)
app.command("serve", help=t("help.serve"))(parts.serve)
app.add_typer(users.app, name="user")
app.add_typer(images.app, name="image")


def main() -> None:
    # Whatever the administrator's shell has: environments and datasets are read by the workloads' account.
    os.umask(0o022)
    app()


if __name__ == "__main__":
    main()
