"""A certificate authority of the tests, and what it signs: PEM files as people hand them out."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = timedelta(days=1)


class Authority:
    """Signs certificates into one folder; `ca` is what its clients trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(f"authority in {folder.name}")
        basic = x509.BasicConstraints(ca=True, path_length=0)
        built = self._builder(self._name, self._key).add_extension(basic, critical=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(_pem(built.sign(self._key, hashes.SHA256())))

    def server(self, *hosts: str) -> Path:
        """Return a file of key and certificate for a server with these addresses."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        certificate, key = self._signed("server", names)
        path = self._folder / "server.pem"
        path.write_bytes(key + certificate)
        return path

    def client(self, name: str, password: str = "") -> tuple[Path, Path]:
        """Return the files of a client's certificate and key, which a password may lock."""
        certificate, key = self._signed(name, None, password)
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        for path, text in zip(paths, (certificate, key), strict=True):
            path.write_bytes(text)
        return paths

    def _signed(
        self, name: str, hosts: x509.SubjectAlternativeName | None, password: str = ""
    ) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        built = self._builder(_named(name), key).add_extension(
            x509.ExtendedKeyUsage(usages), critical=False
        )
        if hosts is not None:
            built = built.add_extension(hosts, critical=False)
        locked = (
            serialization.BestAvailableEncryption(password.encode())
            if password
            else serialization.NoEncryption()
        )
        spelled = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked
        )
        return _pem(built.sign(self._key, hashes.SHA256())), spelled

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
