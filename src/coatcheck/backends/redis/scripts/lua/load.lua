#!lua flags=no-writes
-- The latest live view of one artifact under an explicit id, with its content where that is small.
--
-- KEYS[1] artifact   KEYS[2] leases   KEYS[3] stores
-- ARGV[1] key prefix   ARGV[2] largest content in bytes to return from here
-- Derived key: the content. Where it looks absent the caller asks for it by its name.
-- Returns nil, or {header, lease field, lease, sealed content or ''}

-- @include leases

local header, field, lease =
  latest_lease({ key = KEYS[1], leases = KEYS[2], stores = KEYS[3] }, math.floor(now_in_microseconds() / 1000))
if not header then
  return false
end
check_header(header)
local content_id = string.gsub(content_id_of(header), '.', function(c)
  return string.format('%02x', string.byte(c))
end)
local content = ARGV[1] .. 'content:' .. content_id
if call('STRLEN', content) > tonumber(ARGV[2]) then
  return { header, field, lease, '' }
end
return { header, field, lease, call('GET', content) or '' }
