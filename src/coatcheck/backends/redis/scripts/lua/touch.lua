-- Sets the deadline of one live lease, earlier or later.
--
-- KEYS[1] artifact   KEYS[2] catalog:created   KEYS[3] catalog:deadlines   KEYS[4] runs   KEYS[5] run, with a run
-- ARGV[1] key prefix   ARGV[2] id   ARGV[3] run, '' for anonymous   ARGV[4] TTL in ms, '' for ever
-- Derived keys: the content and its leases.
-- Returns 1, or 0 where there was no live lease

local now = math.floor(now_in_microseconds() / 1000)
local at = { prefix = ARGV[1], runs = KEYS[4], created = KEYS[2], deadlines = KEYS[3] }
local id, run = ARGV[2], ARGV[3]
local field = run == '' and '-' or '=' .. run
local pair = call('HMGET', KEYS[1], 'h', field)
local head, value = pair[1], pair[2]
if not head or not value or lease_deadline(value) <= now then
  return 0
end
if not is_known(head) then
  return redis.error_reply(FUTURE)
end
if is_damaged(value) then
  return redis.error_reply(DAMAGED)
end
check_types(at, head, id, call('HKEYS', KEYS[1]))

local deadline = deadline_after(now, ARGV[4])
call('HSET', KEYS[1], field, bytes_of(deadline, 6) .. string.sub(value, 7))
if run ~= '' then
  index_set(at.runs, run, index_end(index_set(KEYS[5], id, deadline)))
end
settle(at, KEYS[1], id, head, now)
return 1
