-- The live leases of one artifact.
--
-- KEYS[1] artifact
-- Returns {head or '', lease field, lease value, lease field, lease value, ...}

local now = math.floor(now_in_microseconds() / 1000)
local fields = call('HGETALL', KEYS[1])
local live = { '' }
for i = 1, #fields, 2 do
  if fields[i] == 'h' then
    live[1] = fields[i + 1]
  elseif is_lease(fields[i]) and lease_deadline(fields[i + 1]) > now then
    live[#live + 1] = fields[i]
    live[#live + 1] = fields[i + 1]
  end
end
return live
