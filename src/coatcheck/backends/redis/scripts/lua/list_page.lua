-- A page of all artifacts by the time of their latest store.
--
-- KEYS[1] catalog:created
-- ARGV[1] key prefix   ARGV[2] page size   ARGV[3] score to go on from, inclusive, '' from the start
-- ARGV[4] 'desc' or 'asc'   ARGV[5] '1': with the number of live leases and the stored length of the content
-- Derived keys: the artifacts and, for figures, their contents and these contents' chunks.
-- Returns {scanned, last score, views}; a view is {id, head, lease field, lease value[, leases, stored length]}

local now = math.floor(now_in_microseconds() / 1000)
local page
if ARGV[4] == 'desc' then
  local from = ARGV[3] == '' and '+inf' or ARGV[3]
  page = call('ZRANGE', KEYS[1], from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
else
  local from = ARGV[3] == '' and '-inf' or ARGV[3]
  page = call('ZRANGE', KEYS[1], from, '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
end
local views = {}
for i = 1, #page, 2 do
  local id = page[i]
  local key = ARGV[1] .. 'artifact:{' .. id .. '}'
  local head, field, value = latest_lease(key, now)
  if head then
    local view = { id, head, field, value }
    if ARGV[5] == '1' then
      local fields, leases = call('HGETALL', key), 0
      for j = 1, #fields, 2 do
        if is_lease(fields[j]) and lease_deadline(fields[j + 1]) > now then
          leases = leases + 1
        end
      end
      view[5] = leases
      view[6] = stored_bytes(ARGV[1] .. 'content:{' .. tag_of(head, id) .. '}')
    end
    views[#views + 1] = view
  end
end
return { #page / 2, page[#page] or '', views }
