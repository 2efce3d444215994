#!lua flags=allow-oom
-- Gives up one run's leases on some artifacts of default ids, each with its content where nothing else needs that.
--
-- KEYS[1] catalog:created   KEYS[2] catalog:deadlines   KEYS[3] runs   KEYS[4] run
-- KEYS[5..] for each artifact three keys: artifact, content, needs
-- KEYS[..] a key that is never written, see lib/keys.lua
-- ARGV[1] key prefix   ARGV[2] run   ARGV[3..] for each artifact: member
-- Derived key, only cleaned up: catalog:outlived.
-- Returns how many live leases there were, and the numbers of the artifacts of which nothing was written, for
--   release.lua: others lease or need them, they are in chunks, or something is indexed by label

-- @include partition

local now, field, count = math.floor(now_in_microseconds() / 1000), lease_field(ARGV[2]), #ARGV - 2
check_partition()

-- Everything is read before anything is written.
local needs = {}
for i = 1, count do
  needs[i] = KEYS[3 * i + 4]
end
local is_needed = call('EXISTS', unpack(needs)) > 0
local live, left, ids, sole, gone = 0, {}, {}, {}, {}
for i = 1, count do
  local member, artifact, content = ARGV[i + 2], KEYS[3 * i + 2], KEYS[3 * i + 3]
  local pair = call('HMGET', artifact, 'h', field)
  local header, lease = pair[1], pair[2]
  if header then
    check_header(header)
  end
  if not (header and lease) then
    ids[#ids + 1] = member
  elseif
    at.labels
    or call('HLEN', artifact) > 2
    or content_id_of(header) ~= member
    or is_needed and call('ZCARD', needs[i]) > 0
    or may_be_chunked(header) and is_manifest(content_start(content))
  then
    left[#left + 1] = i
  else
    live = live + (lease_deadline(lease) > now and 1 or 0)
    ids[#ids + 1], sole[#sole + 1] = member, member
    gone[#gone + 1], gone[#gone + 2] = artifact, content
  end
end

if #gone > 0 then
  call('UNLINK', unpack(gone))
  catalog_drop(sole)
end
if #ids > 0 and call('ZREM', at.run_index, unpack(ids)) > 0 then
  run_settle(at.runs, at.run, at.run_index)
end
return { live, left }
