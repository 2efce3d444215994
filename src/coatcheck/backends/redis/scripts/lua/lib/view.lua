-- What a lease says, read where it lies: nothing is unpacked.

local DEFAULT_TYPE = 'application/octet-stream'

-- Where a text in msgpack begins and ends; nil where there is none.
local function text_at(bytes, at)
  local kind = string.byte(bytes, at) or 0
  if kind >= 0xa0 and kind <= 0xbf then
    return at + 1, at + kind - 0xa0
  elseif kind == 0xd9 and #bytes > at then
    return at + 2, at + 1 + string.byte(bytes, at + 1)
  elseif kind == 0xda and #bytes > at + 1 then
    return at + 3, at + 2 + 256 * string.byte(bytes, at + 1) + string.byte(bytes, at + 2)
  elseif kind == 0xdb and #bytes > at + 3 then
    return at + 5, at + 4 + (struct.unpack('>I4', bytes, at + 1))
  end
end

-- Calls a function with the position of each tag of a lease and of its value, until that returns something.
local function each_tag(lease, look)
  local _, stop = text_at(lease, 15)
  local at = (stop or 15) + 1 -- behind the content type, which may be nil
  local kind, count = string.byte(lease, at) or 0, 0
  if kind >= 0x80 and kind <= 0x8f then
    count, at = kind - 0x80, at + 1
  elseif kind == 0xde and #lease > at + 1 then
    count, at = 256 * string.byte(lease, at + 1) + string.byte(lease, at + 2), at + 3
  end
  for _ = 1, count do
    local _, name_stop = text_at(lease, at)
    local value_start, value_stop = text_at(lease, (name_stop or #lease) + 1)
    if not value_stop then
      return nil
    end
    local found = look(at, name_stop, value_start, value_stop)
    if found then
      return found
    end
    at = value_stop + 1
  end
end

-- The value of the tag of a name in msgpack; nil where there is none.
local function tag_of(lease, name)
  return string.find(lease, name, 15, true)
    and each_tag(lease, function(at, name_stop, value_start, value_stop)
      return string.sub(lease, at, name_stop) == name and string.sub(lease, value_start, value_stop)
    end)
end
