#!lua
-- Takes one run's lease on each artifact that is there, or makes its lease last as long.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run
-- KEYS[5..] for each artifact six keys: artifact, leases, stores, content, needs, default artifact of the content
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] TTL in ms, '' for ever
-- ARGV[4] deadline in ms instead of the TTL, or ''   ARGV[5] hold (of one artifact), or ''
-- ARGV[6..] for each artifact: member, content id (16 bytes)
-- Derived keys, only cleaned up: artifacts and contents that have expired. Indexes by label are written.
-- Returns for each: {'ok'}
--                   {'absent'}                   metadata or content are missing, or cut off; nothing is changed
--                   {'other', content id}        nothing written: the id stands for this content
--                   {'chunked', token, count, us}   nothing written: the chunks have to be held, see hold.lua; us:
--                     the server's time
--                   {'later'}                    nothing written: another one asks for a call that knows more, see
--                     lib/postponed.lua
-- A lease is never shortened. A new one gets content type and tags of the latest live one; an old one keeps its own,
-- and its time.

-- @include artifact
-- @include postponed

local us = now_in_microseconds()
local now = math.floor(us / 1000)
local field = lease_field(ARGV[2])
local deadline = ARGV[4] ~= '' and tonumber(ARGV[4]) or deadline_after(now, ARGV[3])
local hold = ARGV[5]

local replies, changes = {}, {}
for i = 1, (#ARGV - 5) / 2 do
  local a, content_id = artifact_at(6 * i - 1, ARGV[2 * i + 4]), ARGV[2 * i + 5]
  local header, _, latest = latest_lease(a, now)
  local start = header and content_start(a.content) or ''
  local chunks = chunks_of(a.content, start)
  if header then
    check_header(header)
  end
  if header and content_id_of(header) ~= content_id then
    replies[i] = { 'other', content_id_of(header) }
  elseif not header or not is_whole(a.content, start, header) then
    replies[i] = { 'absent' }
  elseif chunks and (hold == '' or tonumber(call('ZSCORE', a.needs, hold) or 0) < deadline) then
    replies[i] = { 'chunked', chunks[1], chunks[2], us }
  else
    local mine = call('HGET', a.key, field)
    if mine and lease_deadline(mine) <= now then
      mine = nil
    end
    if is_damaged(latest) or (mine and is_damaged(mine)) then
      error(DAMAGED)
    end
    replies[i] = { 'ok' }
    if not mine or lease_deadline(mine) < deadline or hold ~= '' then
      changes[#changes + 1] = { a = a, many = has_many(a, now), mine = mine, latest = latest, header = header }
    end
  end
end
if postponed(replies) or #changes == 0 then
  return replies
end
check_partition()
for _, change in ipairs(changes) do
  local a = change.a
  check_artifact(a, {})
  if a.labels and not change.mine then
    change.labels = at.labels.with(a, a.labels, field, change.latest)
  end
end
us = next_created(us)

-- From here on nothing fails.
partition_prune(now, #changes)
for i = 1, #changes do
  local change = changes[i]
  local a, mine = change.a, change.mine
  local created, ends, before, last = us + i - 1, deadline, catalog_deadline(a), nil
  local crowded = false
  if mine then
    ends = math.max(ends, lease_deadline(mine))
    lease_put(a, change.many, field, encode_lease(ends, lease_created(mine), string.sub(mine, 14)))
    created = lease_created(change.latest)
    last = created ~= lease_created(mine) and lease_deadline(change.latest)
  else
    local lease = encode_lease(ends, created, string.sub(change.latest, 14))
    crowded = lease_put_latest(a, change.many, change.header, field, lease, now)
  end
  local longest = math.max(ends, before)
  if longest ~= before or crowded then
    leases_expire(a, longest)
  end
  content_extend(a, longest)
  if hold ~= '' then
    need_drop(a, hold)
  end
  if is_explicit(a) then
    index_prune(a.needs, now)
    index_extend(a.needs, a.id, longest)
  end
  run_extend(a.id, ends)
  catalog_extend(a.id, created, longest, last or ends)
  if a.labels then
    local names = change.labels or a.labels
    at.labels.drop(a.id, a.labels, names)
    at.labels.extend(a.id, names, created, longest, false)
  end
end
return replies
