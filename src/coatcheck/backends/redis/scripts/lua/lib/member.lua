-- Members of indexes.

local hex, unpack_bytes = bit.tohex, struct.unpack

-- The id that a member of an index stands for; nil where it stands for none.
local function id_of(member)
  if #member == 16 then
    local a, b, c, d = unpack_bytes('>I4I4I4I4', member)
    return hex(a) .. hex(b) .. hex(c) .. hex(d)
  end
  return string.match(member, '^::?([%w_-]+)$')
end
