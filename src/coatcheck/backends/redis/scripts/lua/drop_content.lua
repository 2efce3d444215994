#!lua flags=allow-oom
-- Removes a content that was found damaged, if it is still the one that was read, so that a store heals it.
--
-- KEYS[1] content   ARGV[1] its first bytes   ARGV[2] its length
-- Returns {1 or 0, chunks: {} or {token, count}}

-- @include format

if call('STRLEN', KEYS[1]) ~= tonumber(ARGV[2]) or call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then
  return { 0, {} }
end
local chunks = chunks_of(KEYS[1], content_start(KEYS[1]))
return { call('UNLINK', KEYS[1]), chunks or {} }
