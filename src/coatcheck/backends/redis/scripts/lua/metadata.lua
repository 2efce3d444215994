#!lua flags=no-writes
-- The latest live views of some artifacts.
--
-- KEYS for each artifact three keys: artifact, leases, stores   ARGV[1] how many bytes to return, about
-- Returns for each: nil, or {header, lease field, lease}; for those in front where it would be too much

-- @include leases

local now = math.floor(now_in_microseconds() / 1000)
local views, bytes = {}, 0
for i = 1, #KEYS, 3 do
  local some, header, field, lease = call('HRANDFIELD', KEYS[i], 3, 'WITHVALUES'), nil, nil, nil
  if #some == 4 and some[1] == 'h' and lease_deadline(some[4]) > now then -- a single lease
    header, field, lease = some[2], some[3], some[4]
  elseif #some > 0 then
    header, field, lease = latest_lease({ key = KEYS[i], leases = KEYS[i + 1], stores = KEYS[i + 2] }, now)
  end
  views[#views + 1] = header and { header, field, lease } or false
  bytes = bytes + (lease and #field + #lease or 0)
  if bytes > tonumber(ARGV[1]) then
    break
  end
end
return views
