-- Takes one run's lease on each artifact that is there, or makes its lease last as long.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4..] artifacts   KEYS[#KEYS] run, with a run
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] TTL in ms, '' for ever   ARGV[4..] ids, in the same order
-- Derived keys: the contents and their leases.
-- Returns for each: 1, or 0 where metadata or content are missing: nothing is changed there
-- A lease is never shortened. A new one gets content type and tags of the latest live one; an old one keeps its own,
-- and its time.

local us = now_in_microseconds()
local now = math.floor(us / 1000)
local at = { prefix = ARGV[1], runs = KEYS[3], created = KEYS[1], deadlines = KEYS[2] }
local run, count = ARGV[2], #ARGV - 3
local field = run == '' and '-' or '=' .. run
local deadline = deadline_after(now, ARGV[3])

local found, changes = {}, {}
for i = 1, count do
  local key, id = KEYS[i + 3], ARGV[i + 3]
  local head, _, latest = latest_lease(key, now)
  if head and not is_known(head) then
    return redis.error_reply(FUTURE)
  end
  local tag = head and tag_of(head, id)
  local content = head and at.prefix .. 'content:{' .. tag .. '}'
  local stored = head and content_head(content) or ''
  local chunks = chunk_names(content, stored, content)
  found[i] = is_complete(stored, chunks) and 1 or 0
  if found[i] == 1 then
    local mine = call('HGET', key, field)
    if mine and lease_deadline(mine) <= now then
      mine = nil
    end
    if is_damaged(latest) or (mine and is_damaged(mine)) then
      return redis.error_reply(DAMAGED)
    end
    if not mine or lease_deadline(mine) < deadline then
      local created = lease_created(latest)
      local leases = not is_named(head) and at.prefix .. 'leases:{' .. tag .. '}'
      if leases then
        call('ZCARD', leases)
      end
      changes[#changes + 1] = {
        key = key,
        id = id,
        mine = mine,
        latest = latest,
        created = mine and created or us,
        content = content,
        chunks = chunks,
        leases = leases,
      }
    end
  end
end
if #changes == 0 then
  return found
end
call('ZCARD', at.created)
local dead_artifacts = index_dead(at.deadlines, now, #changes)
local dead_runs = index_dead(at.runs, now)
local dead_leases = run == '' and {} or index_dead(KEYS[#KEYS], now, #changes)

-- The first write is one that a full server refuses; after it, nothing fails.
for i = 1, #changes do
  local key, mine, latest = changes[i].key, changes[i].mine, changes[i].latest
  if mine then
    call('HSET', key, field, bytes_of(deadline, 6) .. string.sub(mine, 7))
  else
    call('HSET', key, field, bytes_of(deadline, 6) .. bytes_of(us, 7) .. string.sub(latest, 14), 't', field)
    leases_prune(key, now)
  end
end
index_forget(at.runs, dead_runs)
index_forget(at.deadlines, dead_artifacts)
index_forget(at.created, dead_artifacts)
if run ~= '' then
  index_forget(KEYS[#KEYS], dead_leases)
end
for i = 1, #changes do
  local change = changes[i]
  local before = expiry(change.key)
  local longest = math.max(deadline, before)
  if longest ~= before then
    expire(change.key, longest)
  end
  if expiry(change.content) < longest then
    content_expire(change.content, change.chunks, longest)
  end
  if change.leases then
    index_extend(change.leases, change.id, longest)
  end
  if run ~= '' then
    run_extend(at, KEYS[#KEYS], run, change.id, deadline)
  end
  catalog_extend(at, change.id, change.created, longest)
end
return found
