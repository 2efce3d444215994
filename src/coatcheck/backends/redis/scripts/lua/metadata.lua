-- The latest live views of some artifacts.
--
-- KEYS artifacts
-- Returns for each: nil, or {head, lease field, lease value}

local now = math.floor(now_in_microseconds() / 1000)
local views = {}
for i = 1, #KEYS do
  local some, head, field, value = call('HRANDFIELD', KEYS[i], 3, 'WITHVALUES')
  if #some == 4 and some[1] == 'h' and lease_deadline(some[4]) > now then -- a single lease
    head, field, value = some[2], some[3], some[4]
  elseif #some > 0 then
    head, field, value = latest_lease(KEYS[i], now)
  end
  views[i] = head and { head, field, value } or false
end
return views
