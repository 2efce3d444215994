#!lua
-- Whether a run's index knows its lease on one artifact.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run   KEYS[5] artifact
-- ARGV[1] key prefix   ARGV[2] run   ARGV[3] member   ARGV[4] '1': repair
-- Returns 1 where it does not know it

-- @include partition

local lease = call('HGET', KEYS[5], lease_field(ARGV[2]))
local deadline = lease and lease_deadline(lease)
if
  not lease
  or not (is_index(KEYS[3]) and is_index(KEYS[4]))
  or deadline <= math.floor(now_in_microseconds() / 1000)
  or call('ZSCORE', KEYS[4], ARGV[3]) == score_read(deadline)
then
  return 0
end
if ARGV[4] == '1' then
  call('ZADD', KEYS[4], score(deadline), ARGV[3])
  run_settle(at.runs, ARGV[2], KEYS[4])
end
return 1
