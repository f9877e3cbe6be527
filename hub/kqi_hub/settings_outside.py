"""What the configuration says of the world outside: servers that the platform asks, and words for its people."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _are_networks(texts: list[str]) -> list[str]:
    for text in texts:
        ip_network(text)
    return texts


Networks = Annotated[list[str], AfterValidator(_are_networks)]
Language = Literal["en", "ja", "zh"]


class Outbound(_Section):
    """Addresses that people choose: webhooks, and git servers that keys are fetched from."""

    private_networks: Networks = []  # networks, beside the open internet, that may be connected to: ["10.0.0.0/8"]
    closed_networks: Networks = []  # never connected to, also where they lie in those; nor for repositories
    ca_file: Path | None = None  # authorities to believe beside those of the system; git believes them, too
    timeout_s: float = Field(default=10, gt=0, le=120)


class Smtp(_Section):
    """The server that takes the platform's mail."""

    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password_file: Path | None = None
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")

    @model_validator(mode="after")
    def _no_password_in_clear(self) -> "Smtp":
        if self.security == "none" and self.password_file is not None:
            raise PydanticCustomError("password_in_clear", 'security "none" would send the password in clear')
        return self


class KeyServer(_Section):
    """A server that shows people's SSH keys at URL/NAME.keys, as GitHub and GitLab do."""

    name: str = Field(pattern="^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")
    url: str = Field(pattern="^https://")


class Texts(_Section):
    """Words of an administrator, by language; where one is missing, English or any other is shown."""

    contact: dict[Language, str] = {}
    help: dict[Language, str] = {}
    announcement: dict[Language, str] = {}

    def shown(self, language: str) -> dict[str, str]:
        """Return what there is to show in `language`, by `contact`, `help` and `announcement`."""
        found = {"announcement": self.announcement, "help": self.help, "contact": self.contact}
        said = {name: _in(language, texts) for name, texts in found.items()}
        return {name: text for name, text in said.items() if text}


KEY_SERVERS = [
    KeyServer(name="github", url="https://github.com"),
    KeyServer(name="gitlab", url="https://gitlab.com"),
]


def _in(language: str, texts: Mapping[Language, str]) -> str:
    told = {str(tag): text for tag, text in texts.items()}
    return told.get(language) or told.get("en") or next(iter(told.values()), "")
