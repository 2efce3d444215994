#!lua flags=no-writes
-- Looks at some members of an index and adds up the views that are wanted.
--
-- KEYS[1] index
-- ARGV[1] key prefix   ARGV[2] lease field, '' for the latest live lease of each artifact
-- ARGV[3] cursor of ZSCAN, '' where members are told   ARGV[4] members to look at: where they are told, so many
-- ARGV[5] '1' where scores are times of store, of which none is before that of the view; else they are deadlines
-- ARGV[6] '1' where keys may lie on another node: what looks absent may be there
-- ARGV[7] what to count by: '', 'type', 'run', or 'tag' and the name of a tag in msgpack
-- ARGV[8] '1': also what leases and contents come to; of an index by deadline without filter, where ARGV[7] is '',
--   nobody asks for times of store
-- ARGV[9..] members that are told; behind them the filter, see lib/filter.lua
-- Derived keys, only read: artifacts, their leases and stores, their contents. What looks absent of these is nothing.
-- Returns {cursor, sums, members whose keys have to be declared, values, contents}
--   sums: see lib/sums.lua; then, with ARGV[8], leases, bytes for each lease, artifacts that end within an hour, and
--         within a day
--   values: value and how often, by turns; a run as its lease field, '' for the default content type
--   contents: of artifacts whose id is their content's: how many, bytes, bytes as stored; then for each other one and
--         each manifest: digest, bytes, bytes as stored, 1 for a manifest, 1 for content of an explicit id

-- @include keys
-- @include leases
-- @include filter
-- @include place
-- @include marker
-- @include sums

local now = math.floor(now_in_microseconds() / 1000)
local prefix, field, by_store = ARGV[1], ARGV[2], ARGV[5] == '1'
local by, with_contents = ARGV[7], ARGV[8] == '1'
local told = ARGV[3] == '' and tonumber(ARGV[4]) or 0
local wanted = filter_at(9 + told)
local plain = with_contents and by == '' -- all artifacts: their number of leases is enough
local sums = sums_begun()
local leases, handed_in, hour, day = 0, 0, 0, 0
local contents = { 0, 0, 0 }
local values, unknown = {}, {}

-- How many live leases an artifact has that has several, and when the last of them ends.
local function leases_of(id, deadline)
  local a = artifact_keys(prefix, id)
  if call('HLEN', a.key) > MANY then
    return call('ZCOUNT', a.leases, '(' .. integer(now), '+inf'), index_last(a.leases) or deadline
  end
  local count, all = 0, call('HGETALL', a.key)
  for i = 1, #all, 2 do
    local ends = is_lease(all[i]) and lease_deadline(all[i + 1]) or 0
    if ends > now then
      count, deadline = count + 1, math.max(deadline, ends)
    end
  end
  return count, deadline
end

local function add_content(id, member, header, size)
  local content = content_id_of(header)
  local name = content == member and id or id_of(content)
  local key = content_key(prefix, name)
  local stored = call('STRLEN', key)
  local chunked = stored ~= size + 50 -- as it is without compression
    and stored > 62
    and (stored - 62) % 13 == 0
    and is_manifest(content_start(key))
  if id == name then
    contents[1], contents[2], contents[3] = contents[1] + 1, contents[2] + size, contents[3] + stored
  end
  if id ~= name or chunked then
    local n = #contents
    contents[n + 1], contents[n + 2], contents[n + 3] = digest_of(header), size, stored
    contents[n + 4], contents[n + 5] = chunked and 1 or 0, id ~= name and 1 or 0
  end
end

local function value_of(held, lease)
  if by == 'run' then
    return held
  elseif by == 'type' then
    local start, stop = text_at(lease, 15)
    return start and string.sub(lease, start, stop) or ''
  end
  return tag_of(lease, string.sub(by, 4))
end

local page = { '0', {} }
if told == 0 then
  page = call('ZSCAN', KEYS[1], ARGV[3], 'COUNT', ARGV[4])
else
  for i, points in ipairs(call('ZMSCORE', KEYS[1], unpack(ARGV, 9, 8 + told))) do
    page[2][2 * i - 1], page[2][2 * i] = ARGV[8 + i], points or '0'
  end
end
for i = 1, #page[2], 2 do
  local member = page[2][i]
  local id = id_of(member)
  local points = field == '' and not by_store and tonumber(page[2][i + 1])
  -- What has expired may be there again, known under something else.
  local passed = points and points <= now
  if not id and not marked_field(member) then
    error(DAMAGED)
  elseif
    id
    and not passed
    and (not wanted.filtered or is_possible(wanted, prefix, id, by_store and page[2][i + 1]))
  then
    local header, held, lease, several
    if plain then
      local noted = call('HMGET', artifact_key(prefix, id), 'h', 't') -- which is the latest of several
      header, several = noted[1], noted[2]
    else
      header, held, lease, several = view_at(prefix, id, field, now)
    end
    if not header then
      if ARGV[6] == '1' and call('EXISTS', artifact_key(prefix, id)) == 0 then
        unknown[#unknown + 1] = member
      end
    elseif not wanted.filtered or is_wanted(wanted, header, held, lease) then
      local size, deadline
      if plain then
        size, deadline = sums_add_size(sums, header), points
      else
        size, deadline = sums_add(sums, header, lease)
      end
      if by ~= '' then
        local value = value_of(held, lease)
        if value then
          values[value] = (values[value] or 0) + 1
        end
      end
      if with_contents then
        local count, ends = 1, deadline
        if several then
          count, ends = leases_of(id, deadline)
        end
        leases, handed_in = leases + count, handed_in + count * size
        hour = hour + (ends <= now + 3600000 and 1 or 0)
        day = day + (ends <= now + 86400000 and 1 or 0)
        add_content(id, member, header, size)
      end
    end
  end
end

local counted = {}
for value, count in pairs(values) do
  counted[#counted + 1], counted[#counted + 2] = value, count
end
sums_ended(sums)
sums[7], sums[8], sums[9], sums[10] = leases, handed_in, hour, day
return { page[1], sums, unknown, counted, contents }
