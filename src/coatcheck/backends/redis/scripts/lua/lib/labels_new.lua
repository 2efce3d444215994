-- The labels of an artifact of which nothing is there, without the rest of lib/labels.lua. Needs lib/labelled.lua.

-- Returns a function that notes it under what its only lease says. Or nil where what stands behind `us` is no marker:
-- the clock went back.
local function labels_of_new(prefix, created, us, view)
  local marked_field, names_in, pair_of, value_in = naming(prefix)
  local fields = call('ZRANGE', created, us, '+inf', 'BYSCORE', 'LIMIT', 0, 100)
  for i = 1, #fields do
    fields[i] = marked_field(fields[i])
    if not fields[i] then
      return nil
    end
  end
  local names, is_long = names_in(fields, string.rep(' ', 13) .. view)
  if is_long then
    names = { 'mixed' }
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

  -- Raises where a key is of another type, and has written nothing then.
  return function(id, deadline, score)
    for i = 1, #names do
      local passed, reason = pcall(add, names[i], id, deadline, score)
      if not passed then
        for j = 1, i do
          local pair = pair_of(names[j])
          redis.pcall('ZREM', pair.created, id)
          redis.pcall('ZREM', pair.deadlines, id)
        end
        error(reason, 0)
      end
    end
  end
end
