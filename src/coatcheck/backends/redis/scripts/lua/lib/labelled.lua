-- Names of indexes by label: what a lease is known under, and the keys, see lib/labels.lua. One function makes the
-- others: most stores need none of them.

local function naming(prefix)
  -- @include marker
  -- @include view

  local function quoted(byte)
    return string.format('%%%02X', string.byte(byte))
  end

  -- What a lease is known under: names, '<token>:<quoted value>'. Also returns whether a value is too long for one.
  local function names_in(fields, lease)
    local names, is_long = {}, false
    for _, field in ipairs(fields) do
      local value
      if field.kind == 't' then
        local start, stop = text_at(lease, 15)
        value = start and string.sub(lease, start, stop) or DEFAULT_TYPE
      elseif field.kind == '=' then
        value = tag_of(lease, field.name)
      elseif tag_of(lease, field.name) then
        value = ''
      end
      if value and #value > 128 then
        is_long = true
      elseif value then
        names[#names + 1] = field.token .. ':' .. string.gsub(value, '[^A-Za-z0-9_.~-]', quoted)
      end
    end
    return names, is_long
  end

  -- The two indexes of a name.
  local function pair_of(name)
    local key = prefix .. 'labelled:' .. name
    return { created = key .. ':created', deadlines = key .. ':deadlines' }
  end

  -- The index of the values of a field, and which of them a name says.
  local function value_in(name)
    return prefix .. 'labelled:' .. string.sub(name, 1, 14) .. ':values', string.sub(name, 16)
  end

  -- Raises where an index of these names is of another type: called before anything is written.
  local function check_types(names)
    for _, name in ipairs(names) do
      local pair = pair_of(name)
      redis.call('ZCARD', pair.created)
      redis.call('ZCARD', pair.deadlines)
      if name ~= 'mixed' then
        redis.call('ZCARD', (value_in(name)))
      end
    end
  end

  return marked_field, names_in, pair_of, value_in, check_types
end
