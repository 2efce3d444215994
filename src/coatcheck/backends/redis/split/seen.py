"""What was read of an artifact before it is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..records import lease_times
from .claims import Claim


class Seen(NamedTuple):
    """The reply of `lua/split/read.lua`.

    Attributes:
        artifact_id: Whose.
        field: The run's lease field, empty where all leases were asked for.
        token: For a lease that is stored now: the time in microseconds, by the clock of the artifact's node.
        head: Empty where there is no artifact.
        mine: The run's lease, empty where it has none.
        length: Stored length of the content that has the artifact's id for a name.
        leases: Fields and beginnings of leases in turn, where they would end or were asked for.
    """

    artifact_id: bytes
    field: bytes
    token: int
    head: bytes
    mine: bytes
    length: int
    leases: Sequence[bytes]

    @classmethod
    def of(cls, artifact_id: bytes, field: bytes, reply: Any) -> Seen | None:
        """From the reply; `None`: the id is taken."""
        if reply[0] == b"taken":
            return None
        token, head, mine, length, *leases = reply
        return cls(artifact_id, field, token, head, mine, length, leases)

    @staticmethod
    def claims_of(artifact_id: bytes, head: bytes, leases: Sequence[bytes]) -> list[Claim]:
        """What leases claim."""
        pairs = zip(leases[::2], leases[1::2], strict=True)
        return [Claim.of(artifact_id, head, field, lease) for field, lease in pairs]

    def claim(self) -> Claim | None:
        """What the run's lease claims."""
        return Claim.of(self.artifact_id, self.head, self.field, self.mine) if self.mine and self.head else None

    def claims(self) -> list[Claim]:
        """What all leases claim that were read."""
        mine = self.claim()
        return [*([] if mine is None else [mine]), *self.claims_of(self.artifact_id, self.head, self.leases)]

    def gone_in(self, later: Seen) -> list[Claim]:
        """Claims of leases that were there and are not any more. Tokens never come again: they are nobody's."""
        gone = []
        mine = self.claim()
        if mine is not None and mine != later.claim():
            gone.append(mine)
        if self.head != later.head:
            gone += self.claims_of(self.artifact_id, self.head, self.leases)
        return gone

    @property
    def is_live(self) -> bool:
        """Whether the run has a lease that has not expired."""
        return bool(self.head and self.mine) and lease_times(self.mine)[0] > self.token // 1000
