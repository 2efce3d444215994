#!lua flags=allow-oom
-- Whether chunks belong to a content; removes those that don't, if nobody touched them for a while.
--
-- KEYS[1] content   KEYS[2] staging of their upload   KEYS[3..] chunks of one upload
-- ARGV[1] token of the upload   ARGV[2] '1': repair   ARGV[3] grace in seconds   ARGV[4] TTL in ms of an upload
-- Returns for each: {'' or 'orphan-chunk', bytes, 1 if it was removed}

-- @include format

local kind = call('TYPE', KEYS[1]).ok
local start = kind == 'string' and content_start(KEYS[1]) or ''
local readable = kind == 'none' or (kind == 'string' and #start >= 50)
local chunks = kind == 'string' and chunks_of(KEYS[1], start)
local mine = chunks and chunks[1] == ARGV[1] and chunks[2] or 0

local result = {}
for i = 3, #KEYS do
  local idle = redis.pcall('OBJECT', 'IDLETIME', KEYS[i]) -- a lower bound of its age, as in check_content.lua
  idle = type(idle) == 'number' and idle or 0
  local ttl = call('PTTL', KEYS[i])
  local number = tonumber(string.match(KEYS[i], '%d+$'))
  result[i - 2] = { '', 0, 0 }
  -- What an upload has sent but not published ends soon by itself, or has its staging key yet.
  if readable and number >= mine and (ttl == -1 or ttl > tonumber(ARGV[4])) and call('EXISTS', KEYS[2]) == 0 then
    local bytes = redis.pcall('STRLEN', KEYS[i])
    bytes = type(bytes) == 'number' and bytes or 0
    local removed = ARGV[2] == '1' and idle >= tonumber(ARGV[3]) and call('UNLINK', KEYS[i]) or 0
    result[i - 2] = { 'orphan-chunk', bytes, removed }
  end
end
return result
