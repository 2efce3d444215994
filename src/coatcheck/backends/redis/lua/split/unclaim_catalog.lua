-- Takes back or lowers claims on the catalog.
--
-- KEYS[1] created   KEYS[2] deadlines   ARGV claim, score seen or '', deadline or '' to take it back, ...
-- Returns how many were taken back

local taken = 0
call('ZCARD', KEYS[1])
for i = 1, #ARGV, 3 do
  if unclaim(KEYS[2], ARGV[i], ARGV[i + 1], ARGV[i + 2]) or ARGV[i + 2] == '' then
    taken = taken + call('ZREM', KEYS[1], ARGV[i])
  end
end
local last = index_settle(KEYS[2])
if last then
  expire(KEYS[1], last)
end
return taken
