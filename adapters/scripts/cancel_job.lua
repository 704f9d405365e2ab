-- With a worker: ask it to stop. Without: at once, and whoever still validates has lost the fence.
local refused = missing_job()
if refused then
  return refused
end
if A.generation and tonumber(field('generation')) ~= A.generation then
  return refuse('EtagMismatch', 'the job has changed meanwhile', {etag = field('generation')})
end
if field('state') == 'CANCELLING' then
  return answer({id = A.id})
end
refused = wrong_state({'VALIDATING', 'QUEUED', 'RUNNING'}, 'be cancelled')
if refused then
  return refused
end
if field('state') == 'RUNNING' then
  redis.call('PERSIST', K.job) -- a permitted first write: cancelling works when Redis is full
  move('CANCELLING')
else
  redis.call('UNLINK', K.lease)
  redis.call('HINCRBY', K.job, 'fence', 1)
  finish('CANCELLED')
end
return answer({id = A.id})
