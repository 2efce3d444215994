-- Stores one artifact for one run: content, lease, indexes and expiries, all or nothing.
--
-- KEYS[1] artifact   KEYS[2] content   KEYS[3] leases of the content   KEYS[4] catalog:created
-- KEYS[5] catalog:deadlines   KEYS[6] runs   KEYS[7] run, with a run   KEYS[#KEYS] staging, where ARGV[7] is 's'
-- ARGV[1] key prefix   ARGV[2] id   ARGV[3] head (see lib.lua)   ARGV[4] run, '' for anonymous
-- ARGV[5] msgpack of the lease   ARGV[6] TTL in ms, '' for ever
-- ARGV[7] where the content is: 'c' in ARGV[8], 's' under the staging key, 'k' nowhere: only if it is known already
-- Derived keys: the runs and the old content of an explicit id that is replaced.
--
-- Returns {'ok', created in us, deadline in ms}
--         {'need'}     nothing written: the content is not here and was not sent
--         {'taken'}    nothing written: the id is the name of another content
-- A lease is never shortened here: that an artifact was acknowledged until a deadline stays true.

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

local stored = call('GETRANGE', content, 0, 41) -- the envelope's version, codec, size and digest
if stored == '' then
  if ARGV[7] == 'k' or (staging and call('EXISTS', staging) == 0) then
    return { 'need' }
  end
elseif string.byte(stored, 1) ~= 1 then
  return redis.error_reply(FUTURE)
elseif string.sub(stored, 11, 42) ~= digest_of(head) then
  return { 'taken' }
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
if stored == '' and not staging then
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
  -- Expired leases of other runs: a sample each time, more while it finds many.
  for _ = 1, 16 do
    local sample, dead = call('HRANDFIELD', artifact, 8, 'WITHVALUES'), 0
    for i = 1, #sample, 2 do
      if is_lease(sample[i]) and lease_deadline(sample[i + 1]) <= now then
        dead = dead + call('HDEL', artifact, sample[i])
      end
    end
    if dead < 4 then
      break
    end
  end
end
if longest ~= before then
  expire(artifact, longest)
end

if stored ~= '' then
  local held = expiry(content)
  if not held or held < longest then
    expire(content, longest)
  end
  if staging then
    call('UNLINK', staging)
  end
elseif staging then
  call('RENAME', staging, content)
  expire(content, longest)
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
if healed then
  settle(at, artifact, id, head, now) -- the damage may have made more last for ever than the leases do
end
return { 'ok', us, deadline }
