-- Lease digests for a holder: they are not removed while it renews.
redis.call('SADD', K.holders, A.holder)
for _, digest in ipairs(A.digests) do
  redis.call('HSET', K.lease, digest, A.reason)
end
redis.call('PEXPIRE', K.lease, A.life_ms)
return answer({})
