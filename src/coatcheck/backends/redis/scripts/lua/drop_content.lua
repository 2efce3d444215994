-- Removes a content that was found damaged, if it is still the one that was read, so that a store heals it.
--
-- KEYS[1] content   ARGV[1] its first bytes   ARGV[2] its length
-- Derived keys: its chunks.
-- Returns 1 or 0

if call('STRLEN', KEYS[1]) ~= tonumber(ARGV[2]) or call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then
  return 0
end
over('UNLINK', chunk_names(KEYS[1], content_head(KEYS[1]), KEYS[1]))
return call('UNLINK', KEYS[1])
