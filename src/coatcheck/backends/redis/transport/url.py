"""What the URL of a store means."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from ....errors import InvalidArtifactError
from .topology import Address

EMBEDDED: Final = "embedded"
_SERVERS: Final = ("redis", "rediss", "valkey", "valkeys")
SCHEMES: Final = (
    *("redis", "rediss", "unix", "valkey", "valkeys", EMBEDDED),
    *(f"{name}+cluster" for name in _SERVERS),
    *(f"{name}+sentinel" for name in _SERVERS),
)

_ALIASES: Final = {"valkey": "redis", "valkeys": "rediss"}  # redis-py speaks of redis only
_PORTS: Final = {"cluster": 6379, "sentinel": 26379}
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

_HOST: Final = r"(?:[^@:/?#\[\],]*|\[[0-9A-Fa-f:.]*\])(?::[0-9]*)?"

# What a URL may say besides; options of TLS begin with ssl_. redis-py takes others, which would change nothing here.
_OPTIONS: Final = frozenset(
    {
        *("db", "username", "password", "client_name", "max_connections", "sentinel_username", "sentinel_password"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive"),
    }
)
# What a URL may say of the store: what is indexed by label, see `RedisOptions`.
_INDEXED: Final = ("index_tags", "index_presence", "index_content_type")
_FLAGS: Final = {"1": True, "true": True, "0": False, "false": False}

_NOT_NAME: Final = re.compile(r"(?is)(?<=password).+")
"""What stands behind the name of a password, where something went wrong with the sign between them."""

_CURES: Final = {
    **dict.fromkeys(("host", "port", "path"), "write it before the question mark"),
    "protocol": "stores speak RESP2; leave it out, or give a client of your own",
    "credential_provider": "name user and password in the URL, or give a client of your own",
    "timeout": "socket_timeout, or the store's option timeout, are the seconds for one exchange",
    **dict.fromkeys(("retry", "retry_on_timeout", "retry_on_error"), "the store's option retry_for says for how long"),
}

_SCHEME: Final = re.compile(r"[A-Za-z0-9+._-]{0,40}")
_PUBLIC: Final = re.compile(
    rf"(?P<scheme>[^@:/?#]*://)(?P<user>[^/?#]*@)?(?P<host>{_HOST}(?:,{_HOST})*(?:/[^@?#&=]*)?)(?P<options>\?[^@#]*)?"
)
_PARTS: Final = re.compile(r"(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^@/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<options>[^#]*))?")
_ADDRESS: Final = re.compile(r"(?P<host>[^@:/?#\[\],]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_DATABASE: Final = re.compile(r"/?|/[0-9]+")


def hide_password(url: str) -> str:
    """A URL that may be shown: without user, password and options. One that cannot be told apart is not shown."""
    parts = _PUBLIC.fullmatch(url)
    if parts is None:
        scheme, separator, _ = url.partition("://")
        return f"{scheme}{separator and '://…'}" if _SCHEME.fullmatch(scheme) else "…"
    user, options = "***@" if parts["user"] else "", "?…" if parts["options"] else ""
    return f"{parts['scheme']}{user}{parts['host']}{options}"


def unescaped(url: str, part: str) -> str:
    """A part of a URL without its escapes.

    Raises:
        InvalidArtifactError: They stand for bytes that are no text; another name would be read.
    """
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise InvalidArtifactError(f"invalid URL {hide_password(url)!r}: what is escaped by % must be UTF-8") from None


def local_directory(url: str) -> Path | None:
    """The directory that a URL such as `file:///directory` names; `None` if it has no path.

    Raises:
        InvalidArtifactError: It names a host as well, or no directory that can be.
    """
    scheme, _, rest = url.partition("://")
    path = unescaped(url, rest.removeprefix("localhost"))
    if rest and (not path.startswith("/") or "\0" in path or {"?", "#"} & set(rest)):
        raise InvalidArtifactError(
            f"{hide_password(url)!r}: write the directory as {scheme}:///absolute/path, with ? as %3F and # as %23"
        )
    return Path(path) if path else None


def spell(address: Address) -> str:
    """An address as it is written in URLs."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def kind_of(url: str) -> str:
    """`"cluster"`, `"sentinel"`, or nothing for one server."""
    return url.partition("://")[0].partition("+")[2]


def split_options(url: str) -> tuple[str, dict[str, Any]]:
    """A URL without what it says of the store, and that: options by name.

    Raises:
        InvalidArtifactError: One is given twice, or makes no sense.
    """
    place, _, query = url.partition("?")
    found: dict[str, Any] = {}
    left = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name not in _INDEXED:
            left.append(part)
            continue
        if name in found:
            raise InvalidArtifactError(f"invalid URL {hide_password(url)!r}: {name} is given twice")
        if name == "index_content_type" and value not in _FLAGS:
            raise InvalidArtifactError(f"invalid URL {hide_password(url)!r}: {name} must be {', '.join(_FLAGS)}")
        names = [unescaped(url, one.replace("+", " ")) for one in value.split(",") if one]
        found[name] = _FLAGS[value] if name == "index_content_type" else names
    return f"{place}?{'&'.join(left)}" if any(left) else place, found


class Place:
    """Where the servers of a URL are, and how to connect to them.

    Args:
        url: Of a known scheme, but not that of the embedded engine.
        tls: redis-py's options for TLS that were given beside the URL; what the URL says goes first.
        parse: redis-py's parser of URLs of one server.
        plain: redis-py's class of connections without TLS.
        defaults: Settings for what the URL says nothing about.

    Attributes:
        kind: See `kind_of`.
        addresses: Of the server, the nodes or the Sentinels; none for a unix socket.
        service: What the Sentinels call the primary.
        connection_class: redis-py's.
        settings: What it takes besides host and port.
        max_connections: As the URL says.
        timeout: Seconds for one exchange.
        trust: See `Node`.

    Raises:
        InvalidArtifactError: The URL or an option makes no sense.
    """

    def __init__(
        self,
        url: str,
        tls: Mapping[str, Any],
        parse: Callable[[str], Any],
        plain: type,
        defaults: Mapping[str, Any],
    ) -> None:
        self._url = url
        self.addresses: Sequence[Address] = ()
        self.service = ""
        if not url.isascii() and any("\ud800" <= letter <= "\udfff" for letter in url):
            raise self._invalid("it holds a lone surrogate, which cannot be sent")
        unescaped(url, url)
        scheme, _, rest = url.partition("://")
        name, _, self.kind = scheme.partition("+")
        name = _ALIASES.get(name, name)
        if self.kind:
            rest = self._many(rest)
        else:
            self._one(f"{name}://{rest}")
        self._check_names(rest)
        options: dict[str, Any] = self._checked(lambda: dict(parse(f"{name}://{rest}")))
        self.max_connections: int | None = options.pop("max_connections", None)
        self.connection_class = options.pop("connection_class", plain)
        address = options.pop("host", "localhost"), options.pop("port", 6379)
        if name == "unix":
            if not options.get("path"):
                raise self._invalid("the socket is missing: unix:///path/to/socket")
        elif not self.kind:
            self.addresses = [address]
        login = {option: options.pop(f"sentinel_{option}", None) for option in ("username", "password")}
        if any(login.values()) and self.kind != "sentinel":
            raise self._invalid("sentinel_username and sentinel_password are for Sentinels")
        if self.kind == "cluster" and options.pop("db", 0) != 0:
            raise self._invalid("a cluster has no database but 0")
        security = self._security(name, tls, options)
        self.settings: dict[str, Any] = {**defaults, **security, **options}
        self._checked(lambda: self.connection_class(**self.settings) and None)  # finds unknown options
        self.timeout = self._seconds("socket_timeout")
        connecting = self._seconds("socket_connect_timeout")
        if "socket_connect_timeout" not in options:
            self.settings["socket_connect_timeout"] = min(connecting, self.timeout)
        self._sentinel_login = login
        self.trust = str(self.settings.get("ssl_ca_certs") or "")

    @property
    def address(self) -> tuple[Address, ...] | Address:
        """Of the only server; nothing for a unix socket."""
        return self.addresses[0] if self.addresses else ()

    def name(self, *address: Any) -> str:
        """What a server is called; without an address: the socket."""
        return spell(address) if address else str(self.settings["path"])

    def connection(self, *address: Any, **changes: Any) -> Callable[[], Any]:
        """Makes connections to a server, with other settings where they are given."""
        where = dict(zip(("host", "port"), address, strict=False))
        return partial(self.connection_class, **where, **{**self.settings, **changes})

    def asking(self, seconds: float) -> Place:
        """The same for a short question: who serves what. Sentinels have a login of their own, and no database."""
        place = copy(self)
        place.timeout = min(seconds, self.timeout)
        short = {option: min(seconds, self.settings[option]) for option in ("socket_timeout", "socket_connect_timeout")}
        place.settings = {**self.settings, **short}
        if self.kind == "sentinel":
            place.settings |= {**self._sentinel_login, "client_name": None, "db": 0}
        return place

    def _seconds(self, option: str) -> float:
        seconds: float = self.settings[option]
        if not 0 < seconds < math.inf:
            raise self._invalid(f"{option} must be seconds, more than 0")
        return seconds

    def _one(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018  # raises, and what it says may hold a part of the password
        except ValueError:
            raise self._unreadable() from None
        if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
            raise self._invalid("what follows the host must be the number of a database")
        if parts.scheme == "unix" and parts.netloc.rpartition("@")[2]:
            raise self._invalid("a socket has no host: unix:///path/to/socket")
        if parts.fragment:
            raise self._unreadable()

    def _many(self, rest: str) -> str:
        """Reads hosts and path; returns the rest as if there were one server."""
        parts = _PARTS.fullmatch(rest)
        if parts is None:
            raise self._unreadable()
        hosts = [_ADDRESS.fullmatch(host) for host in parts["hosts"].split(",")]
        self.addresses = [
            (unescaped(self._url, host["host"]).strip("[]"), int(host["port"] or _PORTS[self.kind]))
            for host in hosts
            if host
        ]
        if not all(hosts) or any(not 0 < port < 2**16 for _, port in self.addresses):
            raise self._unreadable()
        path = parts["path"] or ""
        if self.kind == "sentinel":
            _, _, service = path.partition("/")
            service, _, database = service.partition("/")
            self.service, path = unescaped(self._url, service), f"/{database}"
            if not self.service:
                raise self._invalid("the service is missing: redis+sentinel://host:port,host:port/service")
        if not _DATABASE.fullmatch(path):
            raise self._invalid("what follows must be the number of a database")
        user = "" if parts["user"] is None else f"{parts['user']}@"
        options = "" if parts["options"] is None else f"?{parts['options']}"
        return f"{user}localhost{path}{options}"

    def _check_names(self, rest: str) -> None:
        """That each option means something, and is given once."""
        where, _, options = rest.partition("?")
        if "@" in options:  # a password that was not quoted: no part of it is told
            return
        names = [name for name, _ in parse_qsl(options, keep_blank_values=True)]
        for name in names:
            twice = names.count(name) > 1
            if name == "db":
                twice = twice or where.rpartition("/")[2].isdigit()
            elif name in ("username", "password"):
                twice = twice or "@" in where
            if twice:
                raise self._invalid(f"{name} is given twice")
            if name not in _OPTIONS and not name.startswith("ssl_"):
                cure = _CURES.get(
                    name, f"its options: {', '.join(sorted({*_OPTIONS, *_INDEXED}))} and those of TLS, ssl_…"
                )
                raise self._invalid(f"{_NOT_NAME.sub('…', name)!r} is no option of a store's URL: {cure}")

    def _security(self, scheme: str, tls: Mapping[str, Any], parsed: Mapping[str, Any]) -> dict[str, Any]:
        given = {option: value for option, value in tls.items() if value is not None}
        if scheme != "rediss":
            if {**given, "ssl_check_hostname": True} != {"ssl_check_hostname": True}:
                raise self._invalid(f"{', '.join(given)}: only for TLS, with rediss:// or valkeys://")
            return {}
        security = {"ssl_check_hostname": True, **given}
        for option in _FILES:
            path = parsed.get(option, security.get(option))
            if path is not None and not Path(path).is_file():
                raise self._invalid(f"{option}: there is no file {str(path)!r}")
        return security

    def _checked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # noqa: BLE001  # whatever an option makes redis-py do
            # Behind a password that was not quoted its rest may be taken for an option.
            reason = "an option cannot be read" if "@" in self._url.partition("?")[2] else error
            raise self._invalid(reason) from None

    def _unreadable(self) -> InvalidArtifactError:
        return self._invalid(
            "host and port cannot be read; "
            "special characters in user and password have to be quoted (urllib.parse.quote)",
        )

    def _invalid(self, reason: object) -> InvalidArtifactError:
        return InvalidArtifactError(f"invalid URL {hide_password(self._url)!r}: {reason}")
