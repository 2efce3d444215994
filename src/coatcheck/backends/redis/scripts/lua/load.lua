-- The latest live view of one artifact, with its content where that is small.
--
-- KEYS[1] artifact   ARGV[1] key prefix   ARGV[2] id   ARGV[3] largest content in bytes to return from here
-- Derived key: the content.
--
-- Returns nil, or {head, lease field, lease value, sealed content or '', its length}

local now = math.floor(now_in_microseconds() / 1000)
local head, field, value = latest_lease(KEYS[1], now)
if not head then
  return false
end
if not is_known(head) then
  return redis.error_reply(FUTURE)
end
local content = ARGV[1] .. 'content:{' .. tag_of(head, ARGV[2]) .. '}'
local length = call('STRLEN', content)
if length > tonumber(ARGV[3]) then
  return { head, field, value, '', length }
end
return { head, field, value, call('GET', content) or '', length }
