-- Claims that leases have on their run's index.
--
-- KEYS[1] run   KEYS[2] runs of its shard   ARGV[1] run   ARGV[2..] claim, deadline, ...
-- Returns the score of each claim

local now, scores = math.floor(now_in_microseconds() / 1000), {}
call('ZCARD', KEYS[2])
for i = 2, #ARGV, 2 do
  scores[#scores + 1] = claim(KEYS[1], ARGV[i], tonumber(ARGV[i + 1]))
end
index_forget(KEYS[1], index_dead(KEYS[1], now))
index_forget(KEYS[2], index_dead(KEYS[2], now))
local last = index_last(KEYS[1])
if last then
  index_set(KEYS[2], ARGV[1], last)
end
return scores
