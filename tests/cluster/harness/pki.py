"""Certificates of a cluster, and the kubeconfig files that carry them."""

import base64
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=365)
# Python 3.13 and newer verify by the letter of RFC 5280: authorities say what they are for, and keys are named.
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs what the cluster needs; files go to `folder` as `<name>.crt` and `<name>.key`."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("kqi-test-ca")
        built = _builder(name, name, key, key)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        built = built.add_extension(_SIGNS, critical=True)
        made = cls(folder, key, built.sign(key, hashes.SHA256()))
        (folder / "ca.crt").write_bytes(_pem(made.certificate))
        return made

    def issue(self, name: str, common_name: str, *, groups: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        """Issue for clients, and for servers too where `hosts` (names and addresses) are given."""
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        names = [_host(host) for host in hosts]
        builder = _builder(_name(common_name, groups), self.certificate.subject, key, self.key)
        if names:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        (self.folder / f"{name}.crt").write_bytes(_pem(builder.sign(self.key, hashes.SHA256())))
        _write_key(self.folder / f"{name}.key", key)

    def kubeconfig(self, name: str, server: str) -> Path:
        """Write a kubeconfig that signs in as `name` and holds everything itself."""
        parts = {kind: self.folder / f"{name}.{kind}" for kind in ("crt", "key")}
        encoded = {kind: base64.b64encode(path.read_bytes()).decode() for kind, path in parts.items()}
        authority = base64.b64encode((self.folder / "ca.crt").read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "kqi",
            "contexts": [{"name": "kqi", "context": {"cluster": "kqi", "user": name}}],
            "clusters": [{"name": "kqi", "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [
                {
                    "name": name,
                    "user": {"client-certificate-data": encoded["crt"], "client-key-data": encoded["key"]},
                }
            ],
        }
        file = self.folder / f"{name}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(json.dumps(config))
        return file


def signing_key(folder: Path, name: str) -> None:
    """Write the key pair that signs the tokens of service accounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(folder / f"{name}.key", key)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _name(common_name: str, groups: Iterable[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
