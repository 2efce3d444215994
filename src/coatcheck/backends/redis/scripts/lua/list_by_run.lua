-- A run's own view of what it leases: the first page of views, and the ids of the rest.
--
-- KEYS[1] run   ARGV[1] key prefix   ARGV[2] lease field of the run   ARGV[3] page size
-- Derived keys: the artifacts.
-- Returns {views, ids}; a view is {id, head, lease value}

local now = math.floor(now_in_microseconds() / 1000)
local ids = call('ZRANGE', KEYS[1], '(' .. integer(now), '+inf', 'BYSCORE')
local views, rest, page = {}, {}, tonumber(ARGV[3])
for i = 1, #ids do
  if i <= page then
    local pair = call('HMGET', ARGV[1] .. 'artifact:{' .. ids[i] .. '}', 'h', ARGV[2])
    if pair[1] and pair[2] then
      views[#views + 1] = { ids[i], pair[1], pair[2] }
    end
  else
    rest[#rest + 1] = ids[i]
  end
end
return { views, rest }
