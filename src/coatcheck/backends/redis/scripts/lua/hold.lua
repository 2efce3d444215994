#!lua
-- Keeps the chunks of a content from ending before a lease that is about to be taken: nothing shortens them meanwhile.
--
-- KEYS[1] content   KEYS[2] needs
-- ARGV[1] hold: '!', time in us (14 hex digits), 16 random hex digits
-- ARGV[2] TTL in ms, '' for ever   ARGV[3] content id (16 bytes)
-- Returns {} where the content is not chunked, or {deadline in ms, token, count}: the chunks have to follow now, then
-- the lease is taken with the hold, which ends it. A hold that is left over goes with gc.

-- @include index

local start = content_start(KEYS[1])
local chunks = chunks_of(KEYS[1], start)
if not chunks or string.sub(content_digest(start), 1, 16) ~= ARGV[3] then
  return {}
end
local deadline = deadline_after(math.floor(now_in_microseconds() / 1000), ARGV[2])
index_extend(KEYS[2], ARGV[1], deadline)
return { deadline, chunks[1], chunks[2] }
