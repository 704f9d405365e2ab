-- Record what an adapter digest is and which blob is its image in one layout.
if redis.call('EXISTS', K.blob) == 0 then
  return refuse('BlobNotFound', 'the image is not in the store')
end
redis.call('SET', K.manifest, A.manifest)
redis.call('HSET', K.images, A.layout, A.image)
redis.call('ZADD', K.manifests, whole(now_ms()), A.digest)
redis.call('SADD', K.refs, 'img:' .. A.digest)
return answer({})
