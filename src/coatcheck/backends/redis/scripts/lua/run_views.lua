#!lua flags=no-writes
-- A run's own view of some artifacts.
--
-- KEYS artifacts   ARGV[1] run, '' for anonymous   ARGV[2] how many bytes to return, about
-- Returns for each: nil where the run has no live lease, or {header, lease}; for the first of them if
--                   all were too much

-- @include time

local now, field = math.floor(now_in_microseconds() / 1000), lease_field(ARGV[1])
local views, bytes = {}, 0
for i = 1, #KEYS do
  local pair = call('HMGET', KEYS[i], 'h', field)
  views[i] = pair[1] and pair[2] and lease_deadline(pair[2]) > now and { pair[1], pair[2] } or false
  bytes = bytes + (pair[2] and #pair[2] or 0)
  if bytes > tonumber(ARGV[2]) then
    break
  end
end
return views
