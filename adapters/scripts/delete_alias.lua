-- The alias keeps its generation, so that a later one does not start again from 1.
local first = repeated()
if first then
  return first
end
if not exists(read_alias(A.alias)) then
  return refuse('AliasNotFound', A.adapter .. ' has no alias ' .. A.alias)
end
local conflict = alias_conflict(A.alias, A.generation)
if conflict then
  return conflict
end
redis.call('PERSIST', K.aliases) -- a permitted first write: deleting works when Redis is full
local alias, event_id = move_alias(A.alias, nil, not A.generation)
return answer_once({alias = alias, event_id = event_id})
