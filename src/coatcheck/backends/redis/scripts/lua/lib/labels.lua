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
-- @include labelled

local MARKED = '9007199254740992' -- 2^53: behind all times of store
local MIXED = { text = '', 'mixed' }

-- Raises where the catalog is of another type. Returns whether anything is indexed here.
local function is_marked(created)
  return call('ZCOUNT', created, MARKED, '+inf') > 0
end

-- The functions of this file, for a partition that has indexes; nil for others, which shall not pay for them.
-- `wish`: markers for a partition that is empty, each behind its length in four hex digits, or nothing.
local function labels_at(home, wish)
  local marked_field, names_in, pair_of, value_in, check_types = naming(home.prefix)
  local fields, building, labels = {}, false, { wished = {} }
  local now = math.floor(now_in_microseconds() / 1000)
  local others = {} -- by artifact: under which names it may be known besides, while an index is built
  local said, new = {}, {} -- names by what a lease says; what was taken, by name

  local function add_field(marker)
    local field = marked_field(marker)
    if field then
      fields[#fields + 1] = field
      building = building or not field.is_built
    end
  end

  if is_marked(home.created) then
    for _, marker in ipairs(call('ZRANGE', home.created, MARKED, '+inf', 'BYSCORE', 'LIMIT', 0, 100)) do
      add_field(marker)
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

  -- What a lease is known under; `text` tells names from others. MIXED where a value is too long for a name. Also
  -- returns the names without that one.
  local function of(lease)
    local names, is_long = names_in(fields, lease)
    names.text = table.concat(names, ' ')
    return is_long and MIXED or names, names
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

  labels.check = check_types

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
    end
    local values, value = value_in(name)
    if last then
      index_set(values, value, index_end(last))
    elseif call('ZREM', values, value) == 1 then
      index_settle(values)
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

  -- Drops values whose indexes have ended: one that was moved to another node ends later than its value says.
  local function prune_values(values, name)
    local dead, keys = call('ZRANGE', values, '-inf', integer(now), 'BYSCORE', 'LIMIT', 0, 100), {}
    for i, value in ipairs(dead) do
      keys[i] = pair_of(string.sub(name, 1, 15) .. value).deadlines
    end
    if #dead > 0 and call('EXISTS', unpack(keys)) == 0 then
      call('ZREM', values, unpack(dead))
    end
  end

  -- Adds to the indexes of a name, of which none of the deadlines, up to `last`, got shorter. `pruning`: also drops as
  -- many members that expired.
  local function add(name, last, by_created, by_deadline, pruning)
    local pair, values, value = pair_of(name), value_in(name)
    if pruning then
      pair_prune(pair, now, #by_created / 2)
      if name ~= 'mixed' then
        prune_values(values, name)
      end
    end
    local ends = pair_add(pair, last, by_created, by_deadline)
    if ends and name ~= 'mixed' then
      index_extend(values, value, ends)
    end
  end

  -- Takes an artifact of which nothing was there, to be noted by `note`. `lease`: its only one. Raises where an index
  -- is of another type.
  function labels.take(id, lease)
    local says = string.sub(lease, 14)
    local names, created, deadline = said[says] or of(lease), lease_created(lease), lease_deadline(lease)
    if not said[says] then
      labels.check(names)
      said[says] = names
    end
    for _, name in ipairs(names) do
      local some = new[name] or { last = 0, by_created = {}, by_deadline = {} }
      local n = #some.by_created
      some.by_created[n + 1], some.by_created[n + 2] = integer(created), id
      some.by_deadline[n + 1], some.by_deadline[n + 2] = score(deadline), id
      some.last = math.max(some.last, deadline)
      new[name] = some
    end
  end

  -- Notes what was taken, in each index at once. `pruning`: as in `add`.
  function labels.note(pruning)
    for name, some in pairs(new) do
      add(name, some.last, some.by_created, some.by_deadline, pruning)
    end
  end

  -- Writes the markers of an empty partition. The catalog is given its end by what is stored next.
  function labels.begin()
    for _, marker in ipairs(labels.wished) do
      call('ZADD', home.created, '+inf', marker)
    end
    labels.wished = {}
  end

  -- Notes an artifact, of which none of the deadlines got shorter. `pruning`: as in `add`.
  function labels.extend(id, names, created, deadline, pruning)
    for _, name in ipairs(names) do
      add(name, deadline, { integer(created), id }, { score(deadline), id }, pruning)
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
