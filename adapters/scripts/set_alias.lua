local refused = repeated() or unusable(A.version) or alias_conflict(A.alias, A.generation)
if refused then
  return refused
end
local alias, event_id = move_alias(A.alias, A.version, not A.generation)
return answer_once({alias = alias, event_id = event_id})
