#!lua flags=no-writes
-- Which contents are not surely needed, as nearly all are: their own artifact is there. check_content.lua looks at
-- these, one by one.
--
-- KEYS[1] any key of the partition
-- ARGV[1] key prefix   ARGV[2..] names of contents
-- Derived keys, only read: contents and their default artifacts. What is absent is not sure.
-- Returns their numbers

-- @include keys

local call, try = redis.call, redis.pcall
local prefix, names, unsure = ARGV[1], {}, {}
for i = 2, #ARGV do
  names[i - 1] = artifact_key(prefix, ARGV[i])
end
local all = call('EXISTS', unpack(names)) == #names
for i, name in ipairs(names) do
  local stored = try('STRLEN', content_key(prefix, ARGV[i + 1]))
  if type(stored) ~= 'number' or stored < 50 or not (all or call('EXISTS', name) == 1) then
    unsure[#unsure + 1] = i
  end
end
return unsure
