"""What stores can be told, and how they say that something makes no sense."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import ssl

import pytest
import redis
from coatcheck import (
    AsyncFileArtifactStore,
    AsyncRedisArtifactStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    RedisOptions,
    aopen_store,
    open_store,
)

NOWHERE = "redis://127.0.0.1:1"

NONSENSE = [
    ("partitions", 7),
    ("partitions", True),
    ("partitions", 64.0),
    ("partitions", "64"),
    ("compression", "gzip"),
    ("compression_level", 23),
    ("compression_threshold", -1),
    ("verify", "sha1"),
    ("max_size", 0),
    ("max_size", True),
    ("durability", "tape"),
    ("retry_for", -1),
    ("retry_for", "3"),
    ("cache_size", -1),
    ("cache_dir", ""),
    ("cache_dir_size", 0),
    ("ssl_cert_reqs", "maybe"),
    ("ssl_ca_certs", 7),
    ("ssl_password", b"secret"),
    ("ssl_check_hostname", "no"),
    ("ssl_check_hostname", 1),
]


@pytest.mark.parametrize(("option", "value"), NONSENSE)
def test_an_option_that_makes_no_sense_is_refused_by_name(option, value) -> None:
    with pytest.raises(InvalidArtifactError, match=option):
        RedisOptions(**{option: value})


@pytest.mark.parametrize("partitions", [None, 1, 64, 256])
def test_a_namespace_has_1_64_or_256_partitions(partitions) -> None:
    assert RedisOptions(partitions=partitions).partitions == partitions


def test_options_say_what_may_be_chosen() -> None:
    with pytest.raises(InvalidArtifactError, match="partitions must be None, 1, 64 or 256, not 2"):
        RedisOptions(partitions=2)


def test_only_what_was_said_of_tls_is_passed_on(tmp_path) -> None:
    assert RedisOptions().tls == {}
    told = RedisOptions(ssl_ca_certs=tmp_path / "ca.pem", ssl_cert_reqs="required", ssl_check_hostname=False)
    assert told.tls == {
        "ssl_ca_certs": f"{tmp_path}/ca.pem",
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": False,
    }


def test_the_password_of_a_key_is_not_shown() -> None:
    assert "secret" not in repr(RedisOptions(ssl_keyfile="key.pem", ssl_password="secret"))


def test_every_option_is_documented() -> None:
    described = inspect.getdoc(RedisOptions)
    for option in inspect.signature(RedisOptions).parameters:
        assert f"\n    {option}: " in described


@pytest.mark.parametrize("store", [RedisArtifactStore, AsyncRedisArtifactStore])
def test_pickled_stores_keep_their_options(store, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = {
        "namespace": "x",
        "default_ttl": 60,
        "partitions": 64,
        "retry_for": 1.5,
        "max_size": 10,
        "cache_dir": "here",
    }
    copy = pickle.loads(pickle.dumps(store(NOWHERE, **told)))
    assert type(copy) is store
    assert told | {"cache_dir": f"{tmp_path}/here"} == {option: copy._options[option] for option in told}


@pytest.mark.parametrize(
    "security",
    [
        {"credential_provider": redis.UsernamePasswordCredentialProvider("me", "secret")},
        {"ssl": True, "ssl_include_verify_flags": [ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF]},
    ],
)
def test_a_pickle_that_would_lose_security_is_refused(security) -> None:
    with redis.Redis(**security) as client:
        store = RedisArtifactStore(client, namespace="x")
        with pytest.raises(TypeError, match=list(security)[-1]):
            pickle.dumps(store)


@pytest.mark.parametrize(
    "url",
    [
        "memory://place",
        "memory://?option=1",
        "file:///place?option=1",
        "unix://host/socket",
        "redis://h/prod",
        "redis://h/1.5",
        "redis://h/0?host=other",
        "redis://h:1/0?port=2",
        "redis://h/0?db=3",
        "redis://h?db=3&db=4",
        "redis://u:secret@h/0?username=other",
        "redis://h/0?encoding=latin-1",
        "redis://h/0?retry=3",
        "redis://h/0?nonsense=1",
        "redis+sentinel://h/service/0?db=1",
        "file:///place/%FF",
        "embedded:///place/%c3",
        "unix:///place/%FF",
        "redis://u:secret%FF@h",
        "redis://u:secret@h?client_name=%FF",
        "redis+sentinel://h/%FF",
        "redis://h?index_tags=%FF",
    ],
)
def test_what_means_nothing_in_a_url_is_refused(url) -> None:
    with pytest.raises(InvalidArtifactError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ("protocol=3", "a client of your own"),
        ("credential_provider=x", "user and password in the URL"),
        ("health_check_interval=30", "its options: client_name, .*socket_timeout"),
        ("retry_on_timeout=true", "retry_for"),
        ("retry_on_error=x", "retry_for"),
        ("timeout=3", "socket_timeout"),
        ("host=other", "before the question mark"),
        ("socket_read_size=1", "its options"),
        ("lib_name=x", "its options"),
        ("redis_connect_func=x", "its options"),
        ("decode_responses=1", "its options"),
    ],
)
@pytest.mark.parametrize("url", ["redis://h", "redis+cluster://h,i", "redis+sentinel://h/service", "unix:///socket"])
def test_an_option_without_effect_is_refused_with_the_cure(opened, url, option, cure) -> None:
    with pytest.raises(InvalidArtifactError, match=f"{option.partition('=')[0]}' is no option .*{cure}"):
        opened(f"{url}?{option}")


@pytest.mark.parametrize("store", [FileArtifactStore, AsyncFileArtifactStore])
def test_pickled_file_stores_stay_where_they_are(store, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(store("here", default_ttl=60))
    monkeypatch.chdir("/")
    copy = pickle.loads(pickled)
    assert copy._arguments == (tmp_path / "here", {"default_ttl": 60, "mode": None, "on_event": None})


@pytest.mark.parametrize("namespace", ["", "a/b", "a:content", "é", "x" * 101, 7])
def test_a_store_in_memory_takes_the_namespaces_that_others_take(opened, namespace) -> None:
    with pytest.raises(InvalidArtifactError, match="namespace"):
        opened("memory://", namespace=namespace)
    opened("memory://", namespace="a.b:c-d_e")


@pytest.fixture(params=["blocking", "awaited"])
def opened(request):
    """Opens a store by URL, as one of the faces."""
    return open_store if request.param == "blocking" else lambda *a, **options: asyncio.run(aopen_store(*a, **options))


@pytest.mark.parametrize("kind", ["memory://", "file://{}"])
@pytest.mark.parametrize("option", ["partitions", "retry_for", "ssl_ca_certs", "nonsense"])
def test_a_store_says_which_option_it_has_no_use_for(opened, kind, option, tmp_path) -> None:
    with pytest.raises(InvalidArtifactError, match=f"no option '{option}'"):
        opened(kind.format(tmp_path), **{option: 1})


def test_an_option_that_no_store_has_is_named(opened) -> None:
    with pytest.raises(InvalidArtifactError, match="no option 'retry_four'.*retry_for"):
        opened(NOWHERE, retry_four=1)


def test_a_url_takes_the_options_of_the_store_it_means(opened) -> None:
    store = opened(NOWHERE, namespace="x", default_ttl=60, retry_for=0, max_size=10, compression=None)
    chosen = {"namespace": "x", "default_ttl": 60, "retry_for": 0, "max_size": 10, "compression": None}
    assert chosen.items() <= store._options.items()


@pytest.mark.parametrize("place", ["redis://127.0.0.1:1/0", "redis+cluster://h,i", "unix:///socket"])
def test_a_url_may_say_what_is_indexed(opened, place) -> None:
    url = f"{place}?index_tags=kind,a%2Cb&client_name=me&index_presence=&index_content_type=1"
    store = opened(url, index_tags=["other"], retry_for=0)
    for one in (store, pickle.loads(pickle.dumps(store))):
        assert one._options["index_tags"] == ("kind", "a,b")
        assert (one._options["index_presence"], one._options["index_content_type"]) == ((), True)
    assert store._target.picklable() == f"{place}?client_name=me"


@pytest.mark.parametrize("options", ["index_tags=a&index_tags=b", "index_content_type=yes", "index_tag=kind"])
def test_what_a_url_says_of_indexes_is_checked(opened, options) -> None:
    with pytest.raises(InvalidArtifactError, match="index_"):
        opened(f"redis://u:secret@h?{options}")


def test_a_misspelled_keyword_of_store_is_a_type_error() -> None:
    with InMemoryArtifactStore() as store, pytest.raises(TypeError, match="runid"):
        store.store(b"x", runid="a")
