"""TLS by URL and by arguments, on both faces: what is not accepted is final at once, and says what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from coatcheck import ArtifactStore, InvalidArtifactError, StoreAccessError, StoreUnavailableError
from coatcheck.testing.servers.tls import TlsServer

from ..conftest import binary_of

PATIENT = {"retry_for": 600, "timeout": 60}
"""Whoever waits instead of raising hangs."""

Opened = Callable[..., ArtifactStore]


@pytest.fixture(scope="module")
def expired(leaks) -> Iterator[TlsServer]:
    with leaks.lasting():
        server = TlsServer(binary_of("redis7"), expired=True)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def elsewhere(leaks) -> Iterator[TlsServer]:
    with leaks.lasting():
        server = TlsServer(binary_of("redis7"), names=("elsewhere.example",))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def strict(leaks) -> Iterator[TlsServer]:
    """Asks clients for a certificate."""
    with leaks.lasting():
        server = TlsServer(binary_of("redis7"), "--tls-auth-clients", "yes")
    yield server
    server.stop()


@pytest.fixture(params=["in the URL", "beside it"])
def at(request: pytest.FixtureRequest, opened: Opened, namespace: str) -> Callable[..., ArtifactStore]:
    """Opens a store with options for TLS, said in either place."""

    def open_(url: str, **security: Any) -> ArtifactStore:
        if request.param == "beside it":
            return opened(url, namespace=namespace, **security, **PATIENT)
        options = "&".join(f"{name}={value}" for name, value in security.items())
        return opened(f"{url}?{options}", namespace=namespace, **PATIENT)

    return open_


def works(store: ArtifactStore) -> bool:
    return store.load_text(store.store_text("content").artifact_id) == "content"


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_a_known_authority_is_accepted(at, tls_server, scheme) -> None:
    assert works(at(tls_server.url.replace("rediss", scheme), ssl_ca_certs=str(tls_server.authority)))


def test_an_authority_may_be_given_as_text(opened, namespace, tls_server) -> None:
    text = tls_server.authority.read_text()
    assert works(opened(tls_server.url, namespace=namespace, ssl_ca_data=text, **PATIENT))


@pytest.mark.parametrize("kind", ["rediss://{}", "rediss+cluster://{}", "rediss+sentinel://{}/service"])
def test_another_authority_is_refused(at, tls_server, tmp_path, kind) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    store = at(kind.format(f"127.0.0.1:{tls_server.tls_port}"), ssl_ca_certs=str(other))
    with pytest.raises(StoreAccessError, match=f"certificate of .* was not accepted.*'127.0.0.1', signed by {other}"):
        store.exists("name")


@pytest.mark.parametrize("kind", ["rediss://{}", "rediss+cluster://{}", "rediss+sentinel://{}/service"])
def test_an_authority_that_the_system_does_not_know_is_refused(opened, tls_server, kind) -> None:
    with pytest.raises(StoreAccessError, match="not accepted.*signed by an authority of this system .ssl_ca_certs"):
        opened(kind.format(f"127.0.0.1:{tls_server.tls_port}"), **PATIENT).exists("name")


def test_another_host_is_refused(at, elsewhere) -> None:
    with pytest.raises(StoreAccessError, match=r"not accepted: .*mismatch.*expected one for '127\.0\.0\.1'"):
        at(elsewhere.url, ssl_ca_certs=str(elsewhere.authority)).exists("name")
    assert works(at(elsewhere.url, ssl_ca_certs=str(elsewhere.authority), ssl_check_hostname=False))


def test_an_expired_certificate_is_refused(at, expired) -> None:
    with pytest.raises(StoreAccessError, match="not accepted: .*expired"):
        at(expired.url, ssl_ca_certs=str(expired.authority)).exists("name")
    assert works(at(expired.url, ssl_cert_reqs="none", ssl_check_hostname=False))


def test_a_client_without_a_certificate_is_told_what_is_missing(opened, namespace, strict) -> None:
    options = {"namespace": namespace, "ssl_ca_certs": str(strict.authority)}
    with pytest.raises(StoreUnavailableError, match="ssl_certfile|closed|reset|Broken"):  # its alert may be cut off
        opened(strict.url, retry_for=0.05, **options).exists("name")
    mine = {"ssl_certfile": str(strict.client_certificate), "ssl_keyfile": str(strict.client_key)}
    assert works(opened(strict.url, **options, **mine, **PATIENT))


def test_a_server_without_tls_is_none(opened, valkey) -> None:
    with pytest.raises(StoreUnavailableError):  # it waits for more of what it takes for a command
        opened(f"rediss://127.0.0.1:{valkey.port}", retry_for=0, timeout=0.2).exists("name")


def test_a_server_with_tls_only_is_no_server_without(opened, tls_server) -> None:
    with pytest.raises(StoreUnavailableError):
        opened(f"redis://127.0.0.1:{tls_server.tls_port}", retry_for=0, timeout=0.2).exists("name")


@pytest.mark.parametrize(
    ("security", "reason"),
    [
        ({"ssl_ca_certs": "/nowhere/ca.pem"}, "ssl_ca_certs: there is no file"),
        ({"ssl_certfile": "/nowhere/me.pem"}, "ssl_certfile: there is no file"),
        ({"ssl_keyfile": "/nowhere/me.key"}, "ssl_keyfile: there is no file"),
        ({"ssl_cert_reqs": "perhaps"}, "perhaps"),
        ({"ssl_nonsense": "x"}, "ssl_nonsense"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(opened, security, reason) -> None:
    options = "&".join(f"{name}={value}" for name, value in security.items())
    with pytest.raises(InvalidArtifactError, match=reason):
        opened(f"rediss://127.0.0.1:1?{options}").exists("name")


def test_what_is_no_certificate_is_told(opened, tls_server, tmp_path) -> None:
    nonsense = Path(tmp_path / "ca.pem")
    nonsense.write_text("nonsense")
    with pytest.raises(StoreUnavailableError, match="TLS|certificate"):
        opened(tls_server.url, ssl_ca_certs=str(nonsense), **PATIENT).exists("name")
