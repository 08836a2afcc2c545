"""Certificates for tests, signed by themselves."""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat


def write_certificate(folder, days=365, password=b"", name="localhost"):
    """`cert.pem` and `key.pem` in the folder, each replaced at once; gives the certificate's serial number."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    folder.mkdir(parents=True, exist_ok=True)
    for file, data, mode in (
        ("key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection), 0o600),
        ("cert.pem", made.public_bytes(Encoding.PEM), 0o644),
    ):
        new = folder / f".{file}.new"
        new.write_bytes(data)
        new.chmod(mode)
        os.replace(new, folder / file)
    return made.serial_number
