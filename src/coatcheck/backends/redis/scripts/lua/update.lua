#!lua
-- Changes what one live lease says of its artifact; its time and deadline stay.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run   KEYS[5] artifact
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] run, '' for anonymous   ARGV[3] msgpack of the lease as it is known
-- ARGV[4] as it is to be   ARGV[5] member
-- Derived keys: indexes by label are written.
-- Returns nil where there is no live lease, else {header, lease}. Where the lease was another than is known, it is
-- unchanged.

-- @include partition

local now, field = math.floor(now_in_microseconds() / 1000), lease_field(ARGV[2])
local a = { id = ARGV[5], key = KEYS[5] }
local pair = call('HMGET', a.key, 'h', field)
local header, lease = pair[1], pair[2]
if not header or not lease or lease_deadline(lease) <= now then
  return false
end
check_header(header)
if is_damaged(lease) then
  error(DAMAGED)
end
if string.sub(lease, 14) == ARGV[3] then
  lease = string.sub(lease, 1, 13) .. ARGV[4]
  local labels = is_marked(at.created) and labels_at(at)
  local before, names
  if labels then
    before = labels.held(a)
    names = labels.with(a, before, field, lease)
  end
  call('HSET', a.key, field, lease)
  if names and before ~= names then
    labels.drop(a.id, before, names)
    local created = tonumber(call('ZSCORE', at.created, a.id) or lease_created(lease))
    labels.set(a.id, names, created, catalog_deadline(a))
  end
end
return { header, lease }
