#!lua flags=no-writes
-- Views of some artifacts.
--
-- KEYS for each artifact three keys: artifact, leases, stores
-- ARGV[1] how many bytes to return, about   ARGV[2] lease field, '' for the latest live lease of each
-- Returns for each: header, lease field, lease; three nils where there is no artifact; for those in front where it
--                   would be too much

-- @include leases

local now = math.floor(now_in_microseconds() / 1000)
local budget, found, n = tonumber(ARGV[1]), {}, 0
for i = 1, #KEYS, 3 do
  local header, field, lease
  if ARGV[2] ~= '' then
    header, field, lease = lease_of(KEYS[i], ARGV[2], now)
  else
    header, field, lease = latest_lease({ key = KEYS[i], leases = KEYS[i + 1], stores = KEYS[i + 2] }, now)
  end
  found[n + 1], found[n + 2], found[n + 3], n = header or false, field or false, lease or false, n + 3
  budget = budget - (lease and #field + #lease or 0)
  if budget < 0 then
    break
  end
end
return found
