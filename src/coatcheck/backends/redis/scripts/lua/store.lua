#!lua
-- Stores artifacts for one run: content, lease, indexes and expiries; each artifact all or nothing.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run
-- KEYS[5..] for each artifact six keys: artifact, leases, stores, content, needs, default artifact of the content
-- KEYS[..] staging, where ARGV[5] is 'staged'
-- KEYS[..] a key that is never written, see lib/keys.lua
-- KEYS[..] old content, its needs, its default artifact, and a key for leases to be forgotten, where ARGV[7] is given
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] TTL in ms, '' for ever
-- ARGV[4] deadline in ms instead of the TTL, or ''
-- ARGV[5] where the contents are: 'inline' in ARGV, 'staged' under the staging key (of one artifact), 'known' nowhere:
--   only if they are there, 'placed' likewise, with the TTL of an upload, 'held' likewise, in chunks that a hold keeps
-- ARGV[6] 'staged': until when the chunks last, in ms; 'held': the hold
-- ARGV[7] content id (16 bytes) of what is known to be replaced, or ''
-- ARGV[8..] for each artifact: id, header, msgpack of the lease, sealed content or ''
-- Derived keys, only cleaned up: indexes of the runs that leased what is replaced.
--
-- Returns for each: {'ok', created in us, deadline in ms, told, token, count}
--                     told: 1 where all runs know that their leases on what was replaced ended, else see forget.lua
--                     token, count: chunks that were replaced, which have to follow, see follow.lua; or nothing
--                   {'need'}                     nothing written: the content is not here and was not sent
--                   {'chunked', token, count}    nothing written: the chunks have to be held, see hold.lua
--                   {'short', deadline}          nothing written: the staged chunks have to last until then
--                   {'other', content id}        nothing written: the id stands for this content, see ARGV[7]
--                   {'taken'}                    nothing written: the id is the name of another content
-- A lease is never shortened here: that an artifact was acknowledged until a deadline stays true.

local call = redis.call
local count, run, where = (#ARGV - 7) / 4, ARGV[2], ARGV[5]
local time = call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(us / 1000)
local results = {}

-- Fast path: everything is new. It needs few commands and nothing of the library, which a server makes anew in every
-- call. Numbers may become text like 1.8e+12 on their way to a command: fine for a score, not for an expiry.
local new, others, seen = {}, {}, {}
if where == 'inline' then
  local nothing_known = call('EXISTS', unpack(KEYS, 5, 6 * count + 4)) == 0
  for i = 1, count do
    local first = 6 * i - 1
    local artifact = KEYS[first]
    if
      artifact == KEYS[first + 5]
      and not seen[artifact]
      and (nothing_known or call('EXISTS', unpack(KEYS, first, first + 5)) == 0)
    then
      new[#new + 1] = i
    else
      others[#others + 1] = i
    end
    seen[artifact] = true
  end
end

if #new > 0 then
  local deadline, score, ends = 281474976710655, '+inf', math.huge
  if ARGV[3] ~= '' then
    deadline = now + tonumber(ARGV[3])
    score, ends = string.format('%.0f', deadline), math.ceil(deadline / 100) * 100
  end
  local run_index = run ~= '' and KEYS[4]
  local last = call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  if last and tonumber(last) < 9007199254740992 then -- see is_created
    us = math.max(us, tonumber(last) + 1)
  end

  -- Expired members go with every batch, and with one single store in eight: the clock says which: the same content
  -- may come again and again.
  if count > 1 or us % 8 == 0 then
    local function drop_expired(key, twin)
      local dead = call('ZRANGE', key, '-inf', now, 'BYSCORE', 'LIMIT', 0, 63 + count)
      if #dead > 0 then
        call('ZREM', key, unpack(dead))
        if twin then
          call('ZREM', twin, unpack(dead))
        end
      end
    end
    if run_index then
      call('ZCARD', KEYS[2])
      call('ZCARD', KEYS[3])
      drop_expired(run_index)
      drop_expired(KEYS[3])
    end
    drop_expired(KEYS[2], KEYS[1])
  end

  -- Asked before an index is written: a new key would have no end either.
  local function ends_early(key)
    local at = call('PEXPIRETIME', key)
    return at ~= -1 and at < ends
  end
  local catalog_moves, run_moves = ends_early(KEYS[2]), run_index and ends_early(run_index)
  local runs_move = run_moves and ends_early(KEYS[3])

  -- An index that cannot be written leaves the others as they were; returns its error.
  local ids, by_time, by_deadline = {}, {}, {}
  for n = 1, #new do
    local id = ARGV[4 * new[n] + 4]
    ids[n] = id
    by_time[2 * n - 1], by_time[2 * n] = us + new[n] - 1, id
    by_deadline[2 * n - 1], by_deadline[2 * n] = score, id
  end
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

  local field, ending = run == '' and '-' or '=' .. run, struct.pack('>I6', deadline)
  for n = 1, #new do
    local i = new[n]
    local artifact, content, created = KEYS[6 * i - 1], KEYS[6 * i + 2], us + i - 1
    if score == '+inf' then
      call('SET', content, ARGV[4 * i + 7])
    else
      call('SET', content, ARGV[4 * i + 7], 'PXAT', score)
    end
    local lease = ending .. struct.pack('>I7', created) .. ARGV[4 * i + 6]
    call('HSET', artifact, 'h', ARGV[4 * i + 5], field, lease)
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
  if #others == 0 then
    return results
  end
end

-- @include artifact
local staging = where == 'staged' and KEYS[6 * count + 5]
local replacing = ARGV[7]
local field = lease_field(run)
check_partition()
us = next_created(us)
local pruned = count == 1 and us % 8 ~= 0

-- Where the content is to come from: nil and 'there', 'inline' or 'staged'; or why it cannot be had.
local function source_of(a, start, chunks, longest)
  if where == 'staged' then
    local staged = content_start(staging)
    if staged ~= '' and (not chunks or chunks[1] ~= string.sub(staging, -16)) then
      if #start >= 42 and not chunks then
        return nil, 'there'
      elseif is_manifest(staged) and math.max(longest, content_needed(a)) > tonumber(ARGV[6]) then
        return { 'short', math.max(longest, content_needed(a)) }
      end
      return nil, 'staged'
    elseif chunks and chunks[1] == string.sub(staging, -16) and longest <= (expiry(a.content) or 0) then
      return nil, 'there' -- published by an earlier try
    end
  elseif where == 'held' and chunks then
    local until_ = call('ZSCORE', a.needs, ARGV[6])
    if until_ and (longest <= expiry(a.content) or longest <= math.min(FOREVER, tonumber(until_))) then
      return nil, 'there'
    end
  end
  if chunks then
    return { 'chunked', chunks[1], chunks[2] }
  elseif #start >= 42 then
    return nil, 'there'
  elseif where == 'inline' then
    return nil, 'inline'
  end
  return { 'need' }
end

-- Ends what an explicit id stood for.
local function replace(a, many, fields)
  local first = #KEYS - 3
  local old = { content = KEYS[first], needs = KEYS[first + 1], named = KEYS[first + 2] }
  if many then
    leases_bury(a, KEYS[first + 3])
  end
  call('UNLINK', a.key, a.leases, a.stores)
  for _, name in ipairs(fields) do
    if string.sub(name, 1, 1) == '=' then
      run_drop(string.sub(name, 2), a.id)
    end
  end
  catalog_drop({ a.id })
  need_drop(old, a.id)
  content_settle(old, now)
end

local function store(a, header, view, sealed, created)
  local old = call('HGET', a.key, 'h')
  if old then
    check_header(old)
  end
  local replaced = old and digest_of(old) ~= digest_of(header)
  local start = content_start(a.content)
  if start ~= '' and not is_known(start) then
    error(FUTURE)
  end
  if (replaced and not is_explicit(a)) or (#start >= 42 and content_digest(start) ~= digest_of(header)) then
    return { 'taken' }
  end
  if replaced and content_id_of(old) ~= replacing then
    return { 'other', content_id_of(old) }
  end

  local many = old and has_many(a, now)
  if replaced then
    call('STRLEN', KEYS[#KEYS - 3])
    call('ZCARD', KEYS[#KEYS - 2])
  end
  local replaced_fields = replaced and not many and call('HKEYS', a.key) or {}
  check_artifact(a, replaced_fields)
  local deadline = ARGV[4] ~= '' and tonumber(ARGV[4]) or deadline_after(now, ARGV[3])
  local before, longest, healed = nil, deadline, false
  if old and not replaced then
    local mine = call('HGET', a.key, field)
    healed = mine and is_damaged(mine)
    if mine and not healed then
      deadline = math.max(deadline, lease_deadline(mine))
    end
    before = catalog_deadline(a)
    longest = math.max(deadline, before)
  end
  local chunks = chunks_of(a.content, start)
  local refused, source = source_of(a, start, chunks, longest)
  if refused then
    return refused
  end

  -- From here on nothing fails.
  if not pruned then
    pruned = true
    partition_prune(now, count)
  end
  local buried = replaced and many
  if replaced then
    replace(a, many, replaced_fields)
    many = false
  end
  if is_explicit(a) then
    index_prune(a.needs, now)
  end
  if source == 'inline' or source == 'staged' then
    local needed = math.max(longest, content_needed(a))
    if source == 'inline' then
      call('SET', a.content, sealed)
    else
      call('RENAME', staging, a.content)
    end
    expire(a.content, needed)
  elseif where == 'placed' then -- with the TTL of an upload, unless it was there
    expire(a.content, math.max(longest, content_needed(a)))
  else
    content_extend(a, longest)
    if staging then
      call('UNLINK', staging)
    end
  end
  local crowded = lease_put_latest(a, many, header, field, encode_lease(deadline, created, view), now)
  if longest ~= before or crowded then
    leases_expire(a, longest)
  end
  if where == 'held' then
    need_drop(a, ARGV[6])
  end
  if is_explicit(a) then
    index_extend(a.needs, a.id, longest)
  end
  run_extend(a.id, deadline)
  catalog_extend(a.id, created, longest)
  if healed then
    artifact_settle(a, many or crowded, now) -- the damage may have made more last for ever than the leases do
  end
  local told = replaced and not buried and 1 or 0
  if source == 'staged' and chunks then
    return { 'ok', created, deadline, told, chunks[1], chunks[2] }
  end
  return { 'ok', created, deadline, told }
end

if #new == 0 then
  for i = 1, count do
    others[i] = i
  end
end
for n = 1, #others do
  local i = others[n]
  local argument = 4 * i + 4
  results[i] = store(
    artifact_at(6 * i - 1, ARGV[argument]),
    ARGV[argument + 1],
    ARGV[argument + 2],
    ARGV[argument + 3],
    us + i - 1
  )
end
return results
