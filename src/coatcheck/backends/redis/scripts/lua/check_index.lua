-- Whether members of an index stand for something; drops those that don't.
--
-- KEYS[1] index   ARGV[1] key prefix   ARGV[2] 'run', 'leases', 'catalog' or 'runs'   ARGV[3] lease field or tag
-- ARGV[4] '1': repair   ARGV[5..] members
-- Derived keys: the artifacts; for 'runs' the runs; for 'catalog' the deadlines.
-- Returns {problem or '' for the key, how many members were dropped, stale members ...}

local now = math.floor(now_in_microseconds() / 1000)
local prefix, kind, name = ARGV[1], ARGV[2], ARGV[3]
local at = { prefix = prefix }
if call('TYPE', KEYS[1]).ok ~= 'zset' then
  return { expiry(KEYS[1]) and 'wrong-type' or '', 0 }
end

local function stands(member)
  if kind == 'runs' then
    return expiry(run_key(at, member))
  end
  local key = prefix .. 'artifact:{' .. member .. '}'
  if kind == 'run' then
    return call('HEXISTS', key, name) == 1
  end
  local head = call('HGET', key, 'h')
  if kind == 'leases' then
    return head and not is_named(head) and tag_of(head, member) == name
  end
  return head
end

local result = { '', 0 }
for i = 5, #ARGV do
  -- Members whose deadline has passed are no problem: writers prune them, and the key ends with its last member.
  local ends = call('ZSCORE', kind == 'catalog' and prefix .. 'catalog:deadlines' or KEYS[1], ARGV[i])
  local past = ends and ends ~= 'inf' and tonumber(ends) <= now
  if not past and call('ZSCORE', KEYS[1], ARGV[i]) and not stands(ARGV[i]) then
    result[#result + 1] = ARGV[i]
  end
end
-- catalog:created is scored by time of store and ends with its twin
if kind ~= 'catalog' then
  local last = index_last(KEYS[1])
  if last and last > now and expiry(KEYS[1]) ~= index_end(last) then
    result[1] = 'wrong-expiry'
  end
end
if ARGV[4] == '1' then
  for i = 3, #result do
    result[2] = result[2] + call('ZREM', KEYS[1], result[i])
  end
  if kind ~= 'catalog' and (result[1] ~= '' or result[2] > 0) then
    index_settle(KEYS[1])
  end
end
return result
