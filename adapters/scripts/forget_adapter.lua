-- Drop manifest and images of an adapter digest that no version names and nobody leases.
if redis.call('SCARD', K.named_by) > 0 or leased(A.digest) then
  return answer({forgotten = false})
end
redis.call('UNLINK', K.manifest, K.images)
redis.call('ZREM', K.manifests, A.digest)
for _, image in ipairs(A.images) do
  redis.call('SREM', K['refs_' .. image], 'img:' .. A.digest)
end
return answer({forgotten = true})
