-- Stores artifacts for one run: content, lease, indexes and expiries; each artifact all or nothing.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs
-- KEYS[4..] for each artifact: artifact, content, leases of the content
-- KEYS[..] run, with a run   KEYS[#KEYS] staging, where ARGV[4] is 's'
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] TTL in ms, '' for ever
-- ARGV[4] where the contents are: 'c' in ARGV, 's' under the staging key (of one artifact), 'k' nowhere: only if known,
--   'p' in place already, with the TTL of an upload unless it was known
-- ARGV[5..] for each artifact: id, head (see lib.lua), msgpack of the lease, sealed content or ''
-- Derived keys: the runs and the old content of an explicit id that is replaced; chunks.
--
-- Returns for each: {'ok', created in us, deadline in ms}
--                   {'need'}     nothing written: the content is not here and was not sent
--                   {'taken'}    nothing written: the id is the name of another content
-- A lease is never shortened here: that an artifact was acknowledged until a deadline stays true.

local call, pack = redis.call, struct.pack
local count, run, where = (#ARGV - 4) / 4, ARGV[2], ARGV[4]
local run_index = run ~= '' and KEYS[3 * count + 4]
local time = call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(us / 1000)
local results = {}

-- What is entirely new, the most frequent case, needs few commands, and not the library, which would be made anew in
-- every call. Numbers may become text like 1.8e+12 on their way to a command: fine for a score, not for an expiry.
local nothing_known = where == 'c' and call('EXISTS', unpack(KEYS, 4, 3 * count + 3)) == 0

-- Content that was put in place is as good as new while nothing needs it.
local function is_new(i)
  local content = KEYS[3 * i + 2]
  if where == 'c' then
    return nothing_known or call('EXISTS', KEYS[3 * i + 1], content, KEYS[3 * i + 3]) == 0
  elseif where ~= 'p' or call('EXISTS', KEYS[3 * i + 1], KEYS[3 * i + 3]) ~= 0 then
    return false
  end
  local stored = call('GETRANGE', content, 0, 41)
  local version, codec = string.byte(stored, 1, 2)
  return #stored == 42 and version == 1 and codec < 2 and string.sub(stored, 11) == string.sub(ARGV[4 * i + 2], 3, 34)
end

local new, others, seen = {}, {}, {}
for i = 1, count do
  local artifact = KEYS[3 * i + 1]
  if string.byte(ARGV[4 * i + 2], 2) == 1 and not seen[artifact] and is_new(i) then
    new[#new + 1] = i
  else
    others[#others + 1] = i
  end
  seen[artifact] = true
end

if #new > 0 then
  local deadline, score, ends = 281474976710655, '+inf', math.huge
  if ARGV[3] ~= '' then
    deadline = now + tonumber(ARGV[3])
    score, ends = string.format('%.0f', deadline), math.ceil(deadline / 100) * 100
  end
  local ids, by_time, by_deadline = {}, {}, {}
  for n = 1, #new do
    local id = ARGV[4 * new[n] + 1]
    ids[n] = id
    by_time[2 * n - 1], by_time[2 * n] = us + new[n] - 1, id
    by_deadline[2 * n - 1], by_deadline[2 * n] = score, id
  end

  -- Expired members go with every batch, and with one single store in eight.
  if count > 1 or string.byte(ARGV[6], 34) < 32 then
    local function drop_expired(key, twin)
      local dead = call('ZRANGE', key, '-inf', now, 'BYSCORE', 'LIMIT', 0, 63 + count)
      if #dead > 0 then
        call('ZREM', key, unpack(dead))
        if twin then
          call('ZREM', twin, unpack(dead))
        end
      end
    end
    call('ZCARD', KEYS[1])
    drop_expired(KEYS[2], KEYS[1])
    if run_index then
      call('ZCARD', KEYS[3])
      drop_expired(run_index)
      drop_expired(KEYS[3])
    end
  end

  -- Asked before an index is written: a new key would have no end either.
  local function ends_early(key)
    local at = call('PEXPIRETIME', key)
    return at ~= -1 and at < ends
  end
  local catalog_moves, run_moves = ends_early(KEYS[2]), run_index and ends_early(run_index)
  local runs_move = run_moves and ends_early(KEYS[3])

  -- An index that cannot be written leaves the others as they were; returns its error.
  local written = {}
  local function add(key, members)
    local reply = redis.pcall('ZADD', key, unpack(members))
    if type(reply) == 'table' then
      for i = 1, #written do
        call('ZREM', written[i], unpack(ids))
      end
      return reply
    end
    written[#written + 1] = key
  end
  local failed = add(KEYS[1], by_time)
    or add(KEYS[2], by_deadline)
    or (run_index and add(run_index, by_deadline))
    or (run_moves and add(KEYS[3], { ends == math.huge and '+inf' or ends, run }))
  if failed then
    return failed
  end

  local field, ending = run == '' and '-' or '=' .. run, pack('>I6', deadline)
  for n = 1, #new do
    local i = new[n]
    local artifact, content, created = KEYS[3 * i + 1], KEYS[3 * i + 2], us + i - 1
    if where == 'p' then
      if score == '+inf' then
        call('PERSIST', content)
      else
        call('PEXPIREAT', content, score)
      end
    elseif score == '+inf' then
      call('SET', content, ARGV[4 * i + 4])
    else
      call('SET', content, ARGV[4 * i + 4], 'PXAT', score)
    end
    call('HSET', artifact, 'h', ARGV[4 * i + 2], field, ending .. pack('>I7', created) .. ARGV[4 * i + 3])
    if score ~= '+inf' then
      call('PEXPIREAT', artifact, score)
    end
    results[i] = { 'ok', created, deadline }
  end

  local function expire(key)
    if score == '+inf' then
      call('PERSIST', key)
    else
      call('PEXPIREAT', key, string.format('%.0f', ends))
    end
  end
  if catalog_moves then
    expire(KEYS[1])
    expire(KEYS[2])
  end
  if run_moves then
    expire(run_index)
  end
  if runs_move then
    expire(KEYS[3])
  end
end
if #others == 0 then
  return results
end

-- lib.lua
local at = { prefix = ARGV[1], runs = KEYS[3], created = KEYS[1], deadlines = KEYS[2] }
local staging = where == 's' and KEYS[#KEYS]
local field = run == '' and '-' or '=' .. run

local function store(artifact, content, leases, id, head, view, sealed, us)
  local old = call('HGET', artifact, 'h')
  if old and not is_known(old) then
    return redis.error_reply(FUTURE)
  end
  if old and #old < 35 then
    return redis.error_reply(DAMAGED)
  end
  local replaced = old and digest_of(old) ~= digest_of(head)
  if replaced and (is_named(old) or is_named(head)) then
    if where == 'p' and string.sub(content_head(content), 11, 42) == digest_of(head) then
      content_settle(at, tag_of(head, id), digest_of(head), now) -- what was put in place for nothing
    end
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
  if not known and (where == 'k' or where == 'p' or (staging and not is_complete(staged, staged_chunks))) then
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
  local dead_leases = run == '' and {} or index_dead(run_index, now)

  local deadline = deadline_after(now, ARGV[3])
  local before, longest, healed
  if old and not replaced then
    local mine = call('HGET', artifact, field)
    healed = mine and is_damaged(mine)
    if mine and not healed then
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
      call('SET', content, sealed)
    else
      call('SET', content, sealed, 'PXAT', integer(longest))
    end
  end
  call('HSET', artifact, 'h', head, field, bytes_of(deadline, 6) .. bytes_of(us, 7) .. view)

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
    catalog_drop(at, { id })
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
  if where == 'p' then
    content_settle(at, tag_of(head, id), digest_of(head), now)
  end

  index_forget(at.runs, dead_runs)
  if run ~= '' then
    index_forget(run_index, dead_leases)
    run_extend(at, run_index, run, id, deadline)
  end
  index_forget(at.deadlines, dead_artifacts)
  index_forget(at.created, dead_artifacts)
  catalog_extend(at, id, us, longest)
  if healed then
    settle(at, artifact, id, head, now) -- the damage may have made more last for ever than the leases do
  end
  return { 'ok', us, deadline }
end

for n = 1, #others do
  local i = others[n]
  local key, argument = 3 * i, 4 * i
  local reply = store(
    KEYS[key + 1],
    KEYS[key + 2],
    KEYS[key + 3],
    ARGV[argument + 1],
    ARGV[argument + 2],
    ARGV[argument + 3],
    ARGV[argument + 4],
    us + i - 1
  )
  if reply.err then
    return reply
  end
  results[i] = reply
end
return results
