#!lua flags=no-writes
-- Which contents are surely needed: their own artifact is there. check_content.lua looks at the others, one by one.
--
-- KEYS[1] any key of the partition
-- ARGV[1] key prefix   ARGV[2..] contents, in 16 bytes
-- Derived keys, only read: contents and their default artifacts. What is absent is not sure.
-- Returns for each 1 where it is, else 0

-- @include filter

local prefix, sizes, names = ARGV[1], {}, {}
for i = 2, #ARGV do
  local id = id_of(ARGV[i])
  sizes[i - 1], names[i - 1] = redis.pcall('STRLEN', content_key(prefix, id)), artifact_key(prefix, id)
end
local all, reply = call('EXISTS', unpack(names)) == #names, {}
for i, stored in ipairs(sizes) do
  local there = type(stored) == 'number' and stored >= 50 and (all or call('EXISTS', names[i]) == 1)
  reply[i] = there and 1 or 0
end
return reply
