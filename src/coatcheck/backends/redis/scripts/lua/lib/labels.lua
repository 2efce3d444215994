-- Indexes by label: which artifacts have a content type, a value of a tag, or a tag at all. Each is a pair like the
-- catalog, by time of store and by deadline, with the same scores. What a partition indexes, its catalog says by
-- *markers*, members of catalog:created that stand behind all times: '!', '+' or '~' while the index is being built,
-- a token of 14 hex digits, and the field: 't' for the content type, '=' or '?' and the name of a tag in msgpack.
--
-- An artifact is known under the labels that all of its leases agree about. Where they don't, or a value is long, it
-- is *mixed* until it ends: in one pair for all fields, where readers look, too. So a list that reads an index, then
-- what is mixed, misses nothing, and the members of an index need no second look to be counted.
-- @include index
-- @include keys
-- @include leases
-- @include marker

local MARKED = '9007199254740992' -- 2^53: behind all times of store
local MIXED = { text = '', 'mixed' }

-- Raises where the catalog is of another type. Returns whether anything is indexed here.
local function is_marked(created)
  return call('ZCOUNT', created, MARKED, '+inf') > 0
end

-- The functions of this file, for a partition that has indexes; nil for others, which shall not pay for them.
-- `wish`: markers for a partition that is empty, each behind its length in four hex digits, or nothing.
local function labels_at(home, wish)
  -- @include view
  local fields, building, labels = {}, false, { wished = {} }
  local now = math.floor(now_in_microseconds() / 1000)
  local others = {} -- by artifact: under which names it may be known besides, while an index is built

  local function add_field(marker)
    local token, kind, name = string.sub(marker, 3, 16), string.sub(marker, 17, 17), string.sub(marker, 18)
    fields[#fields + 1] = { token = token, kind = kind, name = name }
    building = building or string.sub(marker, 2, 2) ~= '+'
  end

  if is_marked(home.created) then
    for _, marker in ipairs(call('ZRANGE', home.created, MARKED, '+inf', 'BYSCORE', 'LIMIT', 0, 100)) do
      if is_marker(marker) then
        add_field(marker)
      end
    end
  elseif wish and wish ~= '' and call('EXISTS', home.created) == 0 then
    local from = 1
    while from < #wish do
      local size = tonumber(string.sub(wish, from, from + 3), 16)
      local marker = string.sub(wish, from + 4, from + 3 + size)
      add_field(marker)
      labels.wished[#labels.wished + 1] = marker
      from = from + 4 + size
    end
  end
  if #fields == 0 then
    return nil
  end

  local function pair_of(name)
    local key = labelled_key(home.prefix, name)
    return { created = key .. ':created', deadlines = key .. ':deadlines' }
  end

  local function values_of(name)
    return labelled_key(home.prefix, string.sub(name, 1, 14)) .. ':values'
  end

  -- The part of a name that says the value.
  local function value_in(name)
    return string.sub(name, 16)
  end

  -- What a lease is known under: names, '<token>:<quoted value>'; `text` tells them from others. MIXED where a value
  -- is too long for a name. Also returns the names without that one.
  local function of(lease)
    local names, short = {}, true
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
        short = false
      elseif value then
        names[#names + 1] = field.token
          .. ':'
          .. string.gsub(value, '[^A-Za-z0-9_.~-]', function(c)
            return string.format('%%%02X', string.byte(c))
          end)
      end
    end
    names.text = table.concat(names, ' ')
    return short and names or MIXED, names
  end

  -- What its leases say of an artifact, and all names that they have; MIXED where they are many: nobody reads them all.
  local function truth(a)
    local names, all, fields_of = nil, {}, {}
    if call('HLEN', a.key) > MANY then
      local some = call('HRANDFIELD', a.key, 3, 'WITHVALUES')
      for i = 1, #some, 2 do
        fields_of[#fields_of + 1], fields_of[#fields_of + 2] = some[i], some[i + 1]
      end
      names = MIXED
    else
      fields_of = call('HGETALL', a.key)
    end
    for i = 1, #fields_of, 2 do
      if is_lease(fields_of[i]) then
        local one, its_names = of(fields_of[i + 1])
        all[#all + 1] = its_names
        names = (not names or names.text == one.text) and names ~= MIXED and one or MIXED
      end
    end
    return names, all
  end

  -- Raises where an index is of another type: called before anything is written.
  function labels.check(names)
    for _, name in ipairs(names) do
      local pair = pair_of(name)
      call('ZCARD', pair.created)
      call('ZCARD', pair.deadlines)
      if names ~= MIXED then
        call('ZCARD', values_of(name))
      end
    end
  end

  -- Whether an artifact is mixed: an expired member tells of one that had the same id.
  local function is_mixed(a)
    local deadline = call('ZSCORE', pair_of('mixed').deadlines, a.id)
    return deadline and tonumber(deadline) > now
  end

  -- What an artifact is known under; nil where there is none. All of its leases agree, unless it is mixed.
  local function held(a)
    if is_mixed(a) then
      return MIXED
    elseif building then
      local names, all = truth(a)
      for _, one in ipairs(all) do
        labels.check(one)
      end
      others[a.id] = names == MIXED and all or nil
      return names
    end
    local some = call('HRANDFIELD', a.key, 3, 'WITHVALUES')
    for i = 1, #some, 2 do
      if is_lease(some[i]) then
        return (of(some[i + 1]))
      end
    end
    return nil
  end
  labels.held = held

  -- What an artifact is to be known under, once a lease is in this field. `before`: what it is known under; `alone`:
  -- all other leases go. Raises where an index is of another type.
  function labels.with(a, before, field, lease, alone)
    local names = of(lease)
    if before and not alone then
      alone = call('HLEN', a.key) - call('HEXISTS', a.key, field) - call('HEXISTS', a.key, 't') <= 1
    end
    if before and (before == MIXED or not alone and before.text ~= names.text) then
      names = MIXED
    end
    labels.check(names)
    return names
  end

  -- The values of a field are known with the ends of their indexes. `last`: the latest deadline in it.
  local function settle(name, last)
    if name == 'mixed' then
      return
    elseif last then
      index_set(values_of(name), value_in(name), index_end(last))
    elseif call('ZREM', values_of(name), value_in(name)) == 1 then
      index_settle(values_of(name))
    end
  end

  local function drop(id, names, except)
    local kept = {}
    for _, name in ipairs(except) do
      kept[name] = true
    end
    for _, name in ipairs(names) do
      local pair = pair_of(name)
      if not kept[name] and call('ZREM', pair.created, id) + call('ZREM', pair.deadlines, id) > 0 then
        settle(name, pair_settle(pair))
      end
    end
  end

  local function drop_others(id, except)
    local all = others[id]
    others[id] = nil
    for _, names in ipairs(all or {}) do
      drop(id, names, except)
    end
  end

  -- `except`: names that stay.
  function labels.drop(id, names, except)
    drop_others(id, except or {})
    drop(id, names, except or {})
  end

  -- Writes the markers of an empty partition. The catalog is given its end by what is stored next.
  function labels.begin()
    for _, marker in ipairs(labels.wished) do
      call('ZADD', home.created, '+inf', marker)
    end
    labels.wished = {}
  end

  -- Notes an artifact, of which none of the deadlines got shorter. `pruning`: also drops as many members that expired.
  function labels.extend(id, names, created, deadline, pruning)
    for _, name in ipairs(names) do
      local pair = pair_of(name)
      if pruning then
        pair_prune(pair, now)
      end
      local ends = pair_extend(pair, id, created, deadline)
      if ends and name ~= 'mixed' then
        index_extend(values_of(name), value_in(name), ends)
      end
    end
  end

  function labels.set(id, names, created, deadline)
    drop_others(id, names)
    for _, name in ipairs(names) do
      local pair = pair_of(name)
      settle(name, pair_set(pair, id, created, deadline))
    end
  end

  -- Brings an artifact's entries in line with its leases, whatever they were. Returns whether they were not.
  function labels.mend(a, created, deadline, repair)
    local names, all = truth(a)
    if call('HLEN', a.key) > MANY or is_mixed(a) then
      names = held(a)
    end
    local wrong = false
    for _, name in ipairs(names or {}) do
      local pair = pair_of(name)
      wrong = wrong
        or tonumber(call('ZSCORE', pair.created, a.id) or -1) ~= created
        or call('ZSCORE', pair.deadlines, a.id) ~= score_read(deadline)
    end
    if repair and names then
      for _, one in ipairs(all) do
        drop(a.id, one, names)
      end
      labels.set(a.id, names, created, deadline)
    end
    return wrong
  end

  return labels
end
