-- What a change of an artifact starts from.
--
-- KEYS[1] artifact   KEYS[2] content of that name
-- ARGV[1] lease field of the run, '' for all leases   ARGV[2] head that is to be stored, '' for none
-- Returns {token for a lease stored now, head or '', the run's lease or '', length of the content of that name,
--          field, beginning of lease, ...}: all leases where the head would change or all were asked for
--         {'taken'}: the id is the name of another content

local us = now_in_microseconds()
local head, new = call('HGET', KEYS[1], 'h'), ARGV[2]
if head and not is_known(head) then
  return redis.error_reply(FUTURE)
end
local replaced = head and new ~= '' and digest_of(head) ~= digest_of(new)
if replaced and (is_named(head) or is_named(new)) then
  return { 'taken' }
end
if new ~= '' and is_named(new) then
  local stored = call('GETRANGE', KEYS[2], 0, 41) -- the envelope's version, codec, size and digest
  if stored ~= '' and string.byte(stored, 1) ~= 1 then
    return redis.error_reply(FUTURE)
  end
  if stored ~= '' and string.sub(stored, 11, 42) ~= digest_of(new) then
    return { 'taken' }
  end
end
local mine = ARGV[1] ~= '' and call('HGET', KEYS[1], ARGV[1])
if mine then
  us = math.max(us, lease_created(mine) + 1) -- a clock that was set back must not repeat a token
end
local result = { us, head or '', mine or '', call('STRLEN', KEYS[2]) }
if replaced or ARGV[1] == '' then
  local fields = call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    if is_lease(fields[i]) then
      result[#result + 1] = fields[i]
      result[#result + 1] = string.sub(fields[i + 1], 1, 13)
    end
  end
end
return result
