"""Deliberate bugs, one at a time, and whether the tests catch them: `make mutants`.

Each mutant is a copy of the package with one replacement. The tests that ought to notice run over the copy; a mutant
that survives is a promise nobody checks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LUA = "backends/redis/lua/"
SPLIT = "backends/redis/split/"
CONTRACT = ("tests/contract", "-k", "valkey-sync")
FILES = ("tests/unit/test_file_store.py",)
ENVELOPE = ("tests/unit/test_envelope.py",)
PROTOCOL = ("tests/redis/test_protocol.py", "-k", "valkey")
ERRORS = ("tests/redis/test_errors.py", "-k", "valkey")
SLOTS = ("tests/redis/test_split_slots.py",)
MAINTENANCE = ("tests/redis/test_maintenance.py", "-k", "valkey")


def orders(chosen: str) -> tuple[str, ...]:
    return ("tests/redis/test_split_interleavings.py", "-k", chosen)


class Mutant(NamedTuple):
    """One bug: in which file, what is replaced by what, and which tests have to notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = CONTRACT


MUTANTS = [
    Mutant(
        "a store shortens the run's own lease",
        LUA + "store.lua",
        "deadline = math.max(deadline, lease_deadline(mine))",
        "",
    ),
    Mutant(
        "a store shortens what other runs hold",
        LUA + "store.lua",
        "longest = math.max(deadline, before)",
        "longest = deadline",
    ),
    Mutant("the artifact gets no expiry", LUA + "store.lua", "  expire(artifact, longest)\n", "\n"),
    Mutant("the content gets no expiry", LUA + "store.lua", ", 'PXAT', integer(longest))", ")"),
    Mutant(
        "content keeps the first deadline", LUA + "store.lua", "if not held or held < longest then", "if not held then"
    ),
    Mutant(
        "a colliding digest is taken for the same",
        LUA + "store.lua",
        "elseif string.sub(stored, 11, 42) ~= digest_of(head) then",
        "elseif false then",
        ERRORS,
    ),
    Mutant(
        "a content-addressed id can be replaced",
        LUA + "store.lua",
        "if replaced and (is_named(old) or is_named(head)) then",
        "if false then",
    ),
    Mutant("old content stays after a replacement", LUA + "store.lua", "  content_drop(at, old, id, now)\n", ""),
    Mutant("old leases stay after a replacement", LUA + "store.lua", "      call('HDEL', artifact, name)\n", ""),
    Mutant(
        "the latest lease is not noted",
        LUA + "store.lua",
        "  call('HSET', artifact, 't', field)\n",
        "  call('HSETNX', artifact, 't', field)\n",
    ),
    Mutant(
        "a known upload leaves its staging key",
        LUA + "store.lua",
        "    call('UNLINK', staging)\n",
        "",
        ("tests/redis/test_interleavings.py", "-k", "two_uploads"),
    ),
    Mutant("explicit ids do not hold their content", LUA + "store.lua", "  index_extend(leases, id, longest)\n", "\n"),
    Mutant("expired leases are not pruned", LUA + "store.lua", "for _ = 1, 16 do", "for _ = 1, 0 do", PROTOCOL),
    Mutant(
        "content is released while an explicit id needs it",
        LUA + "lib.lua",
        "local needed = index_last(leases) or 0",
        "local needed = 0",
    ),
    Mutant(
        "content is released while its own artifact needs it",
        LUA + "lib.lua",
        "needed = math.max(needed, expiry(named))",
        "needed = needed",
    ),
    Mutant(
        "another artifact's digest counts as a need",
        LUA + "lib.lua",
        "if head and digest_of(head) == digest then",
        "if head then",
        PROTOCOL,
    ),
    Mutant(
        "a deletion leaves the runs' indexes", LUA + "lib.lua", "      run_drop(at, string.sub(fields[i], 2), id)\n", ""
    ),
    Mutant("a deletion leaves the catalog", LUA + "lib.lua", "  call('ZREM', at.created, id)\n", ""),
    Mutant(
        "an index does not end with its last member",
        LUA + "lib.lua",
        "  if last then\n    expire(key, last)\n  end\n  return last",
        "  return last",
    ),
    Mutant(
        "an index ends with its first member",
        LUA + "lib.lua",
        "  if before and before >= deadline then",
        "  if before then",
    ),
    Mutant(
        "the catalog by time never ends",
        LUA + "lib.lua",
        "  if index_extend(at.deadlines, id, deadline) then\n    expire(at.created, deadline)\n  end",
        "  index_extend(at.deadlines, id, deadline)",
    ),
    Mutant("indexes are not pruned", LUA + "lib.lua", "    call('ZREM', key, unpack(dead))\n", "", PROTOCOL),
    Mutant(
        "an expired lease is still shown",
        LUA + "lib.lua",
        "if value and lease_deadline(value) > now then",
        "if value then",
    ),
    Mutant(
        "run ids are not quoted by scripts",
        LUA + "lib.lua",
        "return string.format('%%%02X', string.byte(c))",
        "return c",
        PROTOCOL,
    ),
    Mutant("types are not checked before writing", LUA + "store.lua", "call('ZCARD', at.created)\n", "", ERRORS),
    Mutant(
        "one run's deletion takes everybody's artifact",
        LUA + "delete_by_run.lua",
        "    settle(at, key, ids[i], heads[i], now)\n",
        "    remove(at, key, ids[i], heads[i], {}, now)\n",
    ),
    Mutant(
        "expired leases count as given up",
        LUA + "release.lua",
        "return lease_deadline(value) > now and 1 or 0",
        "return 1",
        CONTRACT,
    ),
    Mutant("the checksum is not compared", "envelope.py", "if actual.intdigest() != checksum:", "if False:", ENVELOPE),
    Mutant("any content's digest will do", "envelope.py", "if stored_digest != digest:", "if False:", ENVELOPE),
    Mutant(
        "the SHA-256 is not verified",
        "envelope.py",
        'if verify == "full" and compute_digest(content) != digest:',
        "if False:",
        ENVELOPE,
    ),
    Mutant(
        "the size of a zstd frame is believed", "envelope.py", ".content_size != size:", ".content_size < 0:", ENVELOPE
    ),
    Mutant("a full match of ids is not needed", "ids.py", "_ID.fullmatch", "_ID.match"),
    Mutant(
        "an unknown outcome is told as no server",
        "backends/redis/retry.py",
        "reason, in_doubt = error, writes",
        "reason, in_doubt = error, False",
        ("tests/redis/test_faults.py", "-k", "ambiguous"),
    ),
    Mutant(
        "a lost script is not sent again",
        "backends/redis/retry.py",
        "if isinstance(reply, NoScriptError)]",
        "if False]",
        PROTOCOL,
    ),
    Mutant(
        "a batch forgets its order",
        "backends/redis/backend.py",
        "for part in without_rivals(batch):",
        "for part in [batch]:",
    ),
    Mutant(
        "durability is not waited for",
        "backends/redis/durability.py",
        "if local < disks_wanted or replicas < replicas_wanted:",
        "if False:",
        ("tests/redis/test_durability.py", "-k", "missing or replica"),
    ),
    Mutant(
        "a missing confirmation is not asked again",
        "backends/redis/retry.py",
        "if isinstance(command, Confirmation)]",
        "if False]",
        ("tests/redis/test_durability.py", "-k", "asks"),
    ),
    Mutant(
        "gc forgets what explicit ids need",
        "backends/redis/maintenance.py",
        "if name not in self._needed]",
        "]",
        MAINTENANCE,
    ),
    Mutant("gc removes in the dark", "backends/redis/maintenance.py", 'b"" if self._unreadable else ', "", MAINTENANCE),
    Mutant(
        "files are published before their content",
        "backends/file.py",
        "        self._write(beside if previous is not None else final, content)\n        self._write(self._meta(record.artifact_id), _encode(record))\n",
        "        self._write(self._meta(record.artifact_id), _encode(record))\n        self._write(beside if previous is not None else final, content)\n",
        FILES,
    ),
    Mutant("files follow symbolic links", "backends/file.py", '    | getattr(os, "O_NOFOLLOW", 0)\n', "", FILES),
    Mutant(
        "split: a store commits before it claims",
        SPLIT + "storing.py",
        "        yield from _claim(backend, waiting)\n        waiting = [item for item in waiting if item.result is None]\n        yield from _commit(backend, waiting, patience)\n",
        "        yield from _commit(backend, waiting, patience)\n        yield from _claim(backend, waiting)\n",
        orders("store_and_delete and name"),
    ),
    Mutant(
        "split: a commit does not compare the lease",
        LUA + "split/commit.lua",
        "(call('HGET', artifact, field) or '') ~= ARGV[2] or ",
        "",
        orders("one_lease_twice"),
    ),
    Mutant(
        "split: a touch does not compare the lease",
        LUA + "split/touch.lua",
        "pair[2] ~= ARGV[4]",
        "not pair[2]",
        orders("touches"),
    ),
    Mutant(
        "split: a release takes whatever lease there is",
        LUA + "split/release.lua",
        " or string.sub(pair[2], 7, 13) ~= ARGV[4]",
        "",
        orders("delete_by_run"),
    ),
    Mutant(
        "split: claims are taken back before the lease is",
        SPLIT + "backend.py",
        "            [released] = yield from self.write(self._release_call(claim))\n            yield from self.drop([claim])\n",
        "            yield from self.drop([claim])\n            [released] = yield from self.write(self._release_call(claim))\n",
        orders("load"),
    ),
    Mutant(
        "split: a deletion takes claims of any token",
        SPLIT + "backend.py",
        "if mine is not None and mine.token == claim.token:",
        "if mine is None:\n                abandoned.append(claim)\n            elif mine.token == claim.token:",
        orders("delete_by_run"),
    ),
    Mutant(
        "split: what a store superseded stays claimed",
        SPLIT + "storing.py",
        "        self.garbage += self.seen.claims()\n",
        "",
        orders("delete_by_run"),
    ),
    Mutant(
        "split: a claim is lowered whatever its score",
        LUA + "split/lib.lua",
        "(seen ~= '' and tonumber(score_now) ~= tonumber(seen))",
        "false",
        orders("touches"),
    ),
    Mutant(
        "split: extending a claim may leave its score",
        LUA + "split/lib.lua",
        "tonumber(before) + 1 or 0",
        "tonumber(before) or 0",
        orders("touches"),
    ),
    Mutant(
        "split: gc removes claims without a fence",
        LUA + "split/judge.lua",
        "if ARGV[5] == '1' and us - token",
        "if false and us - token",
        orders("gc_and_store"),
    ),
    Mutant(
        "split: a commit is sent again",
        SPLIT + "backend.py",
        "replies = yield from exchange_once(self._link, [*calls, *confirmations], patience)",
        "return (yield from self.write(*calls))",
        SLOTS,
    ),
    Mutant(
        "split: a script touches a key of another slot",
        LUA + "split/look.lua",
        "if not is_named(head) then\n",
        "if not is_named(head) then\n  call('EXISTS', string.gsub(KEYS[1], 'artifact.*', '') .. 'content:{' .. tag_of(head, '') .. '}')\n",
        SLOTS,
    ),
    Mutant(
        "a memory store shortens leases",
        "backends/ledger.py",
        "claim.deadline = claim.later_of(record.claims[request.run_id].deadline)",
        "pass",
        ("tests/contract", "-k", "memory-sync"),
    ),
]


def try_mutant(mutant: Mutant) -> tuple[Mutant, str | None]:
    """The first test that notices, or `None`."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        package = Path(directory) / "coatcheck"
        shutil.copytree(ROOT / "src" / "coatcheck", package, ignore=shutil.ignore_patterns("__pycache__"))
        path = package / mutant.file
        source = path.read_text()
        if source.count(mutant.old) < 1:
            raise SystemExit(f"{mutant.name}: {mutant.file} does not contain {mutant.old!r}")
        path.write_text(source.replace(mutant.old, mutant.new, 1))
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "--no-header",
                "--tb=no",
                "-p",
                "no:cacheprovider",
                *mutant.tests,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": directory, "COATCHECK_EXAMPLES": "20"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if run.returncode not in (0, 1) or (run.returncode == 1 and not lines):
        raise SystemExit(f"{mutant.name}: the tests did not run: {run.stdout[-2000:]}{run.stderr[-2000:]}")
    return mutant, lines[0].split(" ", 1)[1].split(" - ")[0] if lines else None


def main() -> int:
    survivors = 0
    wanted = sys.argv[1:]
    chosen = [mutant for mutant in MUTANTS if not wanted or any(word in mutant.name for word in wanted)]
    with ThreadPoolExecutor(2) as pool:
        for mutant, caught_by in pool.map(try_mutant, chosen):
            survivors += caught_by is None
            print(
                f"{'SURVIVED' if caught_by is None else 'caught  '}  {mutant.name}\n          {caught_by or mutant.file}",
                flush=True,
            )
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
