-- Takes back or lowers claims on a content; the last one takes the content along.
--
-- KEYS[1] content   KEYS[2] leases of the content   KEYS[3] default artifact
-- ARGV[1] key prefix   ARGV[2] tag   ARGV[3] digest, '' if only the content itself tells
-- ARGV[4..] claim, score seen or '', deadline or '' to take it back, ...
-- Returns how many were taken back

local taken = 0
local digest = ARGV[3] ~= '' and ARGV[3] or call('GETRANGE', KEYS[1], 10, 41)
call('HGET', KEYS[3], 'h')
for i = 4, #ARGV, 3 do
  taken = taken + (unclaim(KEYS[2], ARGV[i], ARGV[i + 1], ARGV[i + 2]) and 1 or 0)
end
index_settle(KEYS[2])
content_settle({ prefix = ARGV[1] }, ARGV[2], digest, math.floor(now_in_microseconds() / 1000))
return taken
