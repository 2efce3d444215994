-- Takes away one lease, by its token; the last one takes the artifact with it.
--
-- KEYS[1] artifact   KEYS[2] content of that name   KEYS[3] leases of that content
-- ARGV[1] key prefix   ARGV[2] id   ARGV[3] lease field   ARGV[4] token, 7 bytes
-- Returns 1, or 0 where that lease is not there or had expired

local now = math.floor(now_in_microseconds() / 1000)
local pair = call('HMGET', KEYS[1], 'h', ARGV[3])
if not pair[1] or not pair[2] or string.sub(pair[2], 7, 13) ~= ARGV[4] then
  return 0
end
call('ZCARD', KEYS[3])
call('HDEL', KEYS[1], ARGV[3])
artifact_settle({ prefix = ARGV[1] }, KEYS[1], ARGV[2], pair[1], now)
return lease_deadline(pair[2]) > now and 1 or 0
