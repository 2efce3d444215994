#!lua
-- Changes what one live lease says of its artifact; its time and deadline stay.
--
-- KEYS[1] artifact
-- ARGV[1] run, '' for anonymous   ARGV[2] msgpack of the lease as it is known   ARGV[3] as it is to be
-- Returns nil where there is no live lease, else {header, lease}. Where the lease was another than is known, it is
-- unchanged.

-- @include time

local now, field = math.floor(now_in_microseconds() / 1000), lease_field(ARGV[1])
local pair = call('HMGET', KEYS[1], 'h', field)
local header, lease = pair[1], pair[2]
if not header or not lease or lease_deadline(lease) <= now then
  return false
end
check_header(header)
if is_damaged(lease) then
  error(DAMAGED)
end
if string.sub(lease, 14) == ARGV[2] then
  lease = string.sub(lease, 1, 13) .. ARGV[3]
  call('HSET', KEYS[1], field, lease)
end
return { header, lease }
