local first = repeated()
if first then
  return first
end
local found = redis.call('HGET', K.versions, A.version)
if not found then
  return refuse('VersionNotFound', A.adapter .. ' has no version ' .. A.version)
end
if cjson.decode(found).state ~= 'RETIRED' then
  return refuse('VersionInUse', A.adapter .. '@' .. A.version .. ' is not retired',
    {state = 'PUBLISHED'})
end
local reference = A.tenant .. '/' .. A.adapter .. '@' .. A.version
redis.call('SREM', K.named_by, reference) -- a permitted first write: it works when Redis is full
redis.call('SREM', K.refs_config, 'v:' .. reference)
redis.call('SREM', K.refs_weights, 'v:' .. reference)
redis.call('HDEL', K.versions, A.version)
redis.call('HINCRBY', K.used, 'versions', -1)
audit('version.deleted', '', '', A.version)
return answer_once({event_id = emit('version.deleted', A.version)})
