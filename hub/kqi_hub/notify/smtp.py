"""Hand mail to the server of the settings, whose certificate is verified."""

import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path

from kqi_hub.errors import Unavailable
from kqi_hub.outbound import trust
from kqi_hub.settings_outside import Smtp


def hand_over(message: EmailMessage, server: Smtp, ca_file: Path | None, timeout_s: float) -> None:
    """Blocks. Raises Unavailable with what the server said."""
    try:
        trusted = trust.context(ca_file)
        with _connected(server, trusted, timeout_s) as connection:
            if server.security == "starttls":
                connection.starttls(context=trusted)
            if server.password_file is not None:
                connection.login(server.user, server.password_file.read_text("utf-8").rstrip("\r\n"))
            connection.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise Unavailable("mail_not_sent", message=_said(error)) from error


def _connected(server: Smtp, trusted: ssl.SSLContext, timeout_s: float) -> smtplib.SMTP:
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=timeout_s, context=trusted)
    return smtplib.SMTP(server.host, server.port, timeout=timeout_s)


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "authentication failed"  # some servers repeat what they were told
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "the address was refused"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code}"
    return str(error)[:200]
