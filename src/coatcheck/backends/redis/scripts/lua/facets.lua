#!lua flags=no-writes
-- How many artifacts are known under each value of a field, some values at a time.
--
-- KEYS[1] values
-- ARGV[1] prefix of the indexes   ARGV[2] cursor of ZSCAN   ARGV[3] values to look at
-- Derived keys, only read: indexes by label. Their keys lie where that of the values does, or the call is sent again.
-- Returns {cursor, and by turns value and how many}

-- @include time

local now = math.floor(now_in_microseconds() / 1000)
local page = call('ZSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local reply = { page[1] }
for i = 1, #page[2], 2 do
  local value = page[2][i]
  local count = call('ZCOUNT', ARGV[1] .. value .. ':deadlines', '(' .. integer(now), '+inf')
  if count > 0 then
    reply[#reply + 1], reply[#reply + 2] = value, count
  end
end
return reply
