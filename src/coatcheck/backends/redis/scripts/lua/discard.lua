#!lua flags=allow-oom
-- Removes what an upload has sent, unless it was published.
--
-- KEYS[1] content   KEYS[2] staging   KEYS[3..] chunks of the upload   ARGV[1] token of the upload
-- Returns how many keys were removed

-- @include format

local chunks = chunks_of(KEYS[1], content_start(KEYS[1]))
local removed = call('UNLINK', KEYS[2])
if chunks and chunks[1] == ARGV[1] then
  return removed
end
return removed + (KEYS[3] and call('UNLINK', unpack(KEYS, 3)) or 0)
