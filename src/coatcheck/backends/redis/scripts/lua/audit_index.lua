#!lua flags=no-writes
-- Whether some members of an index surely stand for something that lasts. Where not, check_index.lua looks at them.
--
-- KEYS[1] index   KEYS[2] the index that knows their deadlines, most often the same   KEYS[3] runs
-- ARGV[1] key prefix   ARGV[2] lease field of the run, '' for an index of all
-- ARGV[3] rank of the first   ARGV[4] how many   ARGV[5] members that surely do: nobody looks where it has no more
-- Derived keys, only read: artifacts. What is absent is not sure.
-- Returns {how many there were, all of them where nobody looked, 1 where all are sure, 1 where both indexes have as
--   many members}

-- @include filter
-- @include runs

local now, prefix, field = math.floor(now_in_microseconds() / 1000), ARGV[1], ARGV[2]
local try, first = redis.pcall, tonumber(ARGV[3])
if call('TYPE', KEYS[1]).ok ~= 'zset' or not is_index(KEYS[2]) then
  return { 0, 0, 0 }
end
if field ~= '' then
  local last = index_last(KEYS[1])
  if
    not last
    or last <= now
    or not (ends_at(KEYS[1], index_end(last)) and is_index(KEYS[3]) and is_listed(KEYS[3], string.sub(field, 2), last))
  then
    return { 0, 0, 0 }
  end
end
local size = call('ZCARD', KEYS[1])
local even = size == call('ZCARD', KEYS[2]) and 1 or 0
if size == tonumber(ARGV[5]) then
  return { math.max(0, size - first), 1, even }
end
local members = call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[4]) - 1)
local count, names = #members, {}
if count == 0 then
  return { 0, 1, even }
end
for i, points in ipairs(call('ZMSCORE', KEYS[2], unpack(members))) do
  local id = id_of(members[i])
  if not id or not points or tonumber(points) <= now then
    return { count, 0, even }
  end
  names[i] = artifact_key(prefix, id)
end
if field == '' and call('EXISTS', unpack(names)) < count then
  return { count, 0, even }
end
for i = 1, field == '' and 0 or count do
  local there = try('HEXISTS', names[i], field)
  if type(there) ~= 'number' or there == 0 then
    return { count, 0, even }
  end
end
return { count, 1, even }
