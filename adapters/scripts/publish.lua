local first = repeated()
if first then
  return first
end
local published, refused = publish_version()
return refused or answer_once(published)
