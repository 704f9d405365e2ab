-- Publish the job's version and end the job, or change nothing. When the answer was lost, the
-- worker asks again and gets what the first call did.
local refused = fence_lost()
if refused then
  return refused
end
if field('state') == 'SUCCEEDED' then
  return {'OK', field('published')}
end
refused = wrong_state({'PUBLISHING'}, 'succeed')
if refused then
  return refused
end
local published, not_published = publish_version()
if not_published then
  return not_published
end
local result = cjson.encode({
  publication = published.conflicts == '' and 'PUBLISHED' or 'ALIAS_CONFLICT',
  version = published.version, digest = A.digest, event_id = published.event_id})
local text = cjson.encode(published)
redis.call('HSET', K.job, 'result', result, 'published', text)
tell('published', result)
finish('SUCCEEDED')
return {'OK', text}
