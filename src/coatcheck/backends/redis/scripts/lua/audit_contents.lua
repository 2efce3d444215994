#!lua flags=no-writes
-- Which contents are not surely needed, as nearly all are: their own artifact is there. check_content.lua looks at
-- these, one by one.
--
-- KEYS[1] any key of the partition
-- ARGV[1] key prefix   ARGV[2..] names of contents
-- Derived keys, only read: their default artifacts. What is absent is not sure.
-- Returns their numbers

-- @include keys

local call = redis.call
local names, unsure = {}, {}
for i = 2, #ARGV do
  names[i - 1] = artifact_key(ARGV[1], ARGV[i])
end
if call('EXISTS', unpack(names)) < #names then
  for i, name in ipairs(names) do
    if call('EXISTS', name) == 0 then
      unsure[#unsure + 1] = i
    end
  end
end
return unsure
