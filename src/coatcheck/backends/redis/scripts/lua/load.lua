#!lua flags=no-writes
-- The latest live views of some artifacts, with their contents where these are small.
--
-- KEYS for each artifact four keys: artifact, leases, stores, and content; for an explicit id again the artifact
-- ARGV[1] key prefix   ARGV[2] how many bytes to return, about   ARGV[3] largest content to return, in bytes
-- Derived key: the content of an explicit id. Where it looks absent the caller asks for it by its name.
-- Returns for each: header, lease field, lease, sealed content or ''; four nils where there is no artifact; for those
--                   in front where it would be too much

-- @include leases

local now = math.floor(now_in_microseconds() / 1000)
local budget, longest, found, n = tonumber(ARGV[2]), tonumber(ARGV[3]), {}, 0
for i = 1, #KEYS, 4 do
  local key, content = KEYS[i], KEYS[i + 3]
  local header, field, lease = latest_lease({ key = key, leases = KEYS[i + 1], stores = KEYS[i + 2] }, now)
  if header then
    if content == key then
      check_header(header)
      content = ARGV[1] .. 'content:' .. string.gsub(content_id_of(header), '.', function(c)
        return string.format('%02x', string.byte(c))
      end)
    end
    local sealed = call('GETRANGE', content, 0, longest)
    sealed = #sealed <= longest and sealed or ''
    found[n + 1], found[n + 2], found[n + 3], found[n + 4] = header, field, lease, sealed
    budget = budget - #field - #lease - #sealed
  else
    found[n + 1], found[n + 2], found[n + 3], found[n + 4] = false, false, false, false
  end
  n = n + 4
  if budget < 0 then
    break
  end
end
return found
