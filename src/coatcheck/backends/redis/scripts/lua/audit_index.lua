#!lua flags=no-writes
-- Whether some members of an index surely stand for something that lasts. Where not, check_index.lua looks at them.
--
-- KEYS[1] index   KEYS[2] the index that knows their deadlines, most often the same
-- ARGV[1] key prefix   ARGV[2] lease field of the run, '' for an index of all
-- ARGV[3] rank of the first   ARGV[4] how many
-- Derived keys, only read: artifacts. What is absent is not sure.
-- Returns {how many there were, 1 where all are sure}

-- @include filter
-- @include index

local now, prefix, field = math.floor(now_in_microseconds() / 1000), ARGV[1], ARGV[2]
local try, first = redis.pcall, tonumber(ARGV[3])
if call('TYPE', KEYS[1]).ok ~= 'zset' or not is_index(KEYS[2]) then
  return { 0, 0 }
end
if field ~= '' then
  local last = index_last(KEYS[1])
  if not last or last <= now or not ends_at(KEYS[1], index_end(last)) then
    return { 0, 0 }
  end
end
local page = call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[4]) - 1, 'WITHSCORES')
for i = 1, #page, 2 do
  local member, points = page[i], page[i + 1]
  local id = id_of(member)
  if KEYS[1] ~= KEYS[2] then
    points = call('ZSCORE', KEYS[2], member)
  end
  if not id or not points or tonumber(points) <= now then
    return { #page / 2, 0 }
  end
  local there = try('HEXISTS', artifact_key(prefix, id), field == '' and 'h' or field)
  if type(there) ~= 'number' or there == 0 then
    return { #page / 2, 0 }
  end
end
return { #page / 2, 1 }
