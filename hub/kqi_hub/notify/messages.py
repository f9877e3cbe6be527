"""What is told, for each kind of target. Pure."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from kqi_hub.i18n import text

_COLOURS = {"completed": "#2eb67d", "failed": "#e01e5a", "killed": "#e01e5a"}
_OTHERWISE = "#8a8f98"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A run has ended, in `phase`; or, with phase `test`, somebody wants to see whether it arrives."""

    phase: str
    kind: str = ""
    number: int = 0
    title: str = ""
    tenant: str = ""
    reason: str = ""
    explanations: Mapping[str, str] = field(default_factory=dict)  # language → what the reason means
    at: str = ""  # ISO 8601
    url: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, given: str) -> "Event":
        return cls(**json.loads(given))

    def explanation(self, language: str) -> str:
        """Return why it ended so, empty where there is nothing to say."""
        return self.explanations.get(language) or self.explanations.get("en") or self.reason


def sentence(event: Event, language: str) -> str:
    """Return what happened, in one sentence."""
    said: dict[str, object] = {"title": event.title, "number": event.number, "tenant": event.tenant}
    if event.phase == "test":
        return text("notify.test", language, said)
    kind, phase = text(f"notify.{event.kind}", language), text(f"phase.{event.phase}", language)
    return text("notify.ended", language, {**said, "kind": kind, "phase": phase})


def slack(event: Event, mention: str, language: str) -> bytes:
    """Return the message for an incoming webhook of Slack, and of what takes the same."""
    plain = _escaped(sentence(event, language))
    shown = f"<{event.url}|{plain}>" if event.url else plain
    why = _escaped(event.explanation(language))
    colour = _COLOURS.get(event.phase, _OTHERWISE)
    attachment = {"color": colour, "fallback": plain, "text": f"{shown}\n{why}".rstrip(), "mrkdwn_in": ["text"]}
    return json.dumps({"text": mention, "attachments": [attachment]}, ensure_ascii=False).encode()


def webhook(event: Event, language: str) -> bytes:
    told = {name: value for name, value in asdict(event).items() if name != "explanations"}
    told["explanation"] = event.explanation(language)
    return json.dumps({"event": "test" if event.phase == "test" else "run.ended", **told}).encode()


def signature(key: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """Return the headers by which a receiver knows that a body is ours and not an old one sent again."""
    made = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-KQI-Timestamp": str(timestamp), "X-KQI-Signature": f"sha256={made}"}


def mail(event: Event, to: str, sender: str, language: str) -> EmailMessage:
    said = " ".join(sentence(event, language).split())
    lines = (said, event.explanation(language), event.url)
    return letter(said, "\n\n".join(line for line in lines if line), to, sender)


def letter(subject: str, body: str, to: str, sender: str) -> EmailMessage:
    """Return mail of the platform's own."""
    message = EmailMessage(policy=SMTP)
    message["Subject"], message["From"], message["To"] = f"[KQI] {subject}"[:200], sender, to
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body + "\n")
    return message


def _escaped(plain: str) -> str:
    """Slack reads these three as the beginning of a link, a mention, an entity."""
    made: Any = plain
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "¦")):
        made = made.replace(char, entity)
    return str(made)
