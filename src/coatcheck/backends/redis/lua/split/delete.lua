-- Takes away an artifact with all its leases.
--
-- KEYS[1] artifact   KEYS[2] content of that name   KEYS[3] leases of that content
-- ARGV[1] key prefix   ARGV[2] id
-- Returns {head, field, beginning of lease, ...}; {} where there was none

local fields = call('HGETALL', KEYS[1])
if #fields == 0 then
  return {}
end
local head = call('HGET', KEYS[1], 'h')
if not head then
  return {}
end
if not is_known(head) then
  return redis.error_reply(FUTURE)
end
call('ZCARD', KEYS[3])
call('UNLINK', KEYS[1])
if is_named(head) then
  content_settle({ prefix = ARGV[1] }, ARGV[2], digest_of(head), math.floor(now_in_microseconds() / 1000))
end
local result = { head }
for i = 1, #fields, 2 do
  if is_lease(fields[i]) then
    result[#result + 1] = fields[i]
    result[#result + 1] = string.sub(fields[i + 1], 1, 13)
  end
end
return result
