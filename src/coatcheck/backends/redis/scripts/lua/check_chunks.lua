-- Whether chunks belong to a content; removes those that don't, if nobody touched them for a while.
--
-- KEYS[1] content   KEYS[2..] chunks under its name
-- ARGV[1] '1': repair   ARGV[2] grace in seconds   ARGV[3] longest TTL in ms of an upload that is under way
-- Returns for each: {'' or 'orphan-chunk', bytes, 1 if it was removed}

local kind = call('TYPE', KEYS[1]).ok
local head = kind == 'string' and content_head(KEYS[1]) or ''
local readable = kind == 'none' or (kind == 'string' and not (is_manifest(head) and #head < 62))
local mine = {}
for _, name in ipairs(chunk_names(KEYS[1], head, KEYS[1])) do
  mine[name] = true
end

local result = {}
for i = 2, #KEYS do
  local idle = redis.pcall('OBJECT', 'IDLETIME', KEYS[i]) -- a lower bound of its age, as in check_content.lua
  idle = type(idle) == 'number' and idle or 0
  local ttl = call('PTTL', KEYS[i])
  result[i - 1] = { '', 0, 0 }
  -- What an upload has sent but not published ends soon by itself.
  if readable and not mine[KEYS[i]] and (ttl == -1 or ttl > tonumber(ARGV[3])) then
    local bytes = redis.pcall('STRLEN', KEYS[i])
    bytes = type(bytes) == 'number' and bytes or 0
    local removed = ARGV[1] == '1' and idle >= tonumber(ARGV[2]) and call('UNLINK', KEYS[i]) or 0
    result[i - 1] = { 'orphan-chunk', bytes, removed }
  end
end
return result
