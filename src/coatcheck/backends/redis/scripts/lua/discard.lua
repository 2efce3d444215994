-- Removes what an upload sent, unless it was published.
--
-- KEYS[1] content   KEYS[2] staging   ARGV[1] token of the upload   ARGV[2] number of its chunks
-- Derived keys: the chunks of the upload.
-- Returns how many keys were removed

local head = content_head(KEYS[1])
local removed = call('UNLINK', KEYS[2])
if #head == 62 and is_manifest(head) and chunk_token(head) == ARGV[1] then
  return removed
end
return removed + over('UNLINK', chunk_names_of(KEYS[1], ARGV[1], tonumber(ARGV[2])))
