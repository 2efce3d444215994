#!lua
-- Brings the indexes by label in line with some artifacts.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run
-- KEYS[5..] artifacts   KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] ''   ARGV[3..] their members
-- Derived keys: indexes by label are written. `check_partition` looks at catalog:outlived.
-- Returns how many of them are there

-- @include partition

local now, count = math.floor(now_in_microseconds() / 1000), 0
check_partition()
for i = 3, #ARGV do
  local a = { id = ARGV[i], key = KEYS[i + 2] }
  local created, deadline = call('ZSCORE', at.created, a.id), call('ZSCORE', at.deadlines, a.id)
  deadline = deadline and math.min(FOREVER, tonumber(deadline) or FOREVER)
  if at.labels and created and deadline and deadline > now and call('EXISTS', a.key) == 1 then
    at.labels.mend(a, tonumber(created), deadline, true)
    count = count + 1
  end
end
return count
