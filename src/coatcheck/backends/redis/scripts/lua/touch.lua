#!lua
-- Sets the deadline of one live lease, earlier or later, or only later.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run
-- KEYS[5..10] artifact, leases, stores, content, needs, default artifact of the content
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] TTL in ms, '' for ever
-- ARGV[4] deadline in ms instead of the TTL, or ''   ARGV[5] hold, or ''
-- ARGV[6] member   ARGV[7] content id (16 bytes)   ARGV[8] '1': only later
-- Derived keys, only cleaned up: indexes of runs whose leases have ended. Indexes by label are written.
-- Returns {'ok'}
--         {'absent'}                   there was no live lease
--         {'other', content id}        nothing written: the id stands for this content
--         {'chunked', token, count}    nothing written: the chunks have to be held, see hold.lua

-- @include artifact

local now = math.floor(now_in_microseconds() / 1000)
local a, field = artifact_at(5, ARGV[6]), lease_field(ARGV[2])
local pair = call('HMGET', a.key, 'h', field)
local header, lease = pair[1], pair[2]
if not header or not lease or lease_deadline(lease) <= now then
  return { 'absent' }
end
check_header(header)
if is_damaged(lease) then
  error(DAMAGED)
end
if content_id_of(header) ~= ARGV[7] then
  return { 'other', content_id_of(header) }
end
local deadline = ARGV[4] ~= '' and tonumber(ARGV[4]) or deadline_after(now, ARGV[3])
if ARGV[8] == '1' then
  deadline = math.max(deadline, lease_deadline(lease))
  if deadline == lease_deadline(lease) and ARGV[5] == '' then
    return { 'ok' }
  end
end
local chunks = chunks_of(a.content, content_start(a.content))
if chunks then
  local until_ = ARGV[5] ~= '' and tonumber(call('ZSCORE', a.needs, ARGV[5]) or 0) or 0
  if until_ == 0 or (deadline > expiry(a.content) and math.min(FOREVER, until_) < deadline) then
    return { 'chunked', chunks[1], chunks[2] }
  end
end
local many = has_many(a, now)
check_partition()
check_artifact(a, {})

lease_put(a, many, field, encode_lease(deadline, lease_created(lease), string.sub(lease, 14)))
if ARGV[2] ~= '' then
  call('ZADD', at.run_index, score(deadline), a.id)
  run_settle(at.run_index, ARGV[2])
end
if ARGV[5] ~= '' then
  need_drop(a, ARGV[5])
end
content_extend(a, deadline)
artifact_settle(a, many, now)
return { 'ok' }
