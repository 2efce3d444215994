"""What keyed views do, written once: calls of a store, and what is made of their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..arguments import LinkKeywords, StoreKeywords, check_text
from ..asking import Ask, Store
from ..encoding import encode_extra
from ..errors import ArtifactConflictError, ArtifactNotFoundError, InvalidArtifactError
from ..ids import foreign_id
from ..model import Artifact, ArtifactMetadata
from ..plan import Plan
from ..refs import IdLike
from ..search import check_count

KEY: Final = "key"
VERSION: Final = "version"

_TAKEN: Final = 1_000  # versions in a row that others may have taken: a store that always says so ends, too


class Collection:
    """Artifacts of one run, each with its key in `extra`.

    Args:
        store: Where they lie.
        name: Of the collection: the run.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = check_text(name, "collection")
        if not self.name:
            raise InvalidArtifactError("collection cannot be empty")

    def artifact_id(self, key: str, version: int | None = None) -> str:
        """The id of what lies under a key."""
        parts = (check_text(key, "key"),) if version is None else (check_text(key, "key"), version)
        return foreign_id("coatcheck.keyed", self.name, *parts)

    def keywords(self, key: str, details: LinkKeywords, version: int | None = None) -> StoreKeywords:
        """What `store…` has to be told so that something lies under a key."""
        given: Any = details.get("extra")
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            encode_extra(given)  # says what is wrong with it
        own = {KEY: check_text(key, "key")} if version is None else {KEY: check_text(key, "key"), VERSION: version}
        if taken := own.keys() & given:
            raise InvalidArtifactError(f"extra must not say {min(taken)!r}: the keyed view does")
        for name, here in (("run_id", "the collection"), ("artifact_id", "a hash of the key")):
            if name in details:
                raise InvalidArtifactError(f"{name} is {here} here: leave it out")
        known: Any = {"exact_ttl": True, **details, "extra": {**given, **own}, "run_id": self.name}
        known["artifact_id"] = self.artifact_id(key, version)
        keywords: StoreKeywords = known
        return keywords

    # One thing under each key -----------------------------------------------------------------------------------

    def set(self, key: str, content: Any, content_type: str, details: LinkKeywords) -> Plan[ArtifactMetadata]:
        """See `Keyed.set`."""
        keywords = self.keywords(key, details)
        view: ArtifactMetadata = yield Ask(
            self.store, lambda store: store.store(content, content_type=content_type, **keywords)
        )
        return view

    def link(self, source: IdLike, key: str, content_type: str | None, details: LinkKeywords) -> Plan[ArtifactMetadata]:
        """See `Keyed.link`."""
        if details.get("extra") is None:  # that of the source, but for its own key
            found: Any = yield Ask(self.store, lambda store: store.get_metadata(source, required=True))
            own = {name: value for name, value in found.extra.items() if name not in (KEY, VERSION)}
            details = {**details, "extra": own}
        keywords: Any = self.keywords(key, details)
        view: ArtifactMetadata = yield Ask(
            self.store, lambda store: store.link(source, content_type=content_type, **keywords)
        )
        return view

    def get(self, key: str, version: int | None, *, required: bool) -> Plan[Artifact | None]:
        """See `Keyed.get`; of versions, the one that is named."""
        artifact_id = self.artifact_id(key, version)
        artifact: Artifact | None = yield Ask(self.store, lambda store: store.load(artifact_id, run_id=self.name))
        self._check_found(artifact, key, version, required=required)
        return artifact

    def metadata(self, key: str, *, required: bool) -> Plan[ArtifactMetadata | None]:
        """See `Keyed.get_metadata`."""
        artifact_id = self.artifact_id(key)
        view: ArtifactMetadata | None = yield Ask(
            self.store, lambda store: store.get_metadata(artifact_id, run_id=self.name)
        )
        self._check_found(view, key, None, required=required)
        return view

    def _check_found(self, found: object, key: str, version: int | None, *, required: bool) -> None:
        if found is None and required:
            what = f"{key!r:.100}" if version is None else f"version {version} of {key!r:.100}"
            raise ArtifactNotFoundError(f"there is no {what} in {self.name!r:.100}: deleted, expired or never set")

    def delete(self, key: str) -> Plan[bool]:
        """See `Keyed.delete`."""
        artifact_id = self.artifact_id(key)
        deleted: bool = yield Ask(self.store, lambda store: store.delete(artifact_id))
        return deleted

    def entries(self, prefix: str, after: str | None, limit: int) -> Plan[list[ArtifactMetadata]]:
        """See `Keyed.entries`."""
        check_text(prefix, "prefix")
        after = None if after is None else check_text(after, "after")
        count = check_count(limit, "limit")
        views = self._own((yield from self._views()), versioned=False)
        found = sorted(
            (view for view in views if key_of(view).startswith(prefix) and (after is None or key_of(view) > after)),
            key=key_of,
        )
        return found[:count] if count > 0 else found

    def _views(self) -> Plan[list[ArtifactMetadata]]:
        views: list[ArtifactMetadata] = yield Ask(self.store, lambda store: store.list_by_run(self.name))
        return views

    def _own(self, views: Iterable[ArtifactMetadata], *, versioned: bool) -> list[ArtifactMetadata]:
        """Those that lie where their key says."""
        found = []
        for view in views:
            key, version = view.extra.get(KEY), view.extra.get(VERSION)
            if (
                isinstance(key, str)
                and (type(version) is int if versioned else version is None)
                and view.artifact_id == self.artifact_id(key, version)
            ):
                found.append(view)
        return found

    # Versions ---------------------------------------------------------------------------------------------------

    def add(self, key: str, content: Any, content_type: str, details: LinkKeywords) -> Plan[ArtifactMetadata]:
        """See `Versions.add`."""
        known = yield from self.versions(key)
        first = version_of(known[-1]) + 1 if known else 0
        for version in range(first, first + _TAKEN):
            keywords = self.keywords(key, {**details, "if_absent": True}, version)
            try:
                view: ArtifactMetadata = yield _store(self.store, content, content_type, keywords)
            except ArtifactConflictError:  # somebody else took it meanwhile
                continue
            return view
        raise ArtifactConflictError(
            f"{_TAKEN:,} versions of {key!r:.100} from {first} on are taken, by other runs than {self.name!r:.100}"
        )

    def versions(self, key: str) -> Plan[list[ArtifactMetadata]]:
        """See `Versions.versions`."""
        check_text(key, "key")
        views = self._own((yield from self._views()), versioned=True)
        return sorted((view for view in views if key_of(view) == key), key=version_of)

    def version(self, key: str, version: int | None, *, required: bool) -> Plan[Artifact | None]:
        """See `Versions.get`."""
        if version is None:
            known = yield from self.versions(key)
            if not known:
                self._check_found(None, key, None, required=required)
                return None
            version = version_of(known[-1])
        elif isinstance(version, bool) or not isinstance(version, int):
            raise InvalidArtifactError(f"version must be an int, not {type(version).__name__}")
        elif version < 0:
            raise InvalidArtifactError(f"version must be 0 or more, not {version}; leave it out for the last one")
        return (yield from self.get(key, version, required=required))

    def keys(self, prefix: str) -> Plan[list[str]]:
        """See `Versions.keys`."""
        check_text(prefix, "prefix")
        views = self._own((yield from self._views()), versioned=True)
        return sorted({key_of(view) for view in views if key_of(view).startswith(prefix)})

    def forget(self, key: str) -> Plan[int]:
        """See `Versions.delete`."""
        ids = [view.artifact_id for view in (yield from self.versions(key))]
        deleted: list[bool] = yield Ask(self.store, lambda store: store.delete_many(ids))
        return sum(deleted)


def _store(store: Store, content: Any, content_type: str, keywords: StoreKeywords) -> Ask:
    return Ask(store, lambda store: store.store(content, content_type=content_type, **keywords))


def key_of(view: ArtifactMetadata) -> str:
    """The key of one that has one."""
    key: str = view.extra[KEY]
    return key


def version_of(view: ArtifactMetadata) -> int:
    """The version of one that has one."""
    version: int = view.extra[VERSION]
    return version
