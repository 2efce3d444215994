"""Temporal's external storage: large payloads lie in a store, workflow histories carry claims."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

try:
    from google.protobuf.message import DecodeError
    from temporalio.api.common.v1 import Payload as TemporalPayload
    from temporalio.converter import (
        StorageDriver,
        StorageDriverActivityInfo,
        StorageDriverClaim,
        StorageDriverRetrieveContext,
        StorageDriverStoreContext,
        StorageDriverWorkflowInfo,
    )
    from temporalio.exceptions import ApplicationError
except ImportError as error:
    raise ImportError("Temporal's SDK is not installed: pip install 'coatcheck[temporal]'") from error

from coatcheck import (
    Artifact,
    ArtifactLostError,
    ArtifactTooLargeError,
    AsyncArtifactStore,
    CorruptArtifactError,
    InvalidArtifactError,
)

from .opening import LazyAsyncStore

_CONTENT_TYPE: Final = "application/vnd.temporal.payload"
_LONGEST: Final = 1024  # bytes of a run id

Target: TypeAlias = "StorageDriverWorkflowInfo | StorageDriverActivityInfo"


class CoatcheckStorageDriver(StorageDriver):
    """Keeps payloads as artifacts, equal ones once; each workflow, or activity without one, leases its own.

    Importing and making it touches nothing: the store is opened by the first payload.

    Args:
        url: Of the store, or an open `AsyncArtifactStore`; `None`: `$COATCHECK_URL`.
        namespace: Of the store: the prefix of its keys, not Temporal's namespace. Workers and clients agree on it.
        ttl: Seconds or a `timedelta` a payload is kept, counted from when it was last stored; `None`: until its run is
            given up. It has to outlast the workflow and the retention of its history, because a replay reads it again.
        driver_name: What claims name. Workers and clients agree on it.
        max_payload_size: Bytes of the largest payload that is taken.
        **options: Of the store; see `open_store`.

    Raises:
        ValueError: An argument makes no sense.
    """

    def __init__(
        self,
        url: str | AsyncArtifactStore | None = None,
        *,
        namespace: str | None = None,
        ttl: Any = None,
        driver_name: str = "coatcheck",
        max_payload_size: int = 50 * 1024 * 1024,
        **options: Any,
    ) -> None:
        if not driver_name:
            raise InvalidArtifactError("driver_name cannot be empty: claims name the driver that reads them")
        if max_payload_size <= 0:
            raise InvalidArtifactError(f"max_payload_size must be positive, not {max_payload_size}")
        self._name = driver_name
        self._ttl = ttl
        self._max_payload_size = max_payload_size
        if namespace is not None:
            options["namespace"] = namespace
        self._store = LazyAsyncStore(url, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r}, driver_name={self._name!r})"

    def name(self) -> str:
        """What claims call this driver."""
        return self._name

    def type(self) -> str:
        """What kind of driver it is, for drivers in other languages."""
        return "coatcheck"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[TemporalPayload]
    ) -> list[StorageDriverClaim]:
        """Store payloads in one batch; what is there already is leased anew, and kept as long as if it were new.

        Raises:
            ArtifactTooLargeError: A payload is larger than `max_payload_size`; nothing was stored.
            ArtifactError: The store cannot be used, or is full.
        """
        contents = [payload.SerializeToString(deterministic=True) for payload in payloads]
        largest = max(map(len, contents), default=0)
        if largest > self._max_payload_size:
            raise ArtifactTooLargeError(
                f"a payload has {largest} bytes, this driver takes {self._max_payload_size}: raise max_payload_size "
                "or hand in less"
            )
        store = await self._store.get()
        stored = await store.store_many(
            contents, content_type=_CONTENT_TYPE, run_id=run_of(context.target), ttl=self._ttl
        )
        return [StorageDriverClaim({"artifact": view.artifact_id, "sha256": str(view.digest)}) for view in stored]

    async def retrieve(
        self,
        context: StorageDriverRetrieveContext,  # noqa: ARG002  # there is nothing in it
        claims: Sequence[StorageDriverClaim],
    ) -> list[TemporalPayload]:
        """Load payloads in one batch, each verified by the SHA-256 in its claim.

        Raises:
            ApplicationError: A claim is not this driver's, or what it names is gone or damaged; not retryable.
            ArtifactError: The store cannot be used.
        """
        wanted = [_read(claim) for claim in claims]
        store = await self._store.get()
        try:
            artifacts = await store.load_many([artifact_id for artifact_id, _ in wanted])
        except (ArtifactLostError, CorruptArtifactError, InvalidArtifactError) as error:
            raise _final(str(error), type(error).__name__) from error
        return [_payload(artifact, *claim) for artifact, claim in zip(artifacts, wanted, strict=True)]

    async def close(self) -> None:
        """Give back connections, on the event loop that used them. A store that was handed in stays open."""
        await self._store.close()


def run_of(target: Target | None) -> str | None:
    """The run that leases the payloads of a workflow or an activity, for `delete_by_run` and `list_by_run`.

    All executions under one workflow id are one run, because a workflow is started before its execution has an id.

    Args:
        target: As Temporal hands it to drivers; `None`, or without an id: the anonymous lease.
    """
    if target is None or not target.id:
        return None
    kind = "workflow" if isinstance(target, StorageDriverWorkflowInfo) else "activity"
    run = f"{kind}:{target.namespace}:{target.id}"
    if len(run.encode()) <= _LONGEST:
        return run
    return f"{kind}:sha256:{hashlib.sha256(run.encode()).hexdigest()}"


def _read(claim: StorageDriverClaim) -> tuple[str, str]:
    try:
        return claim.claim_data["artifact"], claim.claim_data["sha256"]
    except KeyError as error:
        raise _final(
            f"{dict(claim.claim_data)!r:.200} is no claim of coatcheck's: it lacks {error}", "InvalidClaim"
        ) from None


def _payload(artifact: Artifact | None, artifact_id: str, sha256: str) -> TemporalPayload:
    if artifact is None:
        raise _final(
            f"payload {artifact_id:.200} is gone: it expired, or its run was given up, before its last use. "
            "Give the driver a ttl that outlasts workflows and their retention",
            "ArtifactNotFoundError",
        )
    if artifact.metadata.digest != sha256:
        raise _final(f"artifact {artifact_id} is not what the claim says: another SHA-256", "CorruptArtifactError")
    try:
        return TemporalPayload.FromString(artifact.content)
    except DecodeError:
        raise _final(f"artifact {artifact_id} is no payload of Temporal's", "CorruptArtifactError") from None


def _final(message: str, kind: str) -> ApplicationError:
    """An error that no retry mends."""
    return ApplicationError(message, type=kind, non_retryable=True)
