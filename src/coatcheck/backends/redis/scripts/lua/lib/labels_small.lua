-- What a small store needs of indexes by label, without the rest of lib/labels.lua. Needs lib/labelled.lua.

-- What an artifact is known under by what its new lease says: {names, stay, note}. Nil where what stands behind `us` is
-- no marker: the clock went back.
local function labels_small(prefix, created, us, view)
  local marked_field, names_in, pair_of, value_in, check_types = naming(prefix)
  local fields, building, labels = call('ZRANGE', created, us, '+inf', 'BYSCORE', 'LIMIT', 0, 100), false, {}
  for i = 1, #fields do
    fields[i] = marked_field(fields[i])
    if not fields[i] then
      return nil
    end
    building = building or not fields[i].is_built
  end

  local function names_of(lease)
    local names, is_long = names_in(fields, lease)
    return is_long and { 'mixed' } or names
  end
  labels.names = names_of(string.rep(' ', 13) .. view)

  -- Whether an artifact that is there is known under the same. `lease`: the run's own, if it has one: all say the same
  -- unless it is mixed, and then it stays so. Raises where an index is of another type.
  function labels.stay(artifact, id, lease, now)
    local mixed = call('ZSCORE', pair_of('mixed').deadlines, id)
    if mixed and tonumber(mixed) > now then -- else it is one that had the same id
      labels.names = { 'mixed' }
    elseif building then
      return false
    else
      local some = lease and {} or call('HRANDFIELD', artifact, 3, 'WITHVALUES')
      for i = 1, #some, 2 do
        if some[i] ~= 'h' and some[i] ~= 't' then
          lease = some[i + 1]
        end
      end
      if not lease or #lease < 13 then
        return false
      elseif
        string.sub(lease, 14) ~= view and table.concat(names_of(lease), ' ') ~= table.concat(labels.names, ' ')
      then
        return false
      end
    end
    check_types(labels.names)
    return true
  end

  local function end_at(key, score)
    if score == '+inf' then
      call('PERSIST', key)
    else
      call('PEXPIREAT', key, score)
    end
  end

  local function add(name, id, deadline, score)
    local pair = pair_of(name)
    local ends = call('PEXPIRETIME', pair.deadlines)
    call('ZADD', pair.created, us, id)
    call('ZADD', pair.deadlines, score, id)
    if ends == -1 or ends >= deadline then
      return
    end
    local last = score
    if last ~= '+inf' then
      last = string.format('%.0f', math.ceil(deadline / 100) * 100) -- see `index_end`
    end
    end_at(pair.created, last)
    end_at(pair.deadlines, last)
    if name ~= 'mixed' then
      local values, value = value_in(name)
      ends = call('PEXPIRETIME', values)
      call('ZADD', values, last, value)
      if ends ~= -1 and ends < deadline then
        end_at(values, last)
      end
    end
  end

  -- Notes an artifact. Raises where a key is of another type, and has written nothing then: of what is there already
  -- `stay` has looked.
  function labels.note(id, deadline)
    local score = deadline == 281474976710655 and '+inf' or string.format('%.0f', deadline)
    for i = 1, #labels.names do
      local passed, reason = pcall(add, labels.names[i], id, deadline, score)
      if not passed then
        for j = 1, i do
          local pair = pair_of(labels.names[j])
          redis.pcall('ZREM', pair.created, id)
          redis.pcall('ZREM', pair.deadlines, id)
        end
        error(reason, 0)
      end
    end
  end

  return labels
end
