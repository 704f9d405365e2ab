-- Replace the record of a version. If it is not the one that the caller read, nothing changes and
-- the answer has no event. Retiring is refused while an alias points to the version.
local first = repeated()
if first then
  return first
end
local found = redis.call('HGET', K.versions, A.version)
if found ~= A.expected then
  return answer({event_id = ''})
end
local retire, state = A.kind == 'version.retired', cjson.decode(found).state
if retire and state == 'RETIRED' then
  return refuse('VersionRetired', A.adapter .. '@' .. A.version .. ' is retired already',
    {state = state})
end
if not retire and state ~= 'RETIRED' then
  return refuse('VersionInUse', A.adapter .. '@' .. A.version .. ' is not retired', {state = state})
end
if retire then
  local all = redis.call('HGETALL', K.aliases)
  for i = 1, #all, 2 do
    local alias = cjson.decode(all[i + 1])
    if exists(alias) and whole(alias.version) == A.version then
      return refuse('VersionAliased', string.format('alias %s points to %s@%s',
        all[i], A.adapter, A.version), {alias = all[i]})
    end
  end
end
redis.call('PERSIST', K.versions) -- a permitted first write: retiring works when Redis is full
redis.call('HSET', K.versions, A.version, A.replacement)
audit(A.kind, '', '', A.version)
return answer_once({event_id = emit(A.kind, A.version, A.replacement)})
