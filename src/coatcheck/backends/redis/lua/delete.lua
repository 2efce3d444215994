-- Removes one artifact for every run.
--
-- KEYS[1] artifact   KEYS[2] catalog:created   KEYS[3] catalog:deadlines   KEYS[4] runs
-- ARGV[1] key prefix   ARGV[2] id
-- Derived keys: the runs that lease it, its content and that content's leases.
-- Returns 1, or 0 where there was none

local at = { prefix = ARGV[1], runs = KEYS[4], created = KEYS[2], deadlines = KEYS[3] }
local head = call('HGET', KEYS[1], 'h')
if not head then
  return 0
end
if not is_known(head) then
  return redis.error_reply(FUTURE)
end
local fields = call('HKEYS', KEYS[1])
check_types(at, head, ARGV[2], fields)
remove(at, KEYS[1], ARGV[2], head, fields, math.floor(now_in_microseconds() / 1000))
return 1
