-- The latest live view of one artifact, with its content if that has the same name and is small.
--
-- KEYS[1] artifact   KEYS[2] content of that name   ARGV[1] largest content in bytes to return from here
-- Returns nil, or {head, lease field, lease, sealed content or '', its length, -1 where it lies elsewhere}

local head, field, lease = latest_lease(KEYS[1], math.floor(now_in_microseconds() / 1000))
if not head then
  return false
end
if not is_known(head) then
  return redis.error_reply(FUTURE)
end
if not is_named(head) then
  return { head, field, lease, '', -1 }
end
local length = call('STRLEN', KEYS[2])
if length > tonumber(ARGV[1]) then
  return { head, field, lease, '', length }
end
return { head, field, lease, call('GET', KEYS[2]) or '', length }
