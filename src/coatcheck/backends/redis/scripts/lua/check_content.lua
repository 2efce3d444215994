-- Whether anything needs one content; removes it if not, and if nobody touched it for a while.
--
-- KEYS[1] content   ARGV[1] key prefix   ARGV[2] tag   ARGV[3] '1': repair   ARGV[4] grace in seconds
-- ARGV[5] TTL of an upload in ms
-- Derived keys: the content's chunks, leases and default artifact; the explicit artifacts in its leases.
-- Returns {problem or '', bytes, 1 if it was removed}

local at, tag = { prefix = ARGV[1] }, ARGV[2]
if call('TYPE', KEYS[1]).ok ~= 'string' then
  return { expiry(KEYS[1]) and 'wrong-type' or '', 0, 0 }
end

-- What has been idle for long is at least that old. Nothing below counts as a use before this is known. A server that
-- evicts by frequency doesn't tell: then the age is unknown, and only a grace of zero removes.
local idle = redis.pcall('OBJECT', 'IDLETIME', KEYS[1])
idle = type(idle) == 'number' and idle or 0

local function needs(id)
  local head = call('HGET', at.prefix .. 'artifact:{' .. id .. '}', 'h')
  return head and tag_of(head, id) == tag
end

local leases = at.prefix .. 'leases:{' .. tag .. '}'
local needed = needs(tag)
if not needed and call('TYPE', leases).ok == 'zset' then
  local names = call('ZRANGE', leases, 0, -1)
  for i = 1, #names do
    needed = needed or needs(names[i])
  end
end
if needed then
  local bytes = call('STRLEN', KEYS[1])
  return { bytes < 50 and 'damaged-content' or '', bytes, 0 }
end

local ttl = call('PTTL', KEYS[1])
if ttl > 0 and ttl <= tonumber(ARGV[5]) then -- sent by a store that may go on; ends by itself
  return { '', 0, 0 }
end

local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[1])
bytes = (type(bytes) == 'number' and bytes or 0) + stored_bytes(KEYS[1]) - call('STRLEN', KEYS[1])
if ARGV[3] == '1' and idle >= tonumber(ARGV[4]) then
  over('UNLINK', chunk_names(KEYS[1], content_head(KEYS[1]), KEYS[1]))
  call('UNLINK', KEYS[1], leases)
  return { 'orphan-content', bytes, 1 }
end
return { 'orphan-content', bytes, 0 }
