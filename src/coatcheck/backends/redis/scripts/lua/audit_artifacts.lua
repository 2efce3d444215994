#!lua flags=no-writes
-- Which artifacts of default ids surely fit together with their contents and indexes, as nearly all do: those that one
-- run leases, in one piece. What is said of no other: check_artifact.lua looks at these, one by one.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs
-- ARGV[1] key prefix   ARGV[2] '1': headers are wanted   ARGV[3..] members
-- Nothing is said where labels are indexed: check_artifact.lua knows these indexes.
-- Derived keys, only read: artifacts, contents, needs, leases, stores and runs' indexes. What is absent does not fit.
-- Returns for each how many bytes are stored, 0 where it may not fit; with ARGV[2] then the header of each, '' likewise

-- @include filter
-- @include index

local now, prefix, with_headers = math.floor(now_in_microseconds() / 1000), ARGV[1], ARGV[2] == '1'
local try, count = redis.pcall, #ARGV - 2
local sizes, headers, ids, rare = {}, {}, {}, {}
for i = 1, count do
  ids[i] = id_of(ARGV[i + 2])
  sizes[i], headers[i] = 0, ''
end

-- What one command says of all of them: whether any has what most have not, and where they stand in the catalog.
local created, deadlines
local fits = is_index(KEYS[1]) and is_index(KEYS[2]) and is_index(KEYS[3])
if fits and call('ZCOUNT', KEYS[1], 9007199254740992, '+inf') == 0 then -- see is_marked
  for i = 1, count do
    local n = 3 * i
    rare[n - 2], rare[n - 1], rare[n] = rare_keys(prefix, ids[i])
  end
  if call('EXISTS', unpack(rare)) == 0 then
    rare = nil
  end
  created, deadlines = call('ZMSCORE', KEYS[1], unpack(ARGV, 3)), call('ZMSCORE', KEYS[2], unpack(ARGV, 3))
end

local function sound(i)
  local id = ids[i]
  local key, content = artifact_key(prefix, id), content_key(prefix, id)
  local some = try('HRANDFIELD', key, 3, 'WITHVALUES') -- nothing where it is of another type
  local at = some[1] == 'h' and 1 or 3
  local header, field, lease = some[at + 1], some[4 - at], some[5 - at]
  if #some ~= 4 or some[at] ~= 'h' or not is_lease(field) or is_damaged(lease) then
    return nil
  elseif #header < 34 or not is_known(header) or content_id_of(header) ~= ARGV[i + 2] then
    return nil
  end
  local deadline = lease_deadline(lease)
  local points = deadline == FOREVER and math.huge or deadline
  if
    deadline <= now
    or expiry(key) ~= deadline
    or expiry(content) ~= deadline
    or tonumber(deadlines[i] or 0) ~= points
    or tonumber(created[i] or math.huge) >= 9007199254740992
    or tonumber(created[i]) < lease_created(lease)
    or (field ~= '-' and tonumber(try('ZSCORE', run_key(prefix, string.sub(field, 2)), ARGV[i + 2]) or 0) ~= points)
    or (rare and call('EXISTS', rare_keys(prefix, id)) > 0)
  then
    return nil
  end
  local stored = try('STRLEN', content)
  if type(stored) ~= 'number' or stored < 50 or ((stored - 62) % 13 == 0 and is_manifest(content_start(content))) then
    return nil
  end
  return stored, header
end

for i = 1, created and count or 0 do
  local stored, header = sound(i)
  sizes[i], headers[i] = stored or 0, stored and header or ''
end
if with_headers then
  for i = 1, count do
    sizes[count + i] = headers[i]
  end
end
return sizes
