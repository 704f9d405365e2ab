local first = repeated()
if first then
  return first
end
if redis.call('SISMEMBER', K.own, A.digest) == 0 then
  return refuse('BlobNotFound', 'blob ' .. A.digest .. ' is not uploaded', {digest = A.digest})
end
redis.call('SADD', K.refs, 'ds:' .. A.id)
redis.call('HSET', K.datasets, A.id, A.record)
return answer_once({id = A.id})
