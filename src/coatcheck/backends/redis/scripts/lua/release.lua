-- Gives up one lease; the last one takes the artifact with it.
--
-- KEYS[1] artifact   KEYS[2] catalog:created   KEYS[3] catalog:deadlines   KEYS[4] runs
-- ARGV[1] key prefix   ARGV[2] id   ARGV[3] run, '' for anonymous
-- Derived keys: the run, the content and its leases.
-- Returns 1, or 0 where there was no live lease

local now = math.floor(now_in_microseconds() / 1000)
local at = { prefix = ARGV[1], runs = KEYS[4], created = KEYS[2], deadlines = KEYS[3] }
local id, run = ARGV[2], ARGV[3]
local field = run == '' and '-' or '=' .. run
local pair = call('HMGET', KEYS[1], 'h', field)
local head, value = pair[1], pair[2]
if not head or not value then
  return 0
end
if not is_known(head) then
  return redis.error_reply(FUTURE)
end
check_types(at, head, id, call('HKEYS', KEYS[1]))

call('HDEL', KEYS[1], field)
if run ~= '' then
  run_drop(at, run, id)
end
settle(at, KEYS[1], id, head, now)
return lease_deadline(value) > now and 1 or 0
