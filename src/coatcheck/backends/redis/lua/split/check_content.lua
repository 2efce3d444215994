-- Whether anything needs one content; removes it if not, and if nobody touched it for a while.
--
-- KEYS[1] content   KEYS[2] leases of the content   KEYS[3] default artifact
-- ARGV[1] key prefix   ARGV[2] tag   ARGV[3] '1': remove   ARGV[4] grace in seconds   ARGV[5] '1': repair its expiry
-- Returns {problem or '', bytes, 1 if it was removed or repaired}

if call('TYPE', KEYS[1]).ok ~= 'string' then
  return { expiry(KEYS[1]) and 'wrong-type' or '', 0, 0 }
end
local leases, artifact = call('TYPE', KEYS[2]).ok, call('TYPE', KEYS[3]).ok
if (leases ~= 'zset' and leases ~= 'none') or (artifact ~= 'hash' and artifact ~= 'none') then
  return { 'wrong-type', 0, 0 } -- who knows what it would say
end

-- What has been idle for long is at least that old; a server that evicts by frequency doesn't tell.
local idle = redis.pcall('OBJECT', 'IDLETIME', KEYS[1])
idle = type(idle) == 'number' and idle or 0

local now = math.floor(now_in_microseconds() / 1000)
local bytes = call('STRLEN', KEYS[1])
local needed = index_last(KEYS[2]) or 0
local head = call('HGET', KEYS[3], 'h')
if head and (#head < 34 or tag_of(head, ARGV[2]) == ARGV[2]) then
  needed = math.max(needed, expiry(KEYS[3]))
end
if needed <= now then
  if expiry(KEYS[1]) <= now then -- it ends by itself, this very millisecond
    return { '', bytes, 0 }
  end
  if ARGV[3] == '1' and idle >= tonumber(ARGV[4]) then
    call('UNLINK', KEYS[1], KEYS[2])
    return { 'orphan-content', bytes, 1 }
  end
  return { 'orphan-content', bytes, 0 }
end
if bytes < 50 then
  return { 'damaged-content', bytes, 0 }
end
if expiry(KEYS[1]) == needed and (leases == 'none' or expiry(KEYS[2]) == index_last(KEYS[2])) then
  return { '', bytes, 0 }
end
if ARGV[5] == '1' then
  index_settle(KEYS[2])
  expire(KEYS[1], needed)
end
return { 'wrong-expiry', bytes, ARGV[5] == '1' and 1 or 0 }
