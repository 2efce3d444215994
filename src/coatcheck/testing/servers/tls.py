"""A server that speaks TLS only, with certificates made for it. Needs the package `trustme`."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from .server import Server, free_port


class TlsServer(Server):
    """One server behind TLS, dropped with everything it wrote.

    Clients may show a certificate; `CONFIG SET tls-auth-clients yes` asks for one.

    Args:
        binary: The server program; it must have been built with TLS.
        options: More of its command line.
        names: What its certificate says it is; a client that connects to 127.0.0.1 refuses others.
        expired: Whether its certificate is one of yesterday.
    """

    def __init__(
        self,
        binary: Path,
        *options: str,
        names: tuple[str, ...] = ("127.0.0.1", "localhost"),
        expired: bool = False,
    ) -> None:
        self._certificates = tempfile.TemporaryDirectory(prefix="cc-", ignore_cleanup_errors=True)
        directory = Path(self._certificates.name)
        authority = trustme.CA()
        self.authority = directory / "ca.pem"
        """The certificate of the authority that clients have to trust."""
        authority.cert_pem.write_to_path(self.authority)
        ends = datetime.now(UTC) - timedelta(days=1) if expired else None
        certificate, key = _write(authority.issue_cert(*names, not_after=ends), directory, "server")
        self.client_certificate, self.client_key = _write(
            authority.issue_cert("client@example.com"), directory, "client"
        )
        self.tls_port = free_port()
        super().__init__(
            binary,
            *("--tls-port", str(self.tls_port), "--tls-auth-clients", "optional"),
            *(
                "--tls-cert-file",
                str(certificate),
                "--tls-key-file",
                str(key),
                "--tls-ca-cert-file",
                str(self.authority),
            ),
            *options,
        )

    @property
    def url(self) -> str:
        """URL over TLS."""
        return f"rediss://127.0.0.1:{self.tls_port}/0"

    def stop(self) -> None:
        """Stop it and remove its directories. Idempotent."""
        super().stop()
        self._certificates.cleanup()


def _write(issued: trustme.LeafCert, directory: Path, name: str) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(certificate, append=number > 0)
    issued.private_key_pem.write_to_path(key)
    return certificate, key
