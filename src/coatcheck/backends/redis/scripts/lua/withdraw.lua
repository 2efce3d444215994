#!lua flags=allow-oom
-- Removes a content that was put in place for a store that failed, unless something needs it.
--
-- KEYS[1] content   KEYS[2] its needs   KEYS[3] its default artifact
-- ARGV[1] digest   ARGV[2] TTL of an upload in ms: what lasts for longer was not put in place for it
-- Returns 1 where it was removed, else 0

-- @include time

local ends, fields = expiry(KEYS[1]), redis.pcall('HLEN', KEYS[3])
if
  not ends
  or ends > now_in_microseconds() / 1000 + ARGV[2]
  or call('EXISTS', KEYS[2]) == 1 -- whatever its type: somebody may need it
  or (type(fields) == 'number' and fields > 0)
  or content_digest(content_start(KEYS[1])) ~= ARGV[1]
then
  return 0
end
return call('UNLINK', KEYS[1])
