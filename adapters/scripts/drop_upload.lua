-- Close an upload whose bytes go: at once, or with A.expired only if its time is over.
local score = redis.call('ZSCORE', K.uploads, A.sid)
if not score or (A.expired and tonumber(score) > now_ms()) then
  return answer({dropped = false})
end
local found = redis.call('HMGET', K.upload, 'tenant', 'digest')
redis.call('UNLINK', K.upload)
if found[1] then
  local open = A.open_prefix .. found[1]
  if redis.call('HGET', open, found[2]) == A.sid then
    redis.call('HDEL', open, found[2])
  end
end
redis.call('ZADD', K.uploads, whole(now_ms()), A.sid)
return answer({dropped = true})
