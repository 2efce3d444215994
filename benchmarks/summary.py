"""The first screen of the page: absolute figures, nine rows, and where others are ahead."""

from __future__ import annotations

from collections.abc import Sequence

from .measure import Timing
from .page import ABSENT, as_bytes, number, table
from .results import Results, Row

ROWS = (
    *("store-1k", "load-1k", "store-100k", "load-100k", "store-10m", "load-10m"),
    *("store-many", "load-many", "list-run"),
)
OURS = "coatcheck"
VERIFIED = {OURS: "SHA-256", "coatcheck, verify='checksum'": "checksum"}
MULTIPLES = (
    "Time as a multiple of redis-py's SET or GET and one SHA-256, medians; lower is better. Behind each name: what a "
    "load verifies."
)
PEERS = ("redis-py pipeline by hand", "ProxyStore", "py-key-value", "AbstractRuntime files")


def summary(results: Results, plot: str | None) -> str:
    """What a reader sees first."""
    rows = {row.part: row for row in results.of(Row)}
    found = [rows[part] for part in ROWS if part in rows]
    about = results.about
    parts = [
        (
            f"{about['server']} on {about['transport']}, Python {about['python']}, redis-py {about['redis-py']}; "
            f"{about['cores']} cores shared by client and server, {about['cpu']}:"
        ),
        "\n".join(_figures(rows)),
    ]
    if plot is not None:
        parts.append(f"![ratios to redis-py]({plot})")
    if found:
        parts += [
            MULTIPLES,
            _table(found),
            *_ahead(found),
        ]
    return "\n\n".join(parts)


def _figures(rows: dict[str, Row]) -> list[str]:
    """At most five absolute figures."""
    lines = []
    for part, text in (("store-1k", "stores 1 KiB in"), ("load-1k", "loads 1 KiB in")):
        if own := _own(rows, part):
            lines.append(f"- {text} {number(own.microseconds)} µs ({number(own.cpu_microseconds)} µs of CPU)")
    many = [1e6 / own.microseconds for part in ("store-many", "load-many") if (own := _own(rows, part))]
    if len(many) == 2:
        lines.append(f"- stores {many[0]:,.0f} and loads {many[1]:,.0f} artifacts of 1 KiB a second in batches")
    large = [10 * 1.048576e6 / own.microseconds for part in ("store-10m", "load-10m") if (own := _own(rows, part))]
    if len(large) == 2:
        lines.append(f"- stores {large[0]:,.0f} and loads {large[1]:,.0f} MB/s of 10 MiB contents, verified")
    if memory := rows.get("server-memory"):
        lines.append(f"- keeps 1 KiB with {as_bytes(memory.sizes[OURS])} of server memory besides")
    return lines


def _own(rows: dict[str, Row], part: str) -> Timing | None:
    return _of(rows[part], OURS) if part in rows else None


def _of(row: Row, name: str) -> Timing | None:
    return next((timing for timing in row.timings[1:] if timing.name == name), None)


def _table(rows: Sequence[Row]) -> str:
    names = [*VERIFIED, *(name for peer in PEERS for name in _named(rows, peer))]
    head = ["work", "goal", *(f"{name.partition(',')[0]} ({VERIFIED.get(name, 'nothing')})" for name in names)]
    lines = [head]
    for row in rows:
        cells = [_of(row, name) for name in names]
        ratios = [ABSENT if cell is None else number(cell.ratios(row.timings[0]).median) for cell in cells]
        lines.append([row.title, row.goal or ABSENT, *ratios])
    return table(lines)


def _named(rows: Sequence[Row], peer: str) -> list[str]:
    """The name of a peer, which tells its version."""
    return list(
        dict.fromkeys(timing.name for row in rows for timing in row.timings[1:] if timing.name.startswith(peer))
    )


def _ahead(rows: Sequence[Row]) -> list[str]:
    """Who is faster than coatcheck, and where."""
    lines = []
    for peer in PEERS:
        for name in _named(rows, peer):
            ahead = [row.title for row in rows if _is_ahead(row, name)]
            if ahead:
                lines.append(f"- {name}: {', '.join(ahead)}")
    return ["Ahead of it:", "\n".join(lines)] if lines else []


def _is_ahead(row: Row, name: str) -> bool:
    own, other = _of(row, OURS), _of(row, name)
    floor = row.timings[0]
    return own is not None and other is not None and other.ratios(floor).median < own.ratios(floor).median
