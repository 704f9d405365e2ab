local first = repeated()
if first then
  return first
end
local alias = read_alias(A.alias)
if not exists(alias) then
  return refuse('AliasNotFound', A.adapter .. ' has no alias ' .. A.alias)
end
if alias.previous == cjson.null then
  return refuse('AliasNotFound', 'alias ' .. A.alias .. ' has never pointed elsewhere')
end
local refused = alias_conflict(A.alias, A.generation) or unusable(alias.previous)
if refused then
  return refused
end
local moved, event_id = move_alias(A.alias, alias.previous, not A.generation)
return answer_once({alias = moved, event_id = event_id})
