-- Stores a lease whose claims are made, and with it the content of a default id, if the lease is still what `read` saw.
--
-- KEYS[1] artifact   KEYS[2] content of that name   KEYS[3] fence   KEYS[4] staging, where ARGV[6] is 's'
-- ARGV[1] head seen, '' for none   ARGV[2] lease seen, '' for none   ARGV[3] head   ARGV[4] lease field
-- ARGV[5] lease   ARGV[6] where the content is: 'c' in ARGV[7], 's' under the staging key, 'k' where it belongs
--
-- Returns {'ok', field, beginning of lease, ...}: leases that ended because other content was replaced
--         {'changed'}   nothing written: start over from `read`

local us = now_in_microseconds()
local now = math.floor(us / 1000)
local artifact, content, head, field, lease = KEYS[1], KEYS[2], ARGV[3], ARGV[4], ARGV[5]
local staging = ARGV[6] == 's' and KEYS[4]
local token, deadline = lease_created(lease), lease_deadline(lease)

local old = call('HGET', artifact, 'h')
if old and not is_known(old) then
  return redis.error_reply(FUTURE)
end
local fence = call('GET', KEYS[3])
if us - token > COMMIT_WITHIN or (fence and token <= tonumber(fence)) then
  return { 'changed' }
end
-- Leases of other runs may come and go meanwhile; a head that is gone, or is the new one already, is as good.
if (call('HGET', artifact, field) or '') ~= ARGV[2] or (old and old ~= head and old ~= ARGV[1]) then
  return { 'changed' }
end
local stored = is_named(head) and call('GETRANGE', content, 0, 41)
if stored == '' then
  if ARGV[6] == 'k' or (staging and call('EXISTS', staging) == 0) then
    return { 'changed' }
  end
elseif stored and (string.byte(stored, 1) ~= 1 or string.sub(stored, 11, 42) ~= digest_of(head)) then
  return { 'changed' } -- `read` says why
end

local result, ended, longest = { 'ok' }, {}, deadline
local replaced = old and old ~= head
if replaced then
  ended = call('HGETALL', artifact)
elseif old then
  longest = math.max(deadline, expiry(artifact))
end

-- The first write is one that a full server refuses; after it, nothing fails.
if stored == '' and not staging then
  call('SET', content, ARGV[7])
end
call('HSET', artifact, 'h', head, field, lease)
for i = 1, #ended, 2 do
  if ended[i] ~= 'h' and ended[i] ~= field then
    call('HDEL', artifact, ended[i])
  end
  if is_lease(ended[i]) then
    result[#result + 1] = ended[i]
    result[#result + 1] = string.sub(ended[i + 1], 1, 13)
  end
end
if not replaced and call('HLEN', artifact) > 2 then
  local latest = call('HGET', artifact, 't')
  local other = latest and call('HGET', artifact, latest)
  if not other then
    note_latest(artifact)
  elseif lease_created(other) < token then
    call('HSET', artifact, 't', field)
  end
  leases_prune(artifact, now)
end
expire(artifact, longest)

if stored then
  if stored == '' and staging then
    call('RENAME', staging, content)
  elseif staging then
    call('UNLINK', staging)
  end
  local held = expiry(content)
  if stored == '' or held < longest then
    expire(content, longest)
  end
end
return result
