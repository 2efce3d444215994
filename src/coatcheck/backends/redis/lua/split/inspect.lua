-- Whether one artifact fits together, as far as its slot knows; repairs what follows from its leases.
--
-- KEYS[1] artifact   KEYS[2] content of that name   KEYS[3] leases of that content
-- ARGV[1] key prefix   ARGV[2] id   ARGV[3] '1': repair, 'e': only if it has expired
-- Returns {tag of its content or '' where that cannot be read, head or '', {problem, ...}, field, beginning of live lease, ...}

local now = math.floor(now_in_microseconds() / 1000)
local key, id = KEYS[1], ARGV[2]
if call('TYPE', key).ok ~= 'hash' then
  return { '', '', { expiry(key) and 'wrong-type' or nil } }
end
local head = call('HGET', key, 'h')
if not head or #head < 35 then
  return { '', '', { 'damaged-metadata' } }
end
if not is_known(head) then
  return { '', '', { 'future-version' } }
end
local result = { tag_of(head, id), head, {} }
local problems = result[3]

local fields, deadline = call('HGETALL', key), 0
for i = 1, #fields, 2 do
  if is_lease(fields[i]) then
    if #fields[i + 1] < 13 then
      return { result[1], head, { 'damaged-metadata' } }
    end
    local ends = lease_deadline(fields[i + 1])
    if ends > now then
      deadline = math.max(deadline, ends)
      result[#result + 1] = fields[i]
      result[#result + 1] = string.sub(fields[i + 1], 1, 13)
    end
  end
end

local kind = is_named(head) and call('TYPE', KEYS[2]).ok
if kind and kind ~= 'string' and kind ~= 'none' then
  problems[1] = 'wrong-type'
  return result
end
local wrong_expiry = expiry(key) ~= deadline
if deadline == 0 then
  if expiry(key) > now then -- else it ends by itself, this very millisecond
    problems[1] = 'expired-artifact'
  end
else
  if kind == 'none' then
    problems[#problems + 1] = 'lost-content'
  elseif kind then
    wrong_expiry = wrong_expiry or expiry(KEYS[2]) < deadline
  end
  if wrong_expiry then
    problems[#problems + 1] = 'wrong-expiry'
  end
end
if (ARGV[3] == '1' and wrong_expiry) or (ARGV[3] ~= '' and problems[1] == 'expired-artifact') then
  call('ZCARD', KEYS[3])
  artifact_settle({ prefix = ARGV[1] }, key, id, head, now)
end
return result
