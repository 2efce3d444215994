-- Members of catalog:created that stand for no artifact: they say what is indexed by label, see lib/labels.lua.

local function is_marker(member)
  return #member > 16 and string.find(member, '^![+~]%x%x%x%x%x%x%x%x%x%x%x%x%x%x[t=?]') ~= nil
end
