-- Sets the deadline of a lease whose claims last that long, if the lease is still what `read` saw.
--
-- KEYS[1] artifact   KEYS[2] content of that name   KEYS[3] leases of that content
-- ARGV[1] key prefix   ARGV[2] id   ARGV[3] lease field   ARGV[4] lease seen   ARGV[5] lease
-- Returns 1, or 0: nothing written

local now = math.floor(now_in_microseconds() / 1000)
local pair = call('HMGET', KEYS[1], 'h', ARGV[3])
if not pair[1] or pair[2] ~= ARGV[4] then
  return 0
end
call('ZCARD', KEYS[3])
call('HSET', KEYS[1], ARGV[3], ARGV[5])
artifact_settle({ prefix = ARGV[1] }, KEYS[1], ARGV[2], pair[1], now)
return 1
