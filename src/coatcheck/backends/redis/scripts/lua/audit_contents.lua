#!lua flags=no-writes
-- Which contents are surely needed: their own artifact is there. check_content.lua looks at the others, one by one.
--
-- KEYS[1] any key of the partition
-- ARGV[1] key prefix   ARGV[2..] contents, in 16 bytes
-- Derived keys, only read: contents and their default artifacts. What is absent is not sure.
-- Returns for each 1 where it is, else 0

-- @include filter

local reply = {}
for i = 2, #ARGV do
  local id = id_of(ARGV[i])
  local stored = redis.pcall('STRLEN', content_key(ARGV[1], id))
  local there = type(stored) == 'number' and stored >= 50 and call('EXISTS', artifact_key(ARGV[1], id)) == 1
  reply[i - 1] = there and 1 or 0
end
return reply
