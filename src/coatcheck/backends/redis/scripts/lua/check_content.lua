#!lua flags=allow-oom
-- Whether anything needs one content; removes it if not, and if nobody touched it for a while.
--
-- KEYS[1] content   KEYS[2] needs   KEYS[3] default artifact of the content
-- ARGV[1] '1': repair   ARGV[2] grace in seconds   ARGV[3] TTL of an upload in ms
-- ARGV[4] how many members of needs are stale, and were left
-- Returns {problem or '', bytes, 1 if it was removed, chunks: {} or {token, count}}

-- @include index

if call('TYPE', KEYS[1]).ok ~= 'string' then
  return { expiry(KEYS[1]) and 'wrong-type' or '', 0, 0, {} }
end

-- What has been idle for long is at least that old. Nothing below counts as a use before this is known. A server that
-- evicts by frequency doesn't tell: then the age is unknown, and only a grace of zero removes.
local idle = redis.pcall('OBJECT', 'IDLETIME', KEYS[1])
idle = type(idle) == 'number' and idle or 0

local now = integer(math.floor(now_in_microseconds() / 1000))
local kind = call('TYPE', KEYS[2]).ok
local needed = call('EXISTS', KEYS[3]) == 1
  or kind == 'string'
  or (kind == 'zset' and call('ZCOUNT', KEYS[2], '(' .. now, '+inf') > tonumber(ARGV[4]))
if needed then
  local bytes = call('STRLEN', KEYS[1])
  return { bytes < 50 and 'damaged-content' or '', bytes, 0, {} }
end

local ttl = call('PTTL', KEYS[1])
if ttl > 0 and ttl <= tonumber(ARGV[3]) then -- sent by a store that may go on; ends by itself
  return { '', 0, 0, {} }
end

local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[1])
bytes = type(bytes) == 'number' and bytes or 0
local chunks = chunks_of(KEYS[1], content_start(KEYS[1]))
if chunks then
  bytes = bytes + chunks_length(KEYS[1])
end
local removed = ARGV[1] == '1' and idle >= tonumber(ARGV[2]) and call('UNLINK', KEYS[1]) or 0
if removed == 1 then
  call('UNLINK', KEYS[2])
end
return { 'orphan-content', bytes, removed, removed == 1 and chunks or {} }
