"""git's credential helper: git asks, the platform answers with what its person has for the host."""

import sys
from typing import Annotated

from kqi.cli.commands import Arg, Commands
from kqi.cli.session import Session
from kqi.client.errors import KqiError, NotFound
from kqi.schema import AskGitCredential

commands = Commands()


@commands.add("git-credential", "cli.git_credential.help")
def git_credential(
    session: Session, action: Annotated[str, Arg("cli.git_credential.action", "get|store|erase")]
) -> None:
    """Nothing is stored or erased here: that is done in the account. A helper that has no answer says nothing."""
    asked = dict(line.rstrip("\n").partition("=")[::2] for line in sys.stdin)
    if action != "get" or asked.get("protocol") != "https" or not asked.get("host"):
        return
    try:
        found = session.client.credentials.for_git(AskGitCredential(protocol="https", host=asked["host"]))
    except NotFound:
        return
    except KqiError as problem:
        session.out.tell("cli.error", text=str(problem))
        return
    if asked.get("username") in {None, found.username}:
        sys.stdout.write(f"username={found.username}\npassword={found.password}\n")
