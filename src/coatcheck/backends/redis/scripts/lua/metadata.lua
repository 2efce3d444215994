#!lua flags=no-writes
-- Views of some artifacts.
--
-- KEYS for each artifact three keys: artifact, leases, stores
-- ARGV[1] how many bytes to return, about   ARGV[2] lease field, '' for the latest live lease of each
-- Returns for each: nil, or {header, lease field, lease}; for those in front where it would be too much

-- @include leases

local now = math.floor(now_in_microseconds() / 1000)
local views, bytes = {}, 0
for i = 1, #KEYS, 3 do
  local a = { key = KEYS[i], leases = KEYS[i + 1], stores = KEYS[i + 2] }
  local header, field, lease = view_of(a, ARGV[2], now)
  views[#views + 1] = header and { header, field, lease } or false
  bytes = bytes + (lease and #field + #lease or 0)
  if bytes > tonumber(ARGV[1]) then
    break
  end
end
return views
