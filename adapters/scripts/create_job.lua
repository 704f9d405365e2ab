local first = repeated()
if first then
  return first
end
for _, id in ipairs(A.datasets) do
  if redis.call('HEXISTS', K.datasets, id) == 0 then
    return refuse('DatasetNotFound', 'no data set ' .. id, {name = 'datasets/' .. id})
  end
end
local queued = tonumber(redis.call('HGET', K.used, 'jobs_queued') or 0)
local limit = quota('jobs_queued') or 20
if queued >= limit then
  return refuse('QuotaExceeded', string.format('jobs_queued: %.0f of %.0f', queued, limit),
    {quota = 'jobs_queued', used = queued, limit = limit})
end
local created_ms = whole(now_ms())
redis.call('HSET', K.job, 'tenant', A.tenant, 'spec', A.spec, 'class', A.class,
  'queues', A.queues, 'fence', '0', 'attempt', '0', 'runnable', '0', 'generation', '0',
  'created_ms', created_ms, 'started_ms', '0', 'ended_ms', '0', 'holder', '')
redis.call('ZADD', K.jobs, created_ms, A.id)
count('jobs_queued', 1)
move('VALIDATING')
join_queue(K.job, A.id, 'validate')
return answer_once({id = A.id})
