#!lua
-- Stores artifacts for one run: content, lease, indexes and expiries; each artifact all or nothing.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run
-- KEYS[5..] for each artifact, all different, six keys: artifact, leases, stores, content, needs, default artifact of
--   the content
-- KEYS[..] staging, where ARGV[4] is 'staged'
-- KEYS[..] a key that is never written, see lib/keys.lua
-- KEYS[..] old content, its needs, its default artifact, and a key for leases to be forgotten, where a content is known
--   to be replaced
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] TTL in ms, '' for ever
-- ARGV[4] where the contents are: 'inline' in ARGV, 'staged' under the staging key (of one artifact), 'known' nowhere:
--   only if they are there and whole, 'placed' likewise, with the TTL of an upload, 'held' likewise, in chunks on hold
-- ARGV[5..] for each artifact: member, header, msgpack of the lease, sealed content or ''
-- Behind these, where one of them is given, five more, or six with the last, '' for none:
--   deadline in ms instead of the TTL
--   note: 'staged': until when the chunks last, in ms; 'held': the hold
--   content id (16 bytes) of what is known to be replaced
--   condition (of one artifact): 'absent', or the SHA-256 of what is replaced; the bytes of the lease end with this
--     call's own token then
--   '1' where the run's own lease may get shorter
--   what to index from now on where the partition is empty, see lib/labels.lua
-- Derived keys, only cleaned up: indexes of the runs that leased what is replaced; artifacts and contents that have
--   expired. Indexes by label are written.
--
-- Returns for each: deadline and created, as they begin its lease, where there is no more to tell
--                   {'ok', created in us, deadline in ms, told, token, count}
--                     told: 1 where all runs know that their leases on what was replaced ended, else see forget.lua
--                     token, count: chunks that were replaced, which have to follow, see follow.lua; or nothing
--                   {'need'}                     nothing written: the content is not here and was not sent
--                   {'chunked', token, count, us}   nothing written: the chunks have to be held, see hold.lua; us:
--                     the server's time
--                   {'short', deadline}          nothing written: the staged chunks have to last until then
--                   {'other', content id}        nothing written: the id stands for this content, which has to be known
--                   {'taken'}                    nothing written: the id is the name of another content
--                   {'later'}                    nothing written, because of another one that is taken
--                   {'conflict', header, lease field, lease}   nothing written, and what was staged is gone: the
--                     condition is not met, because of the latest live lease; or {'conflict'}, where there is none
-- No other run's lease is shortened here, and the run's own only where it says so: that an artifact was acknowledged
-- until a deadline stays true.

local call = redis.call
local run, where = ARGV[2], ARGV[4]
local time = call('TIME')
local us = time[1] * 1000000 + time[2]
local now = math.floor(us / 1000)

local rest = #ARGV % 4 -- none, or five or six
local more = rest > 0 and #ARGV - 4 - rest
local count = math.floor(((more or #ARGV) - 4) / 4)
local fixed, note, replacing, condition, exact, wish = '', '', '', '', '', nil
if more then
  fixed, note, replacing, condition, exact, wish = unpack(ARGV, more + 1)
end
local results, wrote = {}, false
-- Expired members go with one artifact in thirty-two, so with each batch of as many. The clock says which: the same
-- content may come again and again.
local pruning = us % 32 < count
local prunes = pruning

-- The short way of many: for default ids of which nothing is there, or all as it was sent. It takes few commands and
-- nothing of the library, which is made anew in every call that reaches it. What is otherwise it leaves to the long way
-- below, and undoes what it has written where something is found there that makes the call fail: so what is there
-- already is written last. One artifact goes through store_small.lua before it comes here.
local finish, undo
local indexed = wish and call('EXISTS', KEYS[1]) == 0
if where == 'inline' and condition == '' and exact ~= '1' and not indexed then
  local created, deadlines, runs, run_index = KEYS[1], KEYS[2], KEYS[3], run ~= '' and KEYS[4]
  local deadline, score, ends = 281474976710655, '+inf', math.huge
  if ARGV[3] ~= '' then
    deadline = now + tonumber(ARGV[3])
    -- A number may become text like 1.8e+12 on its way to a command: fine for a score, not for an expiry.
    score, ends = string.format('%.0f', deadline), math.ceil(deadline / 100) * 100
  end
  if call('ZCOUNT', created, us, '+inf') > 0 then -- the clock went back, or something is indexed by label
    local last = call('ZRANGE', created, '(9007199254740992', us, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
    us = last and tonumber(last) + 1 or us
    indexed = call('ZCOUNT', created, 9007199254740992, '+inf') > 0 -- see is_marked
  end
  -- Asked before an index is written: a new one would have no end either. No run's index ends after the catalog.
  local at = call('PEXPIRETIME', run_index or deadlines)
  local catalog_moves = at ~= -1 and at < ends
  local run_moves, runs_move = run_index and catalog_moves, false
  if run_moves then
    at = call('PEXPIRETIME', deadlines)
    catalog_moves = at ~= -1 and at < ends
    at = call('PEXPIRETIME', runs)
    runs_move = at ~= -1 and at < ends
  end
  if pruning or run_moves then
    call('ZCARD', runs) -- raises where it is of another type
  end

  local field, by_deadline, artifacts, known = run == '' and '-' or '=' .. run, {}, {}, nil

  -- How long its leases last, and whether the hash is to say which of them is the latest: of an artifact that few lease
  -- and whose content is there as it was sent. Nil for any other, and where a lease lasts longer than this one is to.
  local function known_as_sent(artifact, content, id, header, sealed)
    local lease = redis.pcall('HMGET', artifact, 'h', field)
    local mine = lease[2]
    if lease[1] ~= header or mine and (#mine < 13 or struct.unpack('>I6', mine) > deadline) then
      return nil
    end
    local fields, before = call('HLEN', artifact), tonumber(redis.pcall('ZSCORE', deadlines, id))
    if
      before
      and math.min(281474976710655, before) <= deadline
      and fields < 65
      and redis.pcall('STRLEN', content) == #sealed
      and redis.pcall('GETRANGE', content, 0, 49) == string.sub(sealed, 1, 50)
    then
      return before, fields > (mine and 2 or 1)
    end
    return nil
  end

  for i = 1, count do
    artifacts[i] = KEYS[6 * i - 1]
  end
  local none = call('EXISTS', unpack(artifacts)) == 0 -- as mostly; else each is asked about
  for i = 1, count do
    local key, argument = 6 * i - 1, 4 * i + 1
    local artifact, content, id, sealed = artifacts[i], KEYS[key + 3], ARGV[argument], ARGV[argument + 3]
    local sent = false
    if artifact == KEYS[key + 5] and (none or call('EXISTS', artifact) == 0) then
      if score == '+inf' then
        sent = call('SET', content, sealed, 'NX')
      else
        sent = call('SET', content, sealed, 'NX', 'PXAT', score)
      end
    end
    if sent then
      if call('ZADD', created, 'NX', us + i - 1, id) == 1 then
        local times = struct.pack('>I6I7', deadline, us + i - 1)
        call('HSET', artifact, 'h', ARGV[argument + 1], field, times .. ARGV[argument + 2])
        if score ~= '+inf' then
          call('PEXPIREAT', artifact, score)
        end
        by_deadline[#by_deadline + 1], by_deadline[#by_deadline + 2] = score, id
        results[i] = times
      else -- the catalog names what is not there
        call('UNLINK', content)
      end
    elseif artifact == KEYS[key + 5] and not indexed then
      local before, noted = known_as_sent(artifact, content, id, ARGV[argument + 1], sealed)
      if before then
        known = known or { by_created = {}, by_deadline = {}, by_run = {}, noted = {} }
        results[i] = struct.pack('>I6I7', deadline, us + i - 1)
        known[i], known.noted[i] = true, noted
        local n = #known.by_run
        known.by_created[n + 1], known.by_created[n + 2] = us + i - 1, id
        known.by_run[n + 1], known.by_run[n + 2] = score, id
        if before < deadline then
          n = #known.by_deadline
          known.by_deadline[n + 1], known.by_deadline[n + 2] = score, id
        end
      end
    end
  end

  local reply = #by_deadline
  wrote = reply > 0 or known
  if reply > 0 then
    reply = redis.pcall('ZADD', deadlines, unpack(by_deadline))
    if run_index and type(reply) == 'number' then
      reply = redis.pcall('ZADD', run_index, unpack(by_deadline))
    end
  elseif known and run_index then
    reply = redis.pcall('ZCARD', run_index)
  end
  function undo() -- as if nothing had been written
    for i = 1, count do
      if type(results[i]) == 'string' and not (known and known[i]) then -- else it is what the long way says of it
        local id = ARGV[4 * i + 1]
        call('UNLINK', KEYS[6 * i - 1], KEYS[6 * i + 2])
        call('ZREM', created, id)
        redis.pcall('ZREM', deadlines, id)
        redis.pcall('ZREM', run_index or deadlines, id)
      end
    end
  end
  function finish() -- the indexes last long enough
    local function expire(key)
      if score == '+inf' then
        call('PERSIST', key)
      else
        call('PEXPIREAT', key, string.format('%.0f', ends))
      end
    end
    if known then
      call('ZADD', created, unpack(known.by_created))
      if known.by_deadline[1] then
        call('ZADD', deadlines, unpack(known.by_deadline))
      end
      if run_index then
        call('ZADD', run_index, unpack(known.by_run))
      end
      for i = 1, count do
        if known[i] then
          local artifact, content = KEYS[6 * i - 1], KEYS[6 * i + 2]
          call('HSET', artifact, field, results[i] .. ARGV[4 * i + 3])
          if known.noted[i] then
            call('HSET', artifact, 't', field)
          end
          if score == '+inf' then
            call('PERSIST', artifact)
            call('PERSIST', content)
          else
            call('PEXPIREAT', artifact, score, 'GT')
            call('PEXPIREAT', content, score, 'GT')
          end
        end
      end
    end
    if catalog_moves then
      expire(created)
      expire(deadlines)
    end
    if run_moves then
      expire(run_index)
      call('ZADD', runs, ends == math.huge and '+inf' or ends, run)
    end
    if runs_move then
      expire(runs)
    end
  end
  if type(reply) ~= 'number' then -- an index is of another type
    undo()
    return reply
  end
  if (#by_deadline + (known and #known.by_run or 0)) == 2 * count and not (pruning or indexed) then
    finish()
    return results
  end
end

-- @include artifact
local staging = where == 'staged' and KEYS[6 * count + 5]
local field, labels = lease_field(run), nil

-- Where the content is to come from: nil and 'there', 'inline' or 'staged'; or why it cannot be had. `chunks`: of the
-- content that is there; `whole`: whether there is one.
local function source_of(a, whole, chunks, longest)
  if where == 'staged' then
    local staged = content_start(staging)
    if staged ~= '' and (not chunks or chunks[1] ~= string.sub(staging, -16)) then
      if whole and not chunks then
        return nil, 'there'
      elseif is_manifest(staged) and math.max(longest, content_needed(a)) > tonumber(note) then
        return { 'short', math.max(longest, content_needed(a)) }
      end
      return nil, 'staged'
    elseif chunks and chunks[1] == string.sub(staging, -16) and longest <= (expiry(a.content) or 0) then
      return nil, 'there' -- published by an earlier try
    end
  elseif where == 'held' and chunks then
    local until_ = call('ZSCORE', a.needs, note)
    if until_ and (longest <= expiry(a.content) or longest <= math.min(FOREVER, tonumber(until_))) then
      return nil, 'there'
    end
  end
  if chunks then
    return { 'chunked', chunks[1], chunks[2], us }
  elseif whole then
    return nil, 'there'
  elseif where == 'inline' then
    return nil, 'inline'
  end
  return { 'need' }
end

-- What stands against the condition, as it is returned; nil where it is met, or was by an earlier try of this call.
local function unmet(a, view)
  local header, latest, lease = latest_lease(a, now)
  local mine = header and call('HGET', a.key, field)
  if mine and string.sub(mine, -8) == string.sub(view, -8) then
    return nil
  elseif condition == 'absent' then
    return header and { 'conflict', header, latest, lease } or nil
  elseif not header or digest_of(header) ~= condition then
    return { 'conflict', header, latest, lease }
  end
  return nil
end

-- Ends what an explicit id stood for. The catalog keeps its member, which is written anew: with its last one a
-- partition would forget what it indexes.
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
  need_drop(old, a.id)
  content_settle(old, now)
end

-- Looks at one artifact: returns what stands against storing it, or nil and what stores it and returns the result.
local function store(a, header, view, sealed, created)
  local old = call('HGET', a.key, 'h')
  if old then
    check_header(old)
  end
  local conflict = condition ~= '' and unmet(a, view)
  if conflict then
    if staging then
      call('UNLINK', staging)
    end
    return conflict
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
  local names = labels and labels.with(a, a.labels, field, encode_lease(0, 0, view), replaced)
  local deadline = fixed ~= '' and tonumber(fixed) or deadline_after(now, ARGV[3])
  local before, longest, settling = nil, deadline, false
  if old and not replaced then
    local mine = call('HGET', a.key, field)
    if mine and is_damaged(mine) then
      settling = true -- the damage may have made more last for ever than the leases do
    elseif mine and exact == '1' then
      settling = lease_deadline(mine) > deadline
    elseif mine then
      deadline = math.max(deadline, lease_deadline(mine))
    end
    before = catalog_deadline(a)
    longest = math.max(deadline, before)
  end
  local chunks, whole = chunks_of(a.content, start), is_whole(a.content, start, header)
  local refused, source = source_of(a, whole, whole and chunks, longest)
  if refused then
    return refused
  end

  return nil, function() -- nothing fails in it
    if pruning then
      pruning = false
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
      need_drop(a, note)
    end
    if is_explicit(a) then
      index_extend(a.needs, a.id, longest)
    end
    run_extend(a.id, deadline)
    if labels then
      labels.drop(a.id, a.labels or {}, names)
      a.labels = names
    end
    if replaced then -- it may end earlier than before
      catalog_set(a.id, created, longest, deadline)
      if labels then
        labels.set(a.id, names, created, longest)
      end
    else
      catalog_extend(a.id, created, longest, deadline)
      if labels then
        labels.extend(a.id, names, created, longest, prunes)
      end
    end
    if settling then
      if run ~= '' then
        run_settle(at.runs, run, at.run_index)
      end
      artifact_settle(a, many or crowded, now)
    end
    local told = replaced and not buried and 1 or 0
    if source ~= 'there' and chunks then
      return { 'ok', created, deadline, told, chunks[1], chunks[2] }
    end
    return { 'ok', created, deadline, told }
  end
end

-- Nothing is written before all of them were looked at, and nothing at all where one is refused.
local writes, refused = {}, false
local function look()
  check_partition(wish)
  labels, us = at.labels, next_created(us)
  for i = 1, count do
    local argument = 4 * i + 1
    if results[i] and labels then -- it went the short way
      labels.take(ARGV[argument], results[i] .. ARGV[argument + 2])
    elseif not results[i] then
      results[i], writes[i] = store(
        artifact_at(6 * i - 1, ARGV[argument]),
        ARGV[argument + 1],
        ARGV[argument + 2],
        ARGV[argument + 3],
        us + i - 1
      )
      refused = refused or results[i] and results[i][1] == 'taken'
    end
  end
end
local passed, reason = pcall(look)
if wrote and (refused or not passed) then
  undo()
end
if not passed then
  error(reason, 0)
elseif refused then
  for i = 1, count do
    if writes[i] or type(results[i]) == 'string' then
      results[i] = { 'later' }
    end
  end
  return results
elseif wrote then
  finish()
  if labels then
    labels.note(prunes)
  end
end
for i = 1, count do
  if writes[i] then
    if labels then
      labels.begin()
    end
    results[i] = writes[i]()
  end
end
if pruning and wrote then -- none of them went the long way, which prunes by itself
  partition_prune(now, count)
end
return results
