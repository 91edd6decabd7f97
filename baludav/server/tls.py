"""Certificates and TLS settings."""

import datetime
import ipaddress
import os
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 825  # the longest that Apple's systems accept


def context(certificate: str | Path, key: str | Path, chain: str | Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate.

    Args:
        chain: intermediate certificates, if they are not in the certificate's file.
    Raises:
        OSError, ssl.SSLError: a file cannot be read, or key and certificate do not belong together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(certificate, key)
    if chain is not None:
        made.load_verify_locations(chain)
    return made


def self_signed(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate of our own for this machine, made once: its files are `cert.pem` and `key.pem`.

    Args:
        host: the name or address that the server listens on; it is in the certificate beside the machine's name.
    """
    certificate, key_file = folder / "cert.pem", folder / "key.pem"
    if certificate.exists() and key_file.exists():
        return certificate, key_file
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:64])])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key_file, private)
    _write(certificate, built.public_bytes(serialization.Encoding.PEM))
    return certificate, key_file


def _names(host: str) -> list[x509.GeneralName]:
    names = dict.fromkeys((socket.gethostname(), f"{socket.gethostname()}.local", "localhost"))
    addresses = dict.fromkeys((ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")))
    try:
        address = ipaddress.ip_address(host)
        if not address.is_unspecified:
            addresses[address] = None
    except ValueError:
        names[host] = None
    return [*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]


def _write(file: Path, data: bytes) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "wb") as out:
        out.write(data)
