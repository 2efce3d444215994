-- A run's own view of some artifacts.
--
-- KEYS artifacts   ARGV[1] lease field of the run   ARGV[2..] their ids, in the same order
-- Returns views; a view is {id, head, lease value}. What the run does not lease any more is left out.

local now = math.floor(now_in_microseconds() / 1000)
local views = {}
for i = 1, #KEYS do
  local pair = call('HMGET', KEYS[i], 'h', ARGV[1])
  if pair[1] and pair[2] and lease_deadline(pair[2]) > now then
    views[#views + 1] = { ARGV[i + 1], pair[1], pair[2] }
  end
end
return views
