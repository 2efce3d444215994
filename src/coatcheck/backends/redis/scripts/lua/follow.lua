#!lua flags=allow-oom
-- Brings chunks in line with their content: they end with it, or go where it is gone or another upload's.
--
-- KEYS[1] content   KEYS[2] needs   KEYS[3..] chunks of one upload, once published
-- ARGV[1] token of that upload   ARGV[2] hold that is given up, or ''
-- Returns how many of them are there and last as long as the content and its holds

-- @include index

if ARGV[2] ~= '' and call('ZREM', KEYS[2], ARGV[2]) == 1 then
  index_settle(KEYS[2])
end
if not KEYS[3] then
  return 0
end
local chunks = chunks_of(KEYS[1], content_start(KEYS[1]))
if not chunks or chunks[1] ~= ARGV[1] then
  call('UNLINK', unpack(KEYS, 3))
  return 0
end
local ends = math.max(expiry(KEYS[1]), index_last(KEYS[2]) or 0)
for i = 3, #KEYS do
  expire(KEYS[i], ends)
end
return call('EXISTS', unpack(KEYS, 3))
