"""One typed function per file of `lua/`: arguments in, reply decoded. Nothing else knows the order of KEYS and ARGV."""

from typing import Final

from ..script import Script
from . import inspecting, listing, reading, writing
from .common import Chunks, Name, View
from .inspecting import (
    EVICTION_POLICY,
    Audit,
    Checked,
    Found,
    Index,
    Mended,
    audit_artifacts,
    audit_contents,
    audit_index,
    check_artifact,
    check_chunks,
    check_content,
    check_index,
    drop_content,
    index_lease,
    mend,
    permitted,
)
from .listing import NOW, Match, Runs, Scanned, Sought, StoredContent, Sums, Tallied, Way, facets, runs, scan, tally
from .reading import LeasePage, Loaded, leases, load, metadata
from .writing import (
    Hold,
    Lease,
    Outcome,
    Where,
    acquire,
    delete,
    discard,
    follow,
    forget,
    hold,
    index_labels,
    mark,
    outcomes,
    release,
    store,
    store_small,
    touch,
    update,
)

ALL: Final = tuple(
    value
    for part in (writing, reading, listing, inspecting)
    for value in vars(part).values()
    if isinstance(value, Script)
)
"""Every script."""

__all__ = [
    "ALL",
    "EVICTION_POLICY",
    "NOW",
    "Audit",
    "Checked",
    "Chunks",
    "Found",
    "Hold",
    "Index",
    "Lease",
    "LeasePage",
    "Loaded",
    "Match",
    "Mended",
    "Name",
    "Outcome",
    "Runs",
    "Scanned",
    "Sought",
    "StoredContent",
    "Sums",
    "Tallied",
    "View",
    "Way",
    "Where",
    "acquire",
    "audit_artifacts",
    "audit_contents",
    "audit_index",
    "check_artifact",
    "check_chunks",
    "check_content",
    "check_index",
    "delete",
    "discard",
    "drop_content",
    "facets",
    "follow",
    "forget",
    "hold",
    "index_labels",
    "index_lease",
    "leases",
    "load",
    "mark",
    "mend",
    "metadata",
    "outcomes",
    "permitted",
    "release",
    "runs",
    "scan",
    "store",
    "store_small",
    "tally",
    "touch",
    "update",
]
