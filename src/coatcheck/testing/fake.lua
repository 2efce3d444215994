-- What fakeredis lacks for a script, put in front of it in place of its shebang: the library `struct` for integers and
-- strings, of `bit` what writes hex digits, permissions, and the reply of a server to HRANDFIELD with a count where the key is absent.
local struct, bit, redis = {}, {}, setmetatable({}, { __index = redis })
do
  function bit.tohex(number)
    return string.format('%08x', number)
  end

  function redis.acl_check_cmd()
    return true
  end

  local SIZES = { b = 1, h = 2, i = 4, l = 8, c = 1 }

  -- The items of a format: kind, size in bytes, and whether the highest byte comes first.
  local function items(format)
    local position, big = 1, false
    return function()
      while position <= #format do
        local kind, size, after = format:match('^(.)(%d*)()', position)
        position = after
        if kind == '>' or kind == '<' or kind == '=' then
          big = kind == '>'
        elseif SIZES[kind:lower()] then
          return kind, tonumber(size) or SIZES[kind:lower()], big
        elseif kind == 's' or kind == 'x' then
          return kind, 1, big
        elseif kind ~= ' ' then
          error("the fake struct library has no format '" .. kind .. "'")
        end
      end
    end
  end

  local function packed(number, size, big)
    local bytes = {}
    for i = 1, size do
      bytes[big and size + 1 - i or i] = string.char(number % 256)
      number = math.floor(number / 256)
    end
    return table.concat(bytes)
  end

  local function unpacked(data, position, size, big, signed)
    local number = 0
    for i = 0, size - 1 do
      number = number * 256 + data:byte(position + (big and i or size - 1 - i))
    end
    return signed and number >= 2 ^ (8 * size - 1) and number - 2 ^ (8 * size) or number
  end

  function struct.pack(format, ...)
    local values, pieces, used = { ... }, {}, 0
    for kind, size, big in items(format) do
      local piece = '\0'
      if kind ~= 'x' then
        used = used + 1
        local value = values[used]
        if kind == 's' then
          piece = value .. '\0'
        elseif kind == 'c' then
          assert(#value >= size, 'string too short')
          piece = size == 0 and value or value:sub(1, size)
        else
          piece = packed(math.floor(value), size, big)
        end
      end
      pieces[#pieces + 1] = piece
    end
    return table.concat(pieces)
  end

  function struct.unpack(format, data, position)
    local values = {}
    position = position or 1
    for kind, size, big in items(format) do
      if kind == 's' then
        size = assert(data:find('\0', position, true), 'unfinished string in data') - position + 1
      elseif kind == 'c' and size == 0 then
        size = table.remove(values)
      end
      local after = position + size
      assert(after <= #data + 1, 'data string too short')
      if kind == 's' then
        values[#values + 1] = data:sub(position, after - 2)
      elseif kind == 'c' then
        values[#values + 1] = data:sub(position, after - 1)
      elseif kind ~= 'x' then
        values[#values + 1] = unpacked(data, position, size, big, kind == kind:lower())
      end
      position = after
    end
    values[#values + 1] = position
    return unpack(values)
  end

  function struct.size(format)
    local sum = 0
    for kind, size in items(format) do
      assert(kind ~= 's' and size > 0, 'variable-size format')
      sum = sum + size
    end
    return sum
  end

  for _, name in ipairs({ 'call', 'pcall' }) do
    local real = redis[name]
    redis[name] = function(command, ...)
      local reply = real(command, ...)
      return not reply and select('#', ...) > 1 and command:upper() == 'HRANDFIELD' and {} or reply
    end
  end
end
