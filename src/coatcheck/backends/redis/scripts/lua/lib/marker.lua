-- Members of catalog:created that stand for no artifact: they say what is indexed by label, see lib/labels.lua.

-- What a marker says; nil for any other member.
local function marked_field(member)
  if #member > 16 then
    local built, token, kind, name = string.match(member, '^!([+~])(%x%x%x%x%x%x%x%x%x%x%x%x%x%x)([t=?])(.*)')
    return built and { is_built = built == '+', token = token, kind = kind, name = name }
  end
end
