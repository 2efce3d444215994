-- Takes back or lowers claims on a run's index, and brings the list of runs in line.
--
-- KEYS[1] run   KEYS[2] runs of its shard
-- ARGV[1] run   ARGV[2..] claim, score seen or '', deadline or '' to take it back, ...
-- Returns how many were taken back

local taken = 0
call('ZCARD', KEYS[2])
for i = 2, #ARGV, 3 do
  taken = taken + (unclaim(KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i + 2]) and 1 or 0)
end
local last = index_settle(KEYS[1])
if last then
  index_set(KEYS[2], ARGV[1], last)
else
  call('ZREM', KEYS[2], ARGV[1])
  index_settle(KEYS[2])
end
return taken
