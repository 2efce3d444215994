"""Whatever callers hand in: it works, or a typed error says why. Hypothesis makes it up."""

from __future__ import annotations

import json
import socket
import string
import traceback
from datetime import datetime
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coatcheck import (
    ArtifactConflictError,
    ArtifactError,
    AsyncRedisArtifactStore,
    BackendStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    StoreUnavailableError,
    open_store,
    validate_artifact_id,
)
from coatcheck.backends.memory import MemoryBackend
from coatcheck.backends.redis.layout.keys import quoted, unquoted
from coatcheck.backends.redis.layout.partitions import Partitions

from ..sizes import EXAMPLES

SETTINGS = settings(
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
SECRET = "hunter2"

any_text = st.text(max_size=30) | st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
objects = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=9) | any_text | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)

# URLs: pieces that mean something, in any order and number, with noise between them.
schemes = st.sampled_from(["redis", "rediss", "unix", "valkey", "valkeys", "memory", "http", "REDIS", ""]) | any_text
separators = st.sampled_from(["://"] * 8 + [":", "//", "", ":///"])
hosts = st.sampled_from(
    ["h", "127.0.0.1", "[::1]", "[::1", "]", "h:6379", "h:port", "h:99999999", "h:-1", ":", "", "%00"]
)
paths = st.sampled_from(["", "/", "/0", "/x", "/-1", "/socket.sock", "/%00", "//", "/a b", "/999999999999999999999"])
names = st.sampled_from(
    [
        *("db", "host", "port", "path", "password", "username", "protocol", "timeout", "max_connections", "retry"),
        *("socket_timeout", "socket_keepalive", "retry_on_timeout", "retry_on_error", "health_check_interval"),
        *("ssl_cert_reqs", "ssl_ca_certs", "ssl_min_version", "ssl_check_hostname", "decode_responses", "encoding"),
        *("connection_class", "parser_class", "connection_pool", "lib_name", "client_name", "credential_provider"),
        *("command_packer", "redis_connect_func", "nonsense", ""),
    ]
)
values = st.sampled_from(["0", "1", "-1", "nan", "inf", "True", "x", "", "%00", "3", "required"]) | any_text
options = st.lists(st.builds("{}={}".format, names, values), max_size=3).map(
    lambda pairs: "?" * bool(pairs) + "&".join(pairs)
)
urls = any_text | st.builds(
    "{}{}{}{}{}".format, schemes, separators, any_text | hosts, any_text | paths, any_text | options
)

# The same with a password in it, however badly it is quoted.
noise = st.text("ab1@:/#?%[]&= ", max_size=3)
secrets = st.builds(f"{{}}{SECRET}{{}}".format, noise, noise)
secret_urls = st.one_of(
    st.builds("{}://{}:{}@{}{}{}".format, schemes, noise, secrets, hosts, paths, options),
    st.builds("{}://:{}@{}{}{}".format, schemes, secrets, hosts, paths, options),
    st.builds("{}://{}@{}{}{}".format, schemes, secrets, hosts, paths, options),
    st.builds(f"{{}}://:{SECRET}{{}}".format, schemes, paths),  # the host forgotten
    st.builds("{}:{}@{}".format, noise, secrets, hosts),
    st.builds(f"{{}}://{{}}{{}}?password={SECRET}&{{}}={{}}".format, schemes, hosts, paths, names, values),
)


@pytest.fixture(autouse=True, scope="module")
def no_connections():
    """Constructing a store contacts nobody."""

    def refuse(*args):
        raise AssertionError(f"somebody was contacted: {args}")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


def opens(call) -> ArtifactError | None:
    """Opens a store and throws it away; the typed error if it refuses."""
    try:
        call()
    except (InvalidArtifactError, StoreUnavailableError) as error:
        assert str(error)
        return error
    return None


def all_ways(url):
    yield lambda: RedisArtifactStore(url)
    yield lambda: AsyncRedisArtifactStore(url)
    yield lambda: open_store(url)


def harmless(url: str) -> bool:
    """Whether opening it starts nothing and makes no directory."""
    return not url.startswith(("file:", "embedded:"))


@SETTINGS
@given(urls.filter(harmless))
@example("redis://[")
@example("redis://h:99999999")
@example("redis://h?db=x")
@example("unix://")
@example("redis://h?password=x&db=1&db=2")
@example("rediss://h?ssl_cert_reqs=x")
@example("redis://h?connection_class=x")
@example("redis://\udc80@")
def test_any_url_opens_or_is_refused(url) -> None:
    for call in all_ways(url):
        opens(call)


@SETTINGS
@given(secret_urls.filter(harmless))
@example(f"redis://user:{SECRET}/x@h:6379")
@example(f"redis://:{SECRET}")
@example(f"redis://user:1#{SECRET}@h/0?nonsense=1")
@example(f"redis://h/0?password={SECRET}&nonsense=1")
@example(f"redis://h/0?nonsense={SECRET}")
@example(f"user:{SECRET}@h")
@example(f"redis://u:{SECRET}\u2100@h")
@example(f"nonsense://{SECRET}@h")
@example(f"redis://:{SECRET}@h/0?socket_timeout=x")
@example(f":{SECRET}://@h")
@example(f"redis://?:{SECRET}@h?db=0")
def test_no_error_shows_a_password(url) -> None:
    for call in all_ways(url):
        error = opens(call)
        if error is not None:
            assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("scheme", ["file", "embedded"])
@pytest.mark.parametrize(
    "rest",
    [
        "[",
        "//[",
        "//h/x",
        "///a?b",
        "///a#b",
        "//user:hunter2@h/x",
        "//user:hunter2@[/x",
        "//h:port",
        "",
        "/",
        "//",
        "x",
        "//%00",
        "///\0",
    ],
)
def test_directories_that_cannot_be_are_refused(scheme, rest, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    if scheme == "embedded" and rest == "//":
        return  # the user's own data directory
    error = opens(lambda: open_store(f"{scheme}:{rest}"))
    assert error is not None
    assert "hunter2" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "a\ud800b", "y" * 5000])
def test_directories_that_the_system_refuses_are_named(name, tmp_path) -> None:
    error = opens(lambda: FileArtifactStore(tmp_path / name))
    assert error is not None
    assert opens(lambda: open_store(f"file://{tmp_path}/{name.encode('utf-8', 'surrogatepass').hex()[:250]}")) is None


@SETTINGS
@given(objects.filter(lambda value: value is not None and not isinstance(value, str)))
def test_what_is_no_url_is_refused(value) -> None:
    for call in all_ways(value):
        assert isinstance(opens(call), InvalidArtifactError)


@SETTINGS
@given(any_text | objects)
@example("a\n")
@example("a" * 201)
@example("\N{FULLWIDTH DIGIT ONE}")
def test_any_id_is_valid_or_refused(artifact_id) -> None:
    try:
        validate_artifact_id(artifact_id)
    except InvalidArtifactError:
        with pytest.raises(InvalidArtifactError):
            InMemoryArtifactStore().load(artifact_id)
    else:
        assert set(artifact_id) <= set(string.ascii_letters + string.digits + "-_")
        assert InMemoryArtifactStore().load(artifact_id) is None


@SETTINGS
@given(any_text | objects)
@example("a\n")
@example("{a}")
def test_any_namespace_is_valid_or_refused(namespace) -> None:
    try:
        partitions = Partitions(namespace, 1)
    except InvalidArtifactError:
        assert opens(lambda: RedisArtifactStore("redis://h", namespace=namespace)) is not None
    else:
        assert partitions.prefix == namespace.encode() + b":"


run_ids = any_text | st.text(":{}*?[]%~ \n\0", max_size=5)


@SETTINGS
@given(run_ids, run_ids)
@example("a", "a\0")
@example("%41", "A")
@example("a/b", "a%2Fb")
@example("{a}", "a")
def test_keys_of_different_runs_differ_and_keep_to_one_slot(one, other) -> None:
    one, other = (text.encode("utf-8", "replace").decode() for text in (one, other))
    keys = Partitions("ns", 64).all[7]
    key = keys.run(one)
    assert (key == keys.run(other)) is (one == other)
    assert key == keys.run_of(quoted(one))
    assert not one or unquoted(quoted(one)) == one
    assert not set(key.removeprefix(keys.prefix + b"run:")) & set(b":{}*? \n\0")
    kind, match = keys.kind_of(key)
    assert (kind, unquote(match["name"])) == ("run", one)


@SETTINGS
@given(
    content=st.binary(max_size=50) | objects,
    content_type=any_text | objects,
    run_id=run_ids | objects,
    tags=st.dictionaries(any_text, any_text, max_size=3) | objects,
    artifact_id=st.none() | any_text | objects,
    extra=st.dictionaries(any_text, objects, max_size=3) | objects,
    if_absent=st.booleans() | st.none(),
    if_digest=st.none() | any_text | st.just("0" * 64),
    exact_ttl=st.booleans() | st.none(),
    ttl=objects | st.timedeltas() | st.floats() | st.integers(),
)
def test_any_store_is_kept_exactly_or_refused_and_leaves_nothing(**given) -> None:
    store = BackendStore(MemoryBackend(clock=lambda: 1.7e9))  # time stands still: a TTL may be a millisecond
    content = given.pop("content")
    try:
        stored = store.store(content, **given)
    except (InvalidArtifactError, ArtifactConflictError):
        assert store.list_all() == []
        return
    assert store.load(stored.artifact_id).content == bytes(content)
    assert (stored.content_type, stored.run_id) == (given["content_type"], given["run_id"])
    assert stored.tags == dict(given["tags"] or {})
    assert stored.extra == json.loads(json.dumps(dict(given["extra"] or {})))
    if stored.run_id is not None:
        assert store.list_by_run(stored.run_id) == [stored]
        assert store.list_runs() == [stored.run_id]


CALLS = {
    "list_by_run": lambda s, v: s.list_by_run(v),
    "delete_by_run": lambda s, v: s.delete_by_run(v),
    "delete": lambda s, v: s.delete(v),
    "exists": lambda s, v: s.exists(v),
    "get_metadata": lambda s, v: s.get_metadata(v),
    "leases": lambda s, v: s.leases(v),
    "leases_many": lambda s, v: s.leases_many([v]),
    "release id": lambda s, v: s.release(v, "a"),
    "release run": lambda s, v: s.release("name", v),
    "touch id": lambda s, v: s.touch(v, 10),
    "touch ttl": lambda s, v: s.touch("name", v),
    "touch run": lambda s, v: s.touch("name", 10, v),
    "link source": lambda s, v: s.exists(v) and s.link(v, "new"),
    "link id": lambda s, v: s.link("kept", v, if_absent=True),
    "update tags": lambda s, v: s.update_metadata("kept", run_id="kept", tags=v),
    "update extra": lambda s, v: s.update_metadata("kept", run_id="kept", extra=v),
    "update by": lambda s, v: s.update_many(["kept"], run_id="kept", extra=lambda _: v),
    "load_many": lambda s, v: s.load_many([v]),
    "find_missing": lambda s, v: s.find_missing(["name", v]),
    "store_many": lambda s, v: s.store_many([v]),
    "store_text": lambda s, v: s.store_text(v),
    "store_text encoding": lambda s, v: s.store_text("x", encoding=v),
    "store_json": lambda s, v: s.store_json(v),
    "search after": lambda s, v: s.search(created_after=v),
    "search before": lambda s, v: s.search(created_before=v),
    "search offset": lambda s, v: s.search(offset=v),
    "search limit": lambda s, v: s.search(limit=v),
    "search order": lambda s, v: s.search(order=v),
    "search tags": lambda s, v: s.search(tags=v),
    "list_all": lambda s, v: s.list_all(limit=v),
    "gc": lambda s, v: s.gc(grace=v),
}


@pytest.mark.parametrize("call", CALLS)
@SETTINGS
@given(value=objects | st.datetimes() | st.integers() | st.floats() | st.timedeltas())
@example(value=datetime.max)
@example(value=datetime.min)
@example(value="0001-01-01T00:00:00+14:00")
@example(value="9999-12-31T23:59:59-14:00")
@example(value=10**30)
@example(value=-(10**400))
@example(value="\ud800")
@example(value="a\0b")
@example(value="")
def test_any_argument_works_or_is_refused(call, value) -> None:
    store = InMemoryArtifactStore()
    store.store(b"kept", artifact_id="kept", run_id="kept")
    try:
        CALLS[call](store, value)
    except InvalidArtifactError as error:
        assert str(error)
    assert store.exists("kept") or (call, value) in [("delete", "kept"), ("delete_by_run", "kept")]
