#!lua
-- Sets the deadlines of live leases of one run, earlier or later, or only later.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run
-- KEYS[5..] for each artifact six keys: artifact, leases, stores, content, needs, default artifact of the content
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] TTL in ms, '' for ever
-- ARGV[4] deadline in ms instead of the TTL, or ''   ARGV[5] hold (of one artifact), or ''   ARGV[6] '1': only later
-- ARGV[7..] for each artifact: member, content id (16 bytes)
-- Derived keys, only cleaned up: indexes of runs whose leases have ended. Indexes by label are written.
-- Returns for each: {'ok'}
--                   {'absent'}                   there was no live lease
--                   {'other', content id}        nothing written: the id stands for this content
--                   {'chunked', token, count, us}   nothing written: the chunks have to be held, see hold.lua; us:
--                     the server's time
--                   {'later'}                    nothing written: enough was done in this call

-- @include artifact

local us = now_in_microseconds()
local now = math.floor(us / 1000)
local field, hold, longer = lease_field(ARGV[2]), ARGV[5], ARGV[6] == '1'
local ends = ARGV[4] ~= '' and tonumber(ARGV[4]) or deadline_after(now, ARGV[3])
local read = 0 -- leases that settling reads

-- What is to be said of one artifact, and its change if there is one.
local function look(a, content_id)
  if read > 500 then
    return { 'later' }
  end
  local pair = call('HMGET', a.key, 'h', field)
  local header, lease = pair[1], pair[2]
  if not header or not lease or lease_deadline(lease) <= now then
    return { 'absent' }
  end
  check_header(header)
  if is_damaged(lease) then
    error(DAMAGED)
  end
  if content_id_of(header) ~= content_id then
    return { 'other', content_id_of(header) }
  end
  local deadline = longer and math.max(ends, lease_deadline(lease)) or ends
  if longer and deadline == lease_deadline(lease) and hold == '' then
    return { 'ok' }
  end
  local chunks = may_be_chunked(header) and chunks_of(a.content, content_start(a.content))
  if chunks then
    local until_ = hold ~= '' and tonumber(call('ZSCORE', a.needs, hold) or 0) or 0
    if until_ == 0 or (deadline > expiry(a.content) and math.min(FOREVER, until_) < deadline) then
      return { 'chunked', chunks[1], chunks[2], us }
    end
  end
  local fields, created = call('HLEN', a.key), lease_created(lease)
  read = read + math.min(MANY, fields)
  local change = { a = a, deadline = deadline, created = created }
  change.lease = encode_lease(deadline, created, string.sub(lease, 14))
  change.sole = fields == 2 and hold == '' and not is_explicit(a)
  change.many = fields > MANY and has_many(a, now)
  return { 'ok' }, change
end

-- Everything is looked at before anything is written.
local replies, changes, run_members = {}, {}, {}
for i = 1, (#ARGV - 6) / 2 do
  replies[i], changes[#changes + 1] = look(artifact_at(6 * i - 1, ARGV[2 * i + 5]), ARGV[2 * i + 6])
end
if #changes == 0 then
  return replies
end
check_partition()

-- What nobody else leases or needs ends with this lease: no settling finds out more.
local rare = {}
for _, change in ipairs(changes) do
  if change.sole then
    rare[#rare + 1], rare[#rare + 2], rare[#rare + 3] = change.a.leases, change.a.stores, change.a.needs
  end
end
local none = not at.labels and #rare > 0 and call('EXISTS', unpack(rare)) == 0
for _, change in ipairs(changes) do
  change.sole = change.sole and none
  if not change.sole then
    check_artifact(change.a, {})
  end
end

local sole, by_created, by_deadline = {}, {}, {}
for i, change in ipairs(changes) do
  local a, deadline = change.a, change.deadline
  lease_put(a, change.many, field, change.lease)
  run_members[2 * i - 1], run_members[2 * i] = score(deadline), a.id
  if change.sole then
    expire(a.key, deadline)
    expire(a.content, deadline)
    local n = #by_created
    sole[#sole + 1] = a.id
    by_created[n + 1], by_created[n + 2] = integer(change.created), a.id
    by_deadline[n + 1], by_deadline[n + 2] = score(deadline), a.id
  end
end
if ARGV[2] ~= '' then
  call('ZADD', at.run_index, unpack(run_members))
  run_settle(at.runs, ARGV[2], at.run_index)
end
if #sole > 0 then
  catalog_set_sole(sole, by_created, by_deadline)
end
for _, change in ipairs(changes) do
  if hold ~= '' then
    need_drop(change.a, hold)
  end
  if not change.sole then
    content_extend(change.a, change.deadline)
    artifact_settle(change.a, change.many, now)
  end
end
return replies
