#!lua flags=no-writes
-- The live leases of one artifact, oldest store first where there are many: a page of them.
--
-- KEYS[1] artifact   KEYS[2] stores
-- ARGV[1] time of the store to go on after, in us, as it was returned   ARGV[2] page size
-- Returns {header or '', time to go on after or '', lease field, lease, lease field, lease, ...}

-- @include leases

local now = math.floor(now_in_microseconds() / 1000)
local header = call('HGET', KEYS[1], 'h')
local live = { header or '', '' }
local function add(field, lease)
  if lease and is_lease(field) and lease_deadline(lease) > now then
    live[#live + 1] = field
    live[#live + 1] = lease
  end
end
if call('HLEN', KEYS[1]) > MANY then
  local page = call('ZRANGE', KEYS[2], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
  for i = 1, #page, 2 do
    add(page[i], call('HGET', KEYS[1], page[i]))
  end
  live[2] = #page > 0 and page[#page] or ''
else
  local fields = call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    add(fields[i], fields[i + 1])
  end
end
return live
