#!lua flags=no-writes
-- Looks at some runs of a partition, the last to end first.
--
-- KEYS[1] runs
-- ARGV[1] score, '' from the beginning   ARGV[2] run: the place behind which to begin
-- ARGV[3] members to look at   ARGV[4] runs to find   ARGV[5] what they begin with
-- ARGV[6] how many bytes to look at, about
-- Returns {now in ms, score and run of the place behind which there may be more, or '' twice, and for each run that is
--   found: run, score}

-- @include place

local now = math.floor(now_in_microseconds() / 1000)
local asked, most, prefix, budget = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local page = members_page(KEYS[1], '<', ARGV[1], ARGV[2], asked)
local more, reply, found, last = #page == 2 * asked, { now, '', '' }, 0, 0
for i = 1, #page, 2 do
  local run, points = page[i], page[i + 1]
  if tonumber(points) <= now then
    more = false -- all that is behind it has ended, too
    break
  end
  last, budget = i, budget - #run
  if string.sub(run, 1, #prefix) == prefix then
    found = found + 1
    reply[2 * found + 2], reply[2 * found + 3] = run, points
  end
  if found >= most or budget <= 0 then
    more = more or i + 1 < #page
    break
  end
end
if more and last > 0 then
  reply[2], reply[3] = page[last + 1], page[last]
end
return reply
