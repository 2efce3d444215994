#!lua flags=no-writes
-- Which artifacts of default ids surely fit together with their contents and indexes, as nearly all do: those that one
-- run leases, in one piece. What is said of no other: check_artifact.lua looks at these, one by one.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs
-- ARGV[1] key prefix   ARGV[2] '1': sizes and headers are wanted   ARGV[3] how many
-- ARGV[4..] their ids   ARGV[..] their members, in the same order
-- Nothing is said where labels are indexed: check_artifact.lua knows these indexes.
-- Derived keys, only read: artifacts, contents and runs' indexes. What is absent does not fit.
-- Returns {numbers of those that may not fit, lease fields of the others in lines, bytes that are stored of each of the
--   others, header of each of the others}; the last two are empty where they are not wanted

-- @include filter
-- @include index

local now, prefix, with_headers = math.floor(now_in_microseconds() / 1000), ARGV[1], ARGV[2] == '1'
local try, count = redis.pcall, tonumber(ARGV[3])

-- What one command says of all of them: where they stand in the catalog.
local created, deadlines
local fits = is_index(KEYS[1]) and is_index(KEYS[2]) and is_index(KEYS[3])
if fits and call('ZCOUNT', KEYS[1], 9007199254740992, '+inf') == 0 then -- see is_marked
  created = call('ZMSCORE', KEYS[1], unpack(ARGV, count + 4))
  deadlines = call('ZMSCORE', KEYS[2], unpack(ARGV, count + 4))
end

-- What is stored of one, its lease field, and its header; nil where it may not fit.
local function sound(i)
  local id = ARGV[i + 3]
  local key, content = artifact_key(prefix, id), content_key(prefix, id)
  local some = try('HRANDFIELD', key, 3, 'WITHVALUES') -- nothing where it is of another type
  local at = some[1] == 'h' and 1 or 3
  local header, field, lease = some[at + 1], some[4 - at], some[5 - at]
  if #some ~= 4 or some[at] ~= 'h' or not is_lease(field) or is_damaged(lease) or string.find(field, '\n', 1, true) then
    return nil
  elseif #header < 34 or not is_known(header) or content_id_of(header) ~= ARGV[i + count + 3] then
    return nil
  end
  local deadline = lease_deadline(lease)
  if
    deadline <= now
    or expiry(key) ~= deadline
    or expiry(content) ~= deadline
    or tonumber(deadlines[i] or 0) ~= (deadline == FOREVER and math.huge or deadline)
    or tonumber(created[i] or 0) < lease_created(lease)
    or (field ~= '-' and try('ZSCORE', run_key(prefix, string.sub(field, 2)), ARGV[i + count + 3]) ~= deadlines[i])
  then
    return nil
  end
  local stored = try('STRLEN', content)
  if type(stored) ~= 'number' or stored < 50 or ((stored - 62) % 13 == 0 and is_manifest(content_start(content))) then
    return nil
  end
  return stored, field, header
end

local others, fields, sizes, headers = {}, {}, {}, {}
for i = 1, count do
  local stored, field, header
  if created then
    stored, field, header = sound(i)
  end
  if not stored then
    others[#others + 1] = i
  else
    fields[#fields + 1] = field
    if with_headers then
      sizes[#sizes + 1], headers[#headers + 1] = stored, header
    end
  end
end
return { others, table.concat(fields, '\n'), sizes, headers }
