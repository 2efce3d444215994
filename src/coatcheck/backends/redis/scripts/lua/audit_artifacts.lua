#!lua flags=no-writes
-- Which artifacts of default ids surely fit together with their contents and indexes, as nearly all do: those that one
-- run leases, in one piece. What is said of no other: check_artifact.lua looks at these, one by one.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs
-- ARGV[1] key prefix   ARGV[2..] members
-- Nothing is said where labels are indexed: check_artifact.lua knows these indexes.
-- Derived keys, only read: artifacts, contents, needs, leases, stores and runs' indexes. What is absent does not fit.
-- Returns for each its header, and how many bytes are stored; '' and 0 where it may not fit

-- @include filter
-- @include index

local now, prefix = math.floor(now_in_microseconds() / 1000), ARGV[1]
local try = redis.pcall

local function sound(member)
  local id = id_of(member)
  local key, content = artifact_key(prefix, id), content_key(prefix, id)
  local some = try('HRANDFIELD', key, 3, 'WITHVALUES') -- nothing where it is of another type
  local at = some[1] == 'h' and 1 or 3
  local header, field, lease = some[at + 1], some[4 - at], some[5 - at]
  if #some ~= 4 or some[at] ~= 'h' or not is_lease(field) or is_damaged(lease) then
    return nil
  elseif #header < 34 or not is_known(header) or content_id_of(header) ~= member then
    return nil
  end
  local deadline = lease_deadline(lease)
  local points, created = score_read(deadline), try('ZSCORE', KEYS[1], member)
  if
    deadline <= now
    or expiry(key) ~= deadline
    or expiry(content) ~= deadline
    or try('ZSCORE', KEYS[2], member) ~= points
    or type(created) ~= 'string'
    or tonumber(created) >= 9007199254740992
    or (field ~= '-' and try('ZSCORE', run_key(prefix, string.sub(field, 2)), member) ~= points)
    or call('EXISTS', unpack(rare_keys(prefix, id))) > 0
  then
    return nil
  end
  local stored = try('STRLEN', content)
  if type(stored) ~= 'number' or stored < 50 or is_manifest(content_start(content)) then
    return nil
  end
  return header, stored
end

local reply, fits = {}, is_index(KEYS[1]) and is_index(KEYS[2]) and is_index(KEYS[3])
fits = fits and call('ZCOUNT', KEYS[1], 9007199254740992, '+inf') == 0 -- see is_marked
for i = 2, #ARGV do
  local header, stored
  if fits then
    header, stored = sound(ARGV[i])
  end
  reply[2 * i - 3], reply[2 * i - 2] = header or '', stored or 0
end
return reply
