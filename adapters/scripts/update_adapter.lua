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
local changed = whole(tonumber(etag) + 1)
redis.call('HSET', K.adapter, 'labels', A.labels, 'etag', changed)
audit('adapter.updated', '', '', '')
return answer_once({etag = changed, event_id = emit('adapter.updated', changed, A.labels)})
