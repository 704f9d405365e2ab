-- The next version's number stays, so that a number never names two contents.
local first = repeated()
if first then
  return first
end
if not redis.call('ZSCORE', K.adapters, A.adapter) then
  return refuse('AdapterNotFound', 'no adapter ' .. A.adapter)
end
local etag = redis.call('HGET', K.adapter, 'etag')
if A.etag and A.etag ~= etag then
  return refuse('EtagMismatch', 'the adapter has changed meanwhile', {etag = etag})
end
local left = redis.call('HLEN', K.versions)
if left > 0 then
  return refuse('VersionInUse', string.format('%s still has %.0f versions', A.adapter, left),
    {versions = left})
end
redis.call('UNLINK', K.aliases) -- a permitted first write: deleting works when Redis is full
redis.call('HDEL', K.adapter, 'etag', 'labels', 'created_ms')
redis.call('ZREM', K.adapters, A.adapter)
redis.call('HINCRBY', K.used, 'adapters', -1)
if redis.call('EXISTS', K.adapters) == 0 then
  redis.call('SREM', K.namespaces, A.tenant)
end
audit('adapter.deleted', '', '', '')
return answer_once({event_id = emit('adapter.deleted', '')})
