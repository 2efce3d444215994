-- Whether nothing is to be changed yet, because some artifact asks for a call that knows more. The others are told to
-- come again with it: so all are changed together, and what raises has changed none of them.
local function postponed(replies)
  local function asks(reply)
    return reply[1] == 'other' or reply[1] == 'chunked'
  end

  local found = false
  for _, reply in ipairs(replies) do
    found = found or asks(reply)
  end
  for i, reply in ipairs(replies) do
    if found and not asks(reply) then
      replies[i] = { 'later' }
    end
  end
  return found
end
