#!lua flags=no-writes
-- Figures of some artifacts.
--
-- KEYS for each artifact two keys: artifact, leases   ARGV[1] key prefix
-- Derived keys: their contents; what looks absent counts as nothing.
-- Returns for each: nil, or {header, live leases, stored length of the content, 1 if that is a manifest}

-- @include leases

local now = math.floor(now_in_microseconds() / 1000)
local figures = {}
for i = 1, #KEYS, 2 do
  local header, leases = call('HGET', KEYS[i], 'h'), 0
  if header and call('HLEN', KEYS[i]) > MANY then
    leases = call('ZCOUNT', KEYS[i + 1], '(' .. integer(now), '+inf')
  elseif header then
    local fields = call('HGETALL', KEYS[i])
    for j = 1, #fields, 2 do
      if is_lease(fields[j]) and lease_deadline(fields[j + 1]) > now then
        leases = leases + 1
      end
    end
  end
  local one = false
  if leases > 0 then
    local name = string.gsub(content_id_of(header), '.', function(c)
      return string.format('%02x', string.byte(c))
    end)
    local content = ARGV[1] .. 'content:' .. name
    one = { header, leases, call('STRLEN', content), is_manifest(content_start(content)) and 1 or 0 }
  end
  figures[#figures + 1] = one
end
return figures
