#!lua flags=no-writes
-- Names some members of indexes in order, of one moment.
--
-- KEYS[1..] indexes
-- ARGV[1] the way: '>' in order, '<' backwards   ARGV[2] members of each
-- ARGV[3..] for each index: score, '' from the beginning; 'now': in order from what has not expired   then member
-- Returns for each index: its members, each with its score

-- @include place

local found = {}
for i, key in ipairs(KEYS) do
  found[i] = members_page(key, ARGV[1], ARGV[1 + 2 * i], ARGV[2 + 2 * i], tonumber(ARGV[2]))
end
return found
