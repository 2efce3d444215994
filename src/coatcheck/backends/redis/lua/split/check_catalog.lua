-- Whether a shard of the catalog ends with its last member.
--
-- KEYS[1] created   KEYS[2] deadlines   ARGV[1] '1': repair
-- Returns the problem or ''

for i = 1, 2 do
  local kind = call('TYPE', KEYS[i]).ok
  if kind ~= 'zset' and kind ~= 'none' then
    return 'wrong-type'
  end
end
local last = index_last(KEYS[2])
if not last or last <= math.floor(now_in_microseconds() / 1000) then
  return ''
end
if expiry(KEYS[1]) == last and expiry(KEYS[2]) == last then
  return ''
end
if ARGV[1] == '1' then
  expire(KEYS[1], index_settle(KEYS[2]))
end
return 'wrong-expiry'
