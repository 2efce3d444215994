-- Whether artifacts are there, metadata and content.
--
-- KEYS artifacts   ARGV[1] key prefix   ARGV[2..] their ids, in the same order
-- Derived keys: the contents.
-- Returns for each: 1 or 0

local found = {}
for i = 1, #KEYS do
  local head = call('HGET', KEYS[i], 'h')
  found[i] = head and call('EXISTS', ARGV[1] .. 'content:{' .. tag_of(head, ARGV[i + 1]) .. '}') or 0
end
return found
