"""Who one is, tokens, and ways to sign in."""

from pydantic import BaseModel

from kqi.client.errors import ConnectionFailed, Invalid
from kqi.client.exchange import Model, delete, get, pages, parse, patch, post, send
from kqi.client.operation import Group, Mode, operation, stream
from kqi.client.steps import HttpRequest, Pause, Steps, Stream
from kqi.schema import (
    Capacity,
    ChangePassword,
    ChangePerson,
    CreateToken,
    Device,
    NewToken,
    Password,
    Person,
    RedeemDevice,
    StartDevice,
    Token,
    Version,
)

SLOWER_S = 5  # RFC 8628 section 3.5


class TokenGroup(Group[Mode]):
    """The caller's tokens for programs."""

    @stream
    def list(self, limit: int | None = None) -> Stream[Token]:
        return pages(Token, "/tokens", {}, limit)

    @operation
    def create(self, body: CreateToken) -> Steps[NewToken]:
        """Make a token. Its text is answered this once."""
        return post(NewToken, "/tokens", body)

    @operation
    def revoke(self, token_id: int) -> Steps[None]:
        return delete(f"/tokens/{token_id}")

    @operation
    def revoke_current(self) -> Steps[None]:
        """Revoke the token that this client uses."""
        return delete("/tokens/current")


class SignInGroup(Group[Mode]):
    """Ways to get the first token; they need none."""

    @operation
    def start_device(self, client: str = "kqi") -> Steps[Device]:
        """Ask for a code that a person approves in a browser."""
        return _anonymous(Device, "/device", StartDevice(client=client))

    @operation
    def redeem(self, device: Device) -> Steps[NewToken]:
        """Wait until the code is approved. Raises Invalid when it is denied or has expired."""
        asked = RedeemDevice(device_code=device.device_code)
        interval_s = device.interval
        while True:
            yield Pause(interval_s)
            try:
                return (yield from _anonymous(NewToken, "/device/token", asked))
            except ConnectionFailed:
                interval_s += SLOWER_S
            except Invalid as problem:
                if problem.code == "slow_down":
                    interval_s += SLOWER_S
                elif problem.code != "authorization_pending":
                    raise

    @operation
    def password(self, body: Password) -> Steps[NewToken]:
        """Give name and password to the hub, for systems without a browser."""
        return _anonymous(NewToken, "/hub/kqi/token", body)

    @operation
    def change_password(self, body: ChangePassword) -> Steps[None]:
        """Change the password at the hub, by the old one."""
        yield from send(_request("/hub/kqi/password", body))


class RootGroup(Group[Mode]):
    """What belongs to no kind of thing."""

    @operation
    def me(self) -> Steps[Person]:
        return get(Person, "/me")

    @operation
    def edit_me(self, body: ChangePerson) -> Steps[Person]:
        return patch(Person, "/me", body)

    @operation
    def version(self) -> Steps[Version]:
        """Return the version of the server."""
        return get(Version, "/version")

    @operation
    def capacity(self) -> Steps[Capacity]:
        """Return what there is and what is free, for the tenant."""
        return get(Capacity, "/capacity", {"tenant": self._tenant})


def _anonymous(model: type[Model], path: str, body: BaseModel) -> Steps[Model]:
    """Post without a token: one that has expired must not keep its owner from getting another."""
    return parse(model, (yield from send(_request(path, body))))


def _request(path: str, body: BaseModel) -> HttpRequest:
    return HttpRequest(
        method="POST",
        path=path,
        content=body.model_dump_json().encode(),
        headers={"Content-Type": "application/json"},
        repeatable=False,
        outside=path.startswith("/hub/"),
        anonymous=True,
    )
