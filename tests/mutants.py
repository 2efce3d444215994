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
SOURCE = ROOT / "src" / "coatcheck"
LUA = "backends/redis/scripts/lua/"
CONTRACT = ("tests/contract", "-k", "valkey-sync")
FILES = ("tests/unit/test_file_store.py",)
ENVELOPE = ("tests/unit/test_envelope.py",)
COMPRESSION = ("tests/unit/test_compression.py",)
CACHE = ("tests/unit/test_cache.py",)
PROTOCOL = ("tests/redis/test_protocol.py", "-k", "valkey")
ERRORS = ("tests/redis/test_errors.py", "-k", "valkey")
HOSTILE = ("tests/redis/test_hostile.py", "-k", "damage")
FAULTS = ("tests/redis/test_faults.py", "-k", "sync-store or cancelled or ambiguous")
REFUSALS = ("tests/redis/test_refusals.py", "-k", "not redis7 and not redis8")
EVICTION = ("tests/redis/test_eviction.py", "-k", "valkey")
FUZZ = ("tests/unit/test_fuzz.py", "-k", "password")
LISTING = ("tests/contract", "-k", "valkey-sync and list_all")
MAINTENANCE = ("tests/redis/test_maintenance.py", "-k", "valkey")
CHUNKS = ("tests/redis/test_chunks.py", "-k", "valkey")
SOURCES = ("tests/unit/test_sources.py",)


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
    Mutant("expired leases are not pruned", LUA + "lib.lua", "for _ = 1, 16 do", "for _ = 1, 0 do", PROTOCOL),
    Mutant("a claim shortens a lease", LUA + "claim.lua", "if not mine or lease_deadline(mine) < deadline then", "do"),
    Mutant(
        "a claim does not look for the content",
        LUA + "claim.lua",
        "is_complete(stored, chunks) and 1 or 0",
        "head and 1 or 0",
        PROTOCOL,
    ),
    Mutant(
        "a claim leaves the content's expiry",
        LUA + "claim.lua",
        "    content_expire(change.content, change.chunks, longest)\n",
        "",
    ),
    Mutant(
        "a claim shortens what others hold",
        LUA + "claim.lua",
        "local longest = math.max(deadline, before)",
        "local longest = deadline",
    ),
    Mutant("a claim is not the latest", LUA + "claim.lua", ", 't', field)", ")"),
    Mutant("a claim is stored anew", LUA + "claim.lua", "mine and created or us", "us"),
    Mutant(
        "a claim does not hold explicit ids' content",
        LUA + "claim.lua",
        "    index_extend(change.leases, change.id, longest)\n",
        "",
    ),
    Mutant("claims are not pruned", LUA + "claim.lua", "index_dead(KEYS[#KEYS], now, #changes)", "{}", PROTOCOL),
    Mutant(
        "a deletion goes on after an error",
        LUA + "delete.lua",
        "    check_types(at, heads[i], id, fields[i])\n",
        "",
        PROTOCOL,
    ),
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
    Mutant("a deletion leaves the catalog", LUA + "lib.lua", "  call('ZREM', at.created, unpack(ids))\n", ""),
    Mutant(
        "an index does not end with its last member",
        LUA + "lib.lua",
        "  if last then\n    expire(key, index_end(last))\n  end\n  return last",
        "  return last",
    ),
    Mutant(
        "an index ends with its first member",
        LUA + "lib.lua",
        "  if before and before >= ends then",
        "  if before then",
    ),
    Mutant(
        "the catalog by time never ends",
        LUA + "lib.lua",
        "  if ends then\n    expire(at.created, ends)\n  end\n",
        "",
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
        "    settle(at, key, others[i], heads[i], now)\n",
        "    remove(at, key, others[i], heads[i], {}, now)\n",
    ),
    Mutant(
        "expired leases count as given up",
        LUA + "release.lua",
        "return lease_deadline(value) > now and 1 or 0",
        "return 1",
        CONTRACT,
    ),
    Mutant(
        "the checksum is not compared",
        "envelope.py",
        "if _checksum(sealed[: _SIGNED.size], payload) != checksum:",
        "if False:",
        ENVELOPE,
    ),
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
    Mutant("noise is taken for text", "compression.py", "> _NOISE * len(spread)", "> 64", COMPRESSION),
    Mutant("text is taken for noise", "compression.py", "_NOISE: Final = 0.78", "_NOISE: Final = 0.6", COMPRESSION),
    Mutant("a larger frame is kept", "compression.py", "if len(packed) < len(content)", "if packed", ENVELOPE),
    Mutant(
        "the first level stays",
        "compression.py",
        "contexts.get(level)",
        "next(iter(contexts.values()), None)",
        COMPRESSION,
    ),
    Mutant(
        "the cache serves any digest of a tag",
        "cache.py",
        "entry is None or entry[0] != digest",
        "entry is None",
        CACHE,
    ),
    Mutant("the cache forgets what is used", "cache.py", "self._entries.move_to_end(tag)", "pass", CACHE),
    Mutant(
        "the cache miscounts renewals",
        "cache.py",
        "size - sum(len(old) + OVERHEAD for _, old in dropped)",
        "size",
        CACHE,
    ),
    Mutant("a fork inherits the lock", "cache.py", "        cache.start_anew()\n", "        pass\n", CACHE),
    Mutant(
        "a damaged file stays",
        "disk_cache.py",
        "            path.unlink(missing_ok=True)\n            return None",
        "            return None",
        CACHE,
    ),
    Mutant("the disk cache follows links", "disk_cache.py", 'getattr(os, "O_NOFOLLOW", 0)', "0", CACHE),
    Mutant("others may write into the disk cache", "disk_cache.py", "and not status.st_mode & 0o077", "", CACHE),
    Mutant(
        "the disk cache is not bounded",
        "disk_cache.py",
        "                self._make_room()\n",
        "                pass\n",
        CACHE,
    ),
    Mutant(
        "a use of a file is not noted",
        "disk_cache.py",
        "os.utime(fd if os.utime in os.supports_fd else path)",
        "pass",
        CACHE,
    ),
    Mutant(
        "a cached content is sent all the same",
        "backends/redis/loading.py",
        "if self._cache is None or self._cache.lacks(artifact_id):",
        "if True:",
        ("tests/redis/test_cache.py", "-k", "valkey"),
    ),
    Mutant("a full match of ids is not needed", "ids.py", "_ID.fullmatch", "_ID.match"),
    Mutant(
        "an unknown outcome is told as no server",
        "backends/redis/transport/retry.py",
        "reason, in_doubt = error, writes",
        "reason, in_doubt = error, False",
        ("tests/redis/test_faults.py", "-k", "ambiguous"),
    ),
    Mutant(
        "a lost script is not sent again",
        "backends/redis/transport/retry.py",
        "if isinstance(reply, NoScriptError)]",
        "if False]",
        PROTOCOL,
    ),
    Mutant(
        "a batch forgets its order",
        "backends/redis/storing.py",
        "for part in without_rivals(batch):",
        "for part in [batch]:",
    ),
    Mutant(
        "durability is not waited for",
        "backends/redis/transport/durability.py",
        "if local < disks_wanted or replicas < replicas_wanted:",
        "if False:",
        ("tests/redis/test_durability.py", "-k", "missing or replica"),
    ),
    Mutant(
        "a missing confirmation is not asked again",
        "backends/redis/transport/retry.py",
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
        "a commit does not look for its chunks",
        LUA + "lib.lua",
        "  return over('EXISTS', chunks) == #chunks\n",
        "  return true\n",
        CHUNKS,
    ),
    Mutant(
        "a repeated commit takes its own chunks for a loser's",
        LUA + "store.lua",
        "    if chunks[1] ~= staged_chunks[1] then -- else",
        "    if true then -- else",
        CHUNKS,
    ),
    Mutant(
        "the loser of two uploads leaves its chunks",
        LUA + "store.lua",
        "      over('UNLINK', staged_chunks)\n",
        "\n",
        CHUNKS,
    ),
    Mutant("a healed content leaves its old chunks", LUA + "store.lua", "    over('UNLINK', chunks)\n", "\n", CHUNKS),
    Mutant(
        "published chunks keep the TTL of an upload",
        LUA + "store.lua",
        "    content_expire(content, staged_chunks, longest)\n",
        "    expire(content, longest)\n",
        CHUNKS,
    ),
    Mutant(
        "chunks do not follow their content",
        LUA + "lib.lua",
        "    expire(chunks[i], deadline)\n",
        "\n",
        CHUNKS,
    ),
    Mutant(
        "chunks outlive their content",
        LUA + "lib.lua",
        "    over('UNLINK', chunk_names(content, content_head(content), content))\n",
        "\n",
        CHUNKS,
    ),
    Mutant("what is discarded may be published", LUA + "discard.lua", " == ARGV[1] then", " == '' then", CHUNKS),
    Mutant(
        "a late chunk shortens a published one",
        "backends/redis/upload.py",
        '(payload,), b"NX", b"PX"',
        '(payload,), b"PX"',
        CHUNKS,
    ),
    Mutant("a late renewal shortens a published chunk", "backends/redis/upload.py", ', b"GT")', ")", CHUNKS),
    Mutant(
        "a failed upload leaves its chunks",
        "backends/redis/upload.py",
        "                yield from self._discard()\n                raise",
        "                raise",
        CHUNKS,
    ),
    Mutant(
        "gc takes chunks of an upload that goes on",
        LUA + "check_chunks.lua",
        "and (ttl == -1 or ttl > tonumber(ARGV[3]))",
        "",
        CHUNKS,
    ),
    Mutant("gc takes chunks that belong to a content", LUA + "check_chunks.lua", "not mine[KEYS[i]] and ", "", CHUNKS),
    Mutant(
        "chunks are not compared with the manifest",
        "backends/redis/download.py",
        "len(payload) != length or xxhash.xxh3_64_intdigest(payload) != checksum",
        "False",
        CHUNKS,
    ),
    Mutant(
        "the whole is not compared with the SHA-256",
        "backends/redis/download.py",
        "self._hash.digest() != self._manifest.digest",
        "False",
        CHUNKS,
    ),
    Mutant(
        "a reader goes on with other content",
        "backends/redis/download.py",
        "manifest is None or manifest.digest != self._manifest.digest",
        "manifest is None",
        CHUNKS,
    ),
    Mutant(
        "cancelled reads disturb the next",
        "backends/redis/download.py",
        "        with self._hashing:\n",
        "        if True:\n",
        CHUNKS,
    ),
    Mutant(
        "a manifest may announce too many chunks",
        "backends/redis/layout/manifest.py",
        " or len(chunks) != -(-size // chunk_size)",
        "",
        CHUNKS,
    ),
    Mutant(
        "a source that changed is not noticed",
        "sources.py",
        "            if xxhash.xxh3_64_intdigest(part) != self._checksums[n]:\n",
        "            if False:\n",
        SOURCES,
    ),
    Mutant(
        "a source that grew is not noticed",
        "sources.py",
        "if end == self.size and self._stream.read(1):",
        "if False:",
        SOURCES,
    ),
    Mutant(
        "a memory store shortens leases",
        "backends/local.py",
        "claim.deadline = claim.later_of(record.claims[request.run_id].deadline)",
        "pass",
        ("tests/contract", "-k", "memory-sync"),
    ),
    Mutant(
        "scores of an index are believed",
        LUA + "lib.lua",
        "math.max(0, math.min(FOREVER, tonumber(last) or FOREVER))",
        "last == 'inf' and FOREVER or tonumber(last)",
        ("tests/redis/test_hostile.py", "-k", "any_score"),
    ),
    Mutant("a damaged lease is taken as it is", LUA + "lib.lua", "return #lease < 13", "return false", HOSTILE),
    Mutant(
        "a store over a damaged lease lasts for ever",
        LUA + "store.lua",
        "if mine and not healed then",
        "if mine then",
        ("tests/redis/test_hostile.py", "-k", "renewed"),
    ),
    Mutant(
        "the metadata of another artifact will do",
        "backends/redis/layout/records.py",
        " and head[1] == (digest[:ID_LENGTH] == artifact_id):",
        ":",
        ("tests/unit/test_records.py",),
    ),
    Mutant(
        "content may outlive its leases unseen",
        LUA + "check_artifact.lua",
        "if stored and stored > needed then",
        "if false then",
        MAINTENANCE,
    ),
    Mutant(
        "leases are counted instead of named",
        LUA + "store.lua",
        "local field = run == '' and '-' or '=' .. run",
        "local field = run == '' and '-' or '=' .. run .. integer(us)",
    ),
    Mutant(
        "a repeated store adds its TTL again",
        LUA + "store.lua",
        "deadline = math.max(deadline, lease_deadline(mine))",
        "deadline = math.min(FOREVER, math.max(deadline, lease_deadline(mine) + (tonumber(ARGV[3]) or 0)))",
        ("tests/redis/test_faults.py", "-k", "twice"),
    ),
    Mutant(
        "an upload is published before it was sent",
        "backends/redis/storing.py",
        """_, [reply] = yield from self.write(
            Command(b"SET", staging, sealed, b"PX", b"%d" % STAGING_MS),
            self._store_call([request], b"s", _NOTHING, staging),
""",
        """[reply], _ = yield from self.write(
            self._store_call([request], b"s", _NOTHING, staging),
            Command(b"SET", staging, sealed, b"PX", b"%d" % STAGING_MS),
""",
        FAULTS,
    ),
    Mutant(
        "an upload has no TTL",
        "backends/redis/storing.py",
        'staging, sealed, b"PX", b"%d" % STAGING_MS)',
        "staging, sealed)",
        FAULTS,
    ),
    Mutant(
        "content sent without asking has no TTL",
        "backends/redis/storing.py",
        'content, b"NX", b"PX", b"%d" % STAGING_MS)',
        'content, b"NX")',
        FAULTS,
    ),
    Mutant(
        "content sent without asking shortens what is there",
        "backends/redis/storing.py",
        'content, b"NX", b"PX"',
        'content, b"PX"',
        FAULTS,
    ),
    Mutant(
        "a refused connection is told as an unknown outcome",
        "backends/redis/transport/retry.py",
        "            reason = error\n        except BrokenError",
        "            reason, in_doubt = error, writes\n        except BrokenError",
        REFUSALS,
    ),
    Mutant(
        "a slot on its way is not waited for",
        "backends/redis/transport/retry.py",
        "(BusyLoadingError, TryAgainError,",
        "(BusyLoadingError,",
        REFUSALS,
    ),
    # redis-py closes a connection after a broken read as well: both have to forget it.
    Mutant(
        "a connection with an unread reply goes back to the pool",
        "backends/redis/transport/base.py",
        """(await connection.read_response(disable_decoding=True))
                except ResponseError as error:
                    replies.append(error)
                except BusyLoadingError as error:
                    replies.append(error)
        except TRANSPORT_ERRORS as error:
            raise BrokenError(str(error) or type(error).__name__) from error
        finally:
            if len(replies) < count:
                await connection.disconnect(nowait=True)
""",
        """(await connection.read_response(disable_decoding=True, disconnect_on_error=False))
                except ResponseError as error:
                    replies.append(error)
                except BusyLoadingError as error:
                    replies.append(error)
        except TRANSPORT_ERRORS as error:
            raise BrokenError(str(error) or type(error).__name__) from error
        finally:
""",
        ("tests/redis/test_sharing.py", "-k", "valkey and cancelled"),
    ),
    Mutant(
        "a closed store keeps its connections",
        "backends/redis/transport/pool.py",
        "        for connection in self._idle:\n            connection.disconnect()\n",
        "",
        ("tests/redis/test_sharing.py", "-k", "given_back"),
    ),
    Mutant(
        "what is left to read is taken for a reply",
        "backends/redis/transport/pool.py",
        "if not connection.can_read():",
        "if connection.can_read() is not None:",
        ("tests/redis/test_sharing.py", "-k", "valkey and left_to_read"),
    ),
    Mutant(
        "what is left to read is taken for a task's reply",
        "backends/redis/transport/pool.py",
        "if not await connection.can_read():",
        "if await connection.can_read() is not None:",
        ("tests/redis/test_sharing.py", "-k", "valkey and left_to_read"),
    ),
    Mutant(
        "an event loop gets the connections of another",
        "backends/redis/transport/pool.py",
        "if self._loop is not asyncio.get_running_loop():",
        "if self._loop is None:",
        ("tests/redis/test_sharing.py", "-k", "valkey and loop"),
    ),
    Mutant(
        "a child uses its parent's connections",
        "backends/redis/transport/pool.py",
        "if self._process != os.getpid():",
        "if False:",
        ("tests/redis/test_sharing.py", "-k", "valkey and forked"),
    ),
    Mutant(
        "each store is asked about eviction at every call",
        "backends/redis/eviction.py",
        "        self._ask = False  #",
        "        self._ask = True  #",
        EVICTION,
    ),
    Mutant(
        "volatile policies pass for harmless",
        "backends/redis/eviction.py",
        "if policy not in _KEEPS:",
        'if policy not in _KEEPS and not policy.startswith(b"volatile"):',
        EVICTION,
    ),
    Mutant(
        "passwords are shown",
        "backends/redis/transport/connect.py",
        "    parts = _PUBLIC.fullmatch(url)\n",
        "    return url\n",
        FUZZ,
    ),
    Mutant(
        "a password may be in what redis-py says",
        "backends/redis/transport/connect.py",
        "urlsplit(url).port  #",
        "urlsplit(url)  #",
        FUZZ,
    ),
    # The short way of a store: what is entirely new.
    Mutant(
        "a new artifact gets no expiry", LUA + "store.lua", "call('PEXPIREAT', artifact, score)", "local _", PROTOCOL
    ),
    Mutant("new content gets no expiry", LUA + "store.lua", ", 'PXAT', score)", ")", PROTOCOL),
    Mutant(
        "new artifacts do not move the end of the catalog", LUA + "store.lua", "if catalog_moves then", "if false then"
    ),
    Mutant(
        "new artifacts do not move the end of their run's index",
        LUA + "store.lua",
        "  if run_moves then\n    expire(run_index)",
        "  if false then\n    expire(run_index)",
    ),
    Mutant(
        "new artifacts do not move the end of the list of runs", LUA + "store.lua", "if runs_move then", "if false then"
    ),
    Mutant(
        "an index that is there keeps its end when new artifacts come",
        LUA + "store.lua",
        "at < ends",
        "at == -2)",
        PROTOCOL,
    ),
    Mutant(
        "half-written indexes stay after an error",
        LUA + "store.lua",
        "        call('ZREM', written[i], unpack(ids))\n",
        "",
        ERRORS,
    ),
    Mutant("a batch stores an id again as new", LUA + "store.lua", " and not seen[artifact]", "", PROTOCOL),
    Mutant(
        "batches do not prune indexes",
        LUA + "store.lua",
        "local dead = call('ZRANGE', key, '-inf', now, 'BYSCORE', 'LIMIT', 0, 63 + count)",
        "local dead = {}",
        PROTOCOL,
    ),
    Mutant(
        "batches do not prune the catalog by time",
        LUA + "store.lua",
        "drop_expired(KEYS[2], KEYS[1])",
        "drop_expired(KEYS[2])",
        PROTOCOL,
    ),
    Mutant("batches do not prune the list of runs", LUA + "store.lua", "      drop_expired(KEYS[3])\n", "", PROTOCOL),
    Mutant(
        "content sent without asking outlives its artifact",
        LUA + "store.lua",
        "if where == 'p' then\n    content_settle",
        "if false then\n    content_settle",
        PROTOCOL,
    ),
    Mutant(
        "content sent without asking ends before its new artifact",
        LUA + "store.lua",
        "call('PEXPIREAT', content, score)",
        "local _",
        PROTOCOL,
    ),
    Mutant(
        "content sent without asking ends although its new artifact does not",
        LUA + "store.lua",
        "        call('PERSIST', content)\n",
        "",
        PROTOCOL,
    ),
    Mutant(
        "what lies under a new artifact's content is not looked at",
        LUA + "store.lua",
        "and string.sub(stored, 11) == string.sub(ARGV[4 * i + 2], 3, 34)",
        "",
        PROTOCOL,
    ),
    Mutant(
        "chunks under a new artifact's content are not looked at",
        LUA + "store.lua",
        "and version == 1 and codec < 2",
        "",
        PROTOCOL,
    ),
    Mutant(
        "only batches prune indexes",
        LUA + "store.lua",
        "if count > 1 or string.byte(ARGV[6], 34) < 32 then",
        "if count > 1 then",
        PROTOCOL,
    ),
    Mutant(
        "a lease is given out as the latest unseen",
        LUA + "metadata.lua",
        "if #some == 4 and some[1] == 'h'",
        "if #some >= 4 and some[1] == 'h'",
    ),
    # The common way of a run's deletion: what it alone holds.
    Mutant(
        "a run's deletion takes content that explicit ids need",
        LUA + "delete_by_run.lua",
        "if over('EXISTS', needs) > 0 then",
        "if false then",
    ),
    Mutant(
        "a run's deletion leaves chunks",
        LUA + "delete_by_run.lua",
        "    and call('GETRANGE', content, 1, 1) ~= '\\2' -- a manifest\n",
        "",
    ),
    Mutant(
        "a run's deletion takes what others lease too", LUA + "delete_by_run.lua", "    #few == 4\n", "    #few >= 4\n"
    ),
    Mutant(
        "a run's deletion takes what only another still leases",
        LUA + "delete_by_run.lua",
        "    and mine == field\n",
        "",
        PROTOCOL,
    ),
    Mutant(
        "a lease that may have expired is shown",
        "backends/redis/layout/records.py",
        "return (head, field, value) if value[:6] == max(lease[:6] for lease in leases.values()) else None",
        "return head, field, value",
        ("tests/unit/test_records.py",),
    ),
    Mutant(
        "some leases are taken for all",
        "backends/redis/layout/records.py",
        " or len(fields) >= 2 * FEW",
        "",
        ("tests/unit/test_records.py",),
    ),
    # These four harm no result: the check for leaks has to notice.
    Mutant(
        "a leaked key without TTL",
        LUA + "store.lua",
        "    results[i] = { 'ok', created, deadline }\n",
        "    results[i] = { 'ok', created, deadline }\n    call('SET', ARGV[1] .. 'leak', '')\n",
        LISTING,
    ),
    Mutant(
        "a leaked thread",
        "backends/redis/transport/base.py",
        "        self._connections = connections\n",
        "        self._connections = connections\n"
        "        import threading\n"
        "        threading.Thread(target=threading.Event().wait, daemon=True).start()\n",
        LISTING,
    ),
    Mutant(
        "a leaked descriptor",
        "backends/redis/transport/base.py",
        "        self._connections = connections\n",
        "        self._connections = connections\n        import os\n        os.dup(2)\n",
        LISTING,
    ),
    Mutant(
        "a leaked connection",
        "backends/redis/transport/base.py",
        "        self._connections = connections\n",
        "        self._connections = connections\n"
        "        extra = connections._pool.connection_class(**connections._pool.connection_kwargs)\n"
        "        globals().setdefault('extras', []).append(extra)\n"
        "        extra.connect()\n",
        LISTING,
    ),
]


def run_tests(tests: tuple[str, ...], package: Path) -> str | None:
    """The first test that fails over this copy of the package, or `None`."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(package.parent), "COATCHECK_EXAMPLES": "20"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if run.returncode not in (0, 1) or (run.returncode == 1 and not lines):
        raise SystemExit(f"{' '.join(tests)}: the tests did not run: {run.stdout[-2000:]}{run.stderr[-2000:]}")
    return lines[0].split(" ", 1)[1].split(" - ")[0] if lines else None


def mutate(mutant: Mutant, source: str) -> str:
    """The source with the bug."""
    if mutant.old not in source:
        raise SystemExit(f"{mutant.name}: {mutant.file} does not contain {mutant.old!r}")
    return source.replace(mutant.old, mutant.new, 1)


def try_mutant(mutant: Mutant) -> tuple[Mutant, str | None]:
    """The first test that notices, or `None`."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        package = Path(directory) / "coatcheck"
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        path = package / mutant.file
        path.write_text(mutate(mutant, path.read_text()))
        return mutant, run_tests(mutant.tests, package)


def main() -> int:
    survivors = 0
    wanted = sys.argv[1:]
    chosen = [mutant for mutant in MUTANTS if not wanted or any(word in mutant.name for word in wanted)]
    groups = list(dict.fromkeys(mutant.tests for mutant in chosen))
    with ThreadPoolExecutor(2) as pool:
        # A test that fails anyway catches nothing.
        for tests, failed in zip(groups, pool.map(lambda tests: run_tests(tests, SOURCE), groups), strict=True):
            if failed is not None:
                raise SystemExit(f"without any mutant, {' '.join(tests)} fails: {failed}")
        print(f"{len(groups)} groups of tests pass without a mutant", flush=True)
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
