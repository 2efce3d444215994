#!lua
-- Changes what a partition indexes by label.
--
-- KEYS[1] catalog:created
-- ARGV by turns a marker that is there, or '', and one to put in its place, or ''; see lib/labels.lua
-- Returns 1 where the partition holds anything; markers of an empty one would last for ever, and are not written

local call = redis.call
if call('ZCOUNT', KEYS[1], '-inf', '(9007199254740992') == 0 then
  return 0
end
for i = 1, #ARGV, 2 do
  local old, new = ARGV[i], ARGV[i + 1]
  local replaced = old == '' or call('ZREM', KEYS[1], old) == 1
  if replaced and new ~= '' then
    call('ZADD', KEYS[1], '+inf', new)
  end
end
return 1
