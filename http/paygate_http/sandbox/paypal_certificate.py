"""The certificate that the sandbox signs PayPal's webhooks with, and the root behind it.

Both are made when they are first wanted, on the sandbox's clock: two RSA keys take a tenth of a
second, and most who start a sandbox never ask for them.
"""

import base64
import zlib
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from paygate_engine.clock import Clock

HOST_NAME: Final = "messageverificationcerts.localhost"
"""Whom the certificate names; PayPal's own names `messageverificationcerts.paypal.com`."""

# As long as public certificates may live; a sandbox's clock may be moved by hand within that.
LIFE: Final = timedelta(days=397)
_BEFORE: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BITS: Final = 2048
_EXPONENT: Final = 65_537


class SigningCertificate:
    """A key, its certificate and its root."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: tuple[RSAPrivateKey, x509.Certificate, x509.Certificate] | None = None

    @property
    def name(self) -> str:
        """How the certificate is called in its url."""
        leaf = self._get()[1]
        return f"CERT-{leaf.fingerprint(SHA256()).hex()[:40]}"

    @property
    def chain(self) -> bytes:
        """The certificate, in PEM, without its root."""
        return self._get()[1].public_bytes(Encoding.PEM)

    @property
    def root(self) -> bytes:
        """The root, in PEM."""
        return self._get()[2].public_bytes(Encoding.PEM)

    def sign(self, transmission_id: str, time: str, webhook_id: str, body: bytes) -> str:
        """Sign a webhook, in base64."""
        signed = f"{transmission_id}|{time}|{webhook_id}|{zlib.crc32(body)}"
        signature = self._get()[0].sign(signed.encode(), PKCS1v15(), SHA256())
        return base64.b64encode(signature).decode()

    def _get(self) -> tuple[RSAPrivateKey, x509.Certificate, x509.Certificate]:
        if self._made is None:
            self._made = _make(_EPOCH + timedelta(microseconds=self._clock.now_us()))
        return self._made


def _make(now: datetime) -> tuple[RSAPrivateKey, x509.Certificate, x509.Certificate]:
    root_key, key = (generate_private_key(_EXPONENT, _BITS) for _ in range(2))
    root_name = _named("Paygate Sandbox Root")
    root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    root = (
        _builder(now, subject=root_name, issuer=root_name, key=root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(root_id, critical=False)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, SHA256())
    )
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id)
    leaf = (
        _builder(now, subject=_named(HOST_NAME), issuer=root_name, key=key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST_NAME)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .sign(root_key, SHA256())
    )
    return key, leaf, root


def _builder(
    now: datetime, *, subject: x509.Name, issuer: x509.Name, key: RSAPrivateKey
) -> x509.CertificateBuilder:
    # The epoch is the earliest moment that a certificate can name here.
    begins = max(now - _BEFORE, _EPOCH)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + LIFE)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
