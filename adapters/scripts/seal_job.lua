-- Record which files become the job's version; from here on it cannot be cancelled.
local refused = fence_lost() or wrong_state({'RUNNING'}, 'publish')
if refused then
  return refused
end
redis.call('HSET', K.job, 'target', A.target)
redis.call('SADD', K.provenance_refs, 'job:' .. A.id)
move('PUBLISHING')
return answer({state = 'PUBLISHING'})
