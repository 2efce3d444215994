-- The latest live views of some artifacts.
--
-- KEYS artifacts
-- Returns for each: nil, or {head, lease field, lease value}

local now = math.floor(now_in_microseconds() / 1000)
local views = {}
for i = 1, #KEYS do
  local head, field, value = latest_lease(KEYS[i], now)
  views[i] = head and { head, field, value } or false
end
return views
