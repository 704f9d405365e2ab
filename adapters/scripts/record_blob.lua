-- Record sealed bytes under their digest. If they are there already, the new copy stays listed in
-- K.uploads, to be discarded.
if redis.call('HGET', K.blob, 'sid') == A.sid then -- the answer to the first try was lost
  return answer({duplicate = false})
end
if redis.call('ZSCORE', K.uploads, A.sid) == false then
  return refuse('UploadNotFound', 'no such upload')
end
if A.writer and redis.call('HGET', K.upload, 'writer') ~= A.writer then
  return refuse('UploadTaken', 'another writer took this upload over')
end
if A.tenant and redis.call('SISMEMBER', K.own, A.digest) == 0 then
  local over = over_quota('bytes', A.size)
  if over then
    return over
  end
end
local now = whole(now_ms())
redis.call('ZADD', K.blobs, now, A.digest)
local duplicate = redis.call('EXISTS', K.blob) == 1
if duplicate then
  redis.call('ZADD', K.uploads, now, A.sid)
else
  redis.call('HSET', K.blob, 'backend', A.backend, 'sid', A.sid, 'size', whole(A.size),
    'chunk_bytes', whole(A.chunk_bytes), 'created_ms', now)
  redis.call('ZREM', K.uploads, A.sid)
end
if A.tenant then
  redis.call('SADD', K.owners, A.tenant)
  if redis.call('SADD', K.own, A.digest) == 1 then
    redis.call('HINCRBY', K.used, 'bytes', whole(A.size))
  end
  if redis.call('HGET', K.open_uploads, A.digest) == A.sid then
    redis.call('HDEL', K.open_uploads, A.digest)
  end
end
redis.call('UNLINK', K.upload)
return answer({duplicate = duplicate})
