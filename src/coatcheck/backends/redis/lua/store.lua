-- Stores one artifact for one run: content, lease, indexes and expiries, all or nothing.
--
-- KEYS[1] artifact   KEYS[2] content   KEYS[3] leases of the content   KEYS[4] catalog:created
-- KEYS[5] catalog:deadlines   KEYS[6] runs   KEYS[7] run, with a run   KEYS[#KEYS] staging, where ARGV[7] is 's'
-- ARGV[1] key prefix   ARGV[2] id   ARGV[3] head (see lib.lua)   ARGV[4] run, '' for anonymous
-- ARGV[5] msgpack of the lease   ARGV[6] TTL in ms, '' for ever
-- ARGV[7] where the content is: 'c' in ARGV[8], 's' under the staging key, 'k' nowhere: only if it is known already
-- Derived keys: the chunks of the content, and of the staging; the runs and the old content of an explicit id that is
-- replaced.
--
-- Returns {'ok', created in us, deadline in ms}
--         {'need'}     nothing written: the content is not here, not all of it at least, and was not sent
--         {'taken'}    nothing written: the id is the name of another content
-- A lease is never shortened here: that an artifact was acknowledged until a deadline stays true.

-- A new artifact with new content, the most frequent case, needs ten commands, and not the library, which would be made
-- anew in every call. One digest in eight goes the long way all the same, which also drops expired members.
local pack = struct and struct.pack -- fakeredis has none
local is_new = pack and ARGV[7] == 'c' and string.byte(ARGV[3], 2) == 1 and string.byte(ARGV[3], 34) >= 32
if is_new and redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3]) == 0 then
  local call, id, run = redis.call, ARGV[2], ARGV[4]
  local time = call('TIME')
  local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local deadline, score, ends = 281474976710655, '+inf', '+inf'
  if ARGV[6] ~= '' then
    deadline = math.floor(us / 1000) + tonumber(ARGV[6])
    score, ends = string.format('%.0f', deadline), string.format('%.0f', math.ceil(deadline / 100) * 100)
  end

  -- Asked before an index is written: a new key would have no end either.
  local function ends_early(key)
    local at = call('PEXPIRETIME', key)
    return at ~= -1 and (ends == '+inf' or at < tonumber(ends))
  end

  -- An index that cannot be written leaves the others as they were; returns its error.
  local written = {}
  local function add(key, at, member)
    local reply = redis.pcall('ZADD', key, at, member)
    if type(reply) == 'table' then
      for i = 1, #written do
        call('ZREM', written[i], id)
      end
      return reply
    end
    written[#written + 1] = key
  end

  local function expire(key)
    if ends == '+inf' then
      call('PERSIST', key)
    else
      call('PEXPIREAT', key, ends)
    end
  end

  local catalog_moves, run_moves = ends_early(KEYS[5]), run ~= '' and ends_early(KEYS[7])
  local runs_move = run_moves and ends_early(KEYS[6])
  local failed = add(KEYS[4], string.format('%.0f', us), id)
    or add(KEYS[5], score, id)
    or (run ~= '' and add(KEYS[7], score, id))
    or (run_moves and add(KEYS[6], ends, run))
  if failed then
    return failed
  end
  local field, value = run == '' and '-' or '=' .. run, pack('>I6I7', deadline, us) .. ARGV[5]
  if ends == '+inf' then
    call('SET', KEYS[2], ARGV[8])
    call('HSET', KEYS[1], 'h', ARGV[3], field, value)
  else
    call('SET', KEYS[2], ARGV[8], 'PXAT', score)
    call('HSET', KEYS[1], 'h', ARGV[3], field, value)
    call('PEXPIREAT', KEYS[1], score)
  end
  if catalog_moves then
    expire(KEYS[4])
    expire(KEYS[5])
  end
  if run_moves then
    expire(KEYS[7])
  end
  if runs_move then
    expire(KEYS[6])
  end
  return { 'ok', us, deadline }
end

-- lib.lua
local us = now_in_microseconds()
local now = math.floor(us / 1000)
local at = { prefix = ARGV[1], runs = KEYS[6], created = KEYS[4], deadlines = KEYS[5] }
local artifact, content, leases, id, head, run = KEYS[1], KEYS[2], KEYS[3], ARGV[2], ARGV[3], ARGV[4]
local staging = ARGV[7] == 's' and KEYS[#KEYS]
local field = run == '' and '-' or '=' .. run

local old = call('HGET', artifact, 'h')
if old and not is_known(old) then
  return redis.error_reply(FUTURE)
end
if old and #old < 35 then
  return redis.error_reply(DAMAGED)
end
local replaced = old and digest_of(old) ~= digest_of(head)
if replaced and (is_named(old) or is_named(head)) then
  return { 'taken' }
end

local stored = content_head(content)
if stored ~= '' then
  if string.byte(stored, 1) ~= 1 then
    return redis.error_reply(FUTURE)
  elseif string.sub(stored, 11, 42) ~= digest_of(head) then
    return { 'taken' }
  end
end
local chunks = chunk_names(content, stored, content)
local known = is_complete(stored, chunks)
local staged = staging and content_head(staging) or ''
local staged_chunks = staging and chunk_names(content, staged, staging) or {}
if not known and (ARGV[7] == 'k' or (staging and not is_complete(staged, staged_chunks))) then
  return { 'need' }
end

local replaced_fields = replaced and call('HKEYS', artifact) or {}
if replaced then
  check_types(at, old, id, replaced_fields)
end
call('ZCARD', leases)
call('ZCARD', at.created)
local dead_artifacts = index_dead(at.deadlines, now)
local dead_runs = index_dead(at.runs, now)
local dead_leases = run == '' and {} or index_dead(KEYS[7], now)

local deadline = deadline_after(now, ARGV[6])
local before, longest
if old and not replaced then
  local mine = call('HGET', artifact, field)
  if mine and not is_damaged(mine) then
    deadline = math.max(deadline, lease_deadline(mine))
  end
  before = expiry(artifact)
  longest = math.max(deadline, before)
else
  longest = deadline
end

-- The first write is one that a full server refuses; after it, nothing fails.
if not known and not staging then
  if longest == FOREVER then
    call('SET', content, ARGV[8])
  else
    call('SET', content, ARGV[8], 'PXAT', integer(longest))
  end
end
call('HSET', artifact, 'h', head, field, bytes_of(deadline, 6) .. bytes_of(us, 7) .. ARGV[5])

if replaced then
  for i = 1, #replaced_fields do
    local name = replaced_fields[i]
    if name ~= 'h' and name ~= field then
      call('HDEL', artifact, name)
    end
    if string.sub(name, 1, 1) == '=' then
      run_drop(at, string.sub(name, 2), id)
    end
  end
  catalog_drop(at, id)
  content_drop(at, old, id, now)
elseif old and call('HLEN', artifact) > 2 then
  call('HSET', artifact, 't', field)
  leases_prune(artifact, now)
end
if longest ~= before then
  expire(artifact, longest)
end

if known then
  local held = expiry(content)
  if not held or held < longest then
    content_expire(content, chunks, longest)
  end
  if staging then
    call('UNLINK', staging)
    if chunks[1] ~= staged_chunks[1] then -- else it is this very upload, published by an earlier try
      over('UNLINK', staged_chunks)
    end
  end
else
  if chunks[1] ~= staged_chunks[1] then -- what is left of a content that lost a chunk
    over('UNLINK', chunks)
  end
  if staging then
    call('RENAME', staging, content)
    content_expire(content, staged_chunks, longest)
  end
end
if not is_named(head) then
  index_extend(leases, id, longest)
end

index_forget(at.runs, dead_runs)
if run ~= '' then
  index_forget(KEYS[7], dead_leases)
  run_extend(at, KEYS[7], run, id, deadline)
end
index_forget(at.deadlines, dead_artifacts)
index_forget(at.created, dead_artifacts)
catalog_extend(at, id, us, longest)
return { 'ok', us, deadline }
