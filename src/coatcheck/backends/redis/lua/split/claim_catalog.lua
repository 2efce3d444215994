-- Claims that leases have on the catalog.
--
-- KEYS[1] created   KEYS[2] deadlines   ARGV claim, token, deadline, ...
-- Returns the score of each claim among the deadlines

local scores = {}
call('ZCARD', KEYS[2])
for i = 1, #ARGV, 3 do
  call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
  scores[#scores + 1] = claim(KEYS[2], ARGV[i], tonumber(ARGV[i + 2]))
end
local dead = index_dead(KEYS[2], math.floor(now_in_microseconds() / 1000))
index_forget(KEYS[1], dead)
index_forget(KEYS[2], dead)
local last = index_last(KEYS[2])
if last then
  expire(KEYS[1], last)
end
return scores
