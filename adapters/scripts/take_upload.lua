-- Become the writer of an upload; the one before it is refused from here on.
if redis.call('HGET', K.upload, 'tenant') ~= A.tenant then
  return refuse('UploadNotFound', 'no such upload')
end
redis.call('PERSIST', K.upload) -- a permitted first write: committing works when Redis is full
redis.call('HSET', K.upload, 'writer', A.writer)
local found = redis.call('HMGET', K.upload, 'digest', 'size', 'offset')
return answer({digest = found[1], size = tonumber(found[2]), offset = tonumber(found[3])})
