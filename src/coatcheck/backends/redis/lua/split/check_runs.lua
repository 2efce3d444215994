-- Whether the list of runs fits one run's index; brings it in line.
--
-- KEYS[1] run   KEYS[2] runs of its shard   ARGV[1] run   ARGV[2] '1': repair
-- Returns the problem or ''

for i = 1, 2 do
  local kind = call('TYPE', KEYS[i]).ok
  if kind ~= 'zset' and kind ~= 'none' then
    return 'wrong-type'
  end
end
local last, listed, problem = index_last(KEYS[1]), call('ZSCORE', KEYS[2], ARGV[1]), ''
local now = math.floor(now_in_microseconds() / 1000)
if last and last > now then
  if listed ~= score_read(last) then
    problem = 'unindexed-lease'
  elseif expiry(KEYS[1]) ~= last then
    problem = 'wrong-expiry'
  end
elseif not last and listed and (listed == 'inf' or tonumber(listed) > now) then
  problem = 'stale-index-member'
end
if problem ~= '' and ARGV[2] == '1' then
  if last then
    index_set(KEYS[2], ARGV[1], index_settle(KEYS[1]))
  else
    call('ZREM', KEYS[2], ARGV[1])
    index_settle(KEYS[2])
  end
end
return problem
