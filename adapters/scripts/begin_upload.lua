-- Open an upload, or find the one that is open for this digest. K.upload is the key of the new one.
local over = over_quota('bytes', A.size)
if over then
  return over
end
local open = redis.call('HGET', K.open_uploads, A.digest)
if open then
  local key = A.upload_prefix .. open
  if redis.call('HGET', key, 'size') == whole(A.size) then
    return answer({sid = open, offset = tonumber(redis.call('HGET', key, 'offset')),
      expires_ms = tonumber(redis.call('ZSCORE', K.uploads, open))})
  end
end
redis.call('HSET', K.upload, 'tenant', A.tenant, 'digest', A.digest, 'size', whole(A.size),
  'offset', '0', 'writer', '')
redis.call('HSET', K.open_uploads, A.digest, A.sid)
local expires_ms = now_ms() + A.life_ms
redis.call('ZADD', K.uploads, whole(expires_ms), A.sid)
return answer({sid = A.sid, offset = 0, expires_ms = expires_ms})
