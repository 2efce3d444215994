#!lua
-- Keeps the chunks of a content from ending before a lease that is about to be taken: nothing shortens them meanwhile.
--
-- KEYS[1] content   KEYS[2] needs
-- ARGV[1] 16 random hex digits   ARGV[2] TTL in ms, '' for ever   ARGV[3] content id (16 bytes)
-- Returns {} where the content is not chunked, or {hold, deadline in ms, token, count}: the chunks have to follow now,
-- then the lease is taken with the hold, which ends it. A hold that is left over goes with gc.

-- @include index

local start = content_start(KEYS[1])
local chunks = chunks_of(KEYS[1], start)
if not chunks or string.sub(content_digest(start), 1, 16) ~= ARGV[3] then
  return {}
end
local us = now_in_microseconds()
local deadline = deadline_after(math.floor(us / 1000), ARGV[2])
local hold = string.format('!%014x%s', us, ARGV[1])
index_extend(KEYS[2], hold, deadline)
return { hold, deadline, chunks[1], chunks[2] }
