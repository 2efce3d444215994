-- Which views a listing wants. Texts are compared as they are stored: nothing in them has a meaning.
-- @include keys
-- @include leases
-- @include view
-- @include member

-- ARGV from `first` on: what ids begin with, smallest and largest size, earliest and latest time of store in us, what
-- the run begins with, content type in msgpack, what the type begins with; then tags: name and value in msgpack, or
-- the name, and '1' where any value will do. Each is '' where it does not matter.
local function filter_at(first)
  local wanted = {
    id = ARGV[first],
    smallest = tonumber(ARGV[first + 1]),
    largest = tonumber(ARGV[first + 2]),
    earliest = tonumber(ARGV[first + 3]),
    latest = tonumber(ARGV[first + 4]),
    run = ARGV[first + 5],
    content_type = ARGV[first + 6],
    kind = ARGV[first + 7],
    tags = {},
    told = {}, -- whether leases have the tags, by what they say
  }
  for i = first + 8, #ARGV, 2 do
    wanted.tags[#wanted.tags + 1] = { text = ARGV[i], any = ARGV[i + 1] == '1' }
  end
  wanted.sized = wanted.smallest or wanted.largest
  wanted.timed = wanted.earliest or wanted.latest
  wanted.typed = wanted.content_type ~= '' or wanted.kind ~= ''
  wanted.filtered = wanted.sized or wanted.timed or wanted.typed or #wanted.tags > 0 or wanted.id .. wanted.run ~= ''
  return wanted
end

-- Whether a lease has a tag: the name and value that are wanted may also be part of others.
local function has_tag(lease, tag)
  return each_tag(lease, function(at, name_stop, _, value_stop)
    return string.sub(lease, at, tag.any and name_stop or value_stop) == tag.text
  end)
end

-- The same for all tags. Many leases say the same.
local function has_tags(lease, wanted)
  local says = string.sub(lease, 14)
  if wanted.told[says] == nil then
    wanted.told[says] = true
    for _, tag in ipairs(wanted.tags) do
      wanted.told[says] = wanted.told[says] and has_tag(lease, tag) or false
    end
  end
  return wanted.told[says]
end

-- Whether the view of an artifact may be wanted, as far as id and time of the latest store tell. `stored`: that, if it
-- is known.
local function is_possible(wanted, prefix, id, stored)
  if string.sub(id, 1, #wanted.id) ~= wanted.id then
    return false
  elseif not (stored and wanted.timed) then
    return true
  elseif tonumber(stored) < (wanted.earliest or 0) then
    return false
  end
  -- The latest store of a single lease is the one that is seen.
  return tonumber(stored) <= (wanted.latest or math.huge) or call('HLEN', artifact_key(prefix, id)) > 2
end

-- Whether a view is wanted. One that is damaged is: whoever reads it says so.
local function is_wanted(wanted, header, field, lease)
  if #header < 34 or is_damaged(lease) then
    return true
  end
  if wanted.sized then
    local size = size_of(header) or 0
    if size < (wanted.smallest or 0) or size > (wanted.largest or math.huge) then
      return false
    end
  end
  if wanted.timed then
    local created = lease_created(lease)
    if created < (wanted.earliest or 0) or created > (wanted.latest or math.huge) then
      return false
    end
  end
  if wanted.run ~= '' and string.sub(field, 1, #wanted.run) ~= wanted.run then
    return false
  end
  if wanted.typed then
    local start, stop = text_at(lease, 15)
    local packed = start and string.sub(lease, 15, stop) or '\192' -- nil: the type that most have
    if wanted.content_type ~= '' and packed ~= wanted.content_type then
      return false
    end
    local text = start and string.sub(lease, start, stop) or DEFAULT_TYPE
    if wanted.kind ~= '' and string.sub(text, 1, #wanted.kind) ~= wanted.kind then
      return false
    end
  end
  for _, tag in ipairs(wanted.tags) do
    if not string.find(lease, tag.text, 15, true) then
      return false
    end
  end
  return #wanted.tags == 0 or has_tags(lease, wanted)
end

-- What an index leads to: header, field and lease of a run, or the latest where `field` is '', and whether that is one
-- of several. Most artifacts have one lease, so that the keys of indexes of many are not made in vain.
local function view_at(prefix, id, field, now)
  local key = artifact_key(prefix, id)
  if field ~= '' then
    return lease_of(key, field, now)
  end
  local header, held, lease = single_lease(key, now)
  if header == true then
    header, held, lease = latest_of_many(artifact_keys(prefix, id), now)
    return header, held, lease, true
  end
  return header or nil, held, lease
end
