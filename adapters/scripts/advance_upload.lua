local found = redis.call('HMGET', K.upload, 'writer', 'offset')
if not found[1] then
  return refuse('UploadNotFound', 'no such upload')
end
if found[1] ~= A.writer then
  return refuse('UploadTaken', 'another writer took this upload over',
    {committed_bytes = tonumber(found[2])})
end
redis.call('HSET', K.upload, 'offset', whole(A.offset))
redis.call('ZADD', K.uploads, whole(now_ms() + A.life_ms), A.sid)
return answer({})
