#!lua flags=no-writes
-- Looks at some members of an index and returns the views that are wanted.
--
-- KEYS[1] index
-- ARGV[1] key prefix   ARGV[2] lease field, '' for the latest live lease of each artifact
-- ARGV[3] the way: '>' in order, '<' backwards, '*' in no order, by a cursor of ZSCAN
-- ARGV[4] score or cursor, '' from the beginning; 'now': in order from what has not expired   ARGV[5] member
-- ARGV[6] members to look at   ARGV[7] views to find   ARGV[8] how many bytes to return, about
-- ARGV[9] '1' where scores are times of store, of which none is before that of the view
-- ARGV[10] '1' where keys may lie on another node: what looks absent may be there
-- ARGV[11..] filter, see lib/filter.lua
-- Derived keys, only read: artifacts, their leases and stores.
-- Returns {1 if there may be more, cursor or last score, last member or '', and for each view: score unless by a
--   cursor, member, header, lease field unless that is ARGV[2], lease}. Instead of what comes behind the member: empty
--   texts for one that stands for no artifact, and nil for one whose keys have to be declared, or for which a reply by
--   a cursor has no room, whether it is wanted or not

-- @include keys
-- @include leases
-- @include filter
-- @include place
-- @include marker

local now = math.floor(now_in_microseconds() / 1000)
local prefix, field, way, from = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, budget, by_store = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] == '1'
local movable, wanted = ARGV[10] == '1', filter_at(11)
local is_plain, artifacts = field ~= '' and not wanted.filtered, artifact_key(prefix, '')

local asked = tonumber(ARGV[6])
local page, cursor = members_page(KEYS[1], way, from, ARGV[5], asked)
local more = cursor and cursor ~= '0' or not cursor and #page == 2 * asked
local reply, found, bytes, last, n = { 0, cursor or from, '' }, 0, 0, 0, 3
for i = 1, #page, 2 do
  local member, points = page[i], page[i + 1]
  local id = id_of(member)
  local header, held, lease
  if marked_field(member) then
    header = nil
  elseif by_store and way == '<' and tonumber(points) < (wanted.earliest or 0) then
    more = false -- nor is anything behind it wanted
    break
  elseif bytes > budget then
    header, held, lease = false, false, false
  elseif not id then
    header, held, lease = '', '', ''
  elseif is_plain or is_possible(wanted, prefix, id, by_store and points) then
    if is_plain then -- what `view_at` does, at two thirds of its cost
      local pair = call('HMGET', artifacts .. id, 'h', field)
      header, held, lease = pair[1] or nil, field, pair[2]
      if header and not (lease and lease_deadline(lease) > now) then
        header = nil
      end
    else
      header, held, lease = view_at(prefix, id, field, now)
    end
    if header and wanted.filtered and not is_wanted(wanted, header, held, lease) then
      header = nil
    elseif not header and movable and call('EXISTS', artifacts .. id) == 0 then
      header, held, lease = false, false, false
    end
  end
  last = i
  if header ~= nil then
    if not cursor then
      n = n + 1
      reply[n] = points
    end
    reply[n + 1], reply[n + 2] = member, header
    n = n + 2
    if field == '' then
      n = n + 1
      reply[n] = held
    end
    n = n + 1
    reply[n] = lease
    found = found + 1
    bytes = bytes + #member + (header and #header + #held + #lease or 0)
    if not cursor and (found >= most or bytes > budget) then
      more = more or i + 1 < #page
      break
    end
  end
end
if not cursor and last > 0 then
  reply[2], reply[3] = page[last + 1], page[last]
end
reply[1] = more and 1 or 0
return reply
