-- Make one adapter digest visible as the next version: conditions first, then writes.

local function missing_bytes()
  for _, part in ipairs({'config', 'weights', 'image'}) do
    if redis.call('EXISTS', K['blob_' .. part]) == 0 then
      return refuse('BlobNotFound', 'the ' .. part .. ' blob is not in the store')
    end
  end
  if redis.call('EXISTS', K.manifest) == 0 then
    return refuse('BlobNotFound', 'the adapter has no manifest')
  end
  return nil
end

local function publish_over_quota()
  local known = redis.call('ZSCORE', K.adapters, A.adapter)
  return over_quota('versions', 1) or (not known and over_quota('adapters', 1)) or nil
end

-- The aliases that may move. Without A.keep_conflicts one that may not refuses the whole publish.
local function movable()
  local free, conflicts = {}, {}
  for _, alias in ipairs(A.aliases) do
    local conflict = alias_conflict(alias.name, alias.generation)
    if not conflict then
      table.insert(free, alias)
    elseif A.keep_conflicts then
      table.insert(conflicts, alias.name)
    else
      return nil, nil, conflict
    end
  end
  return free, conflicts, nil
end

local function next_version()
  local number = tonumber(redis.call('HGET', K.adapter, 'next_version') or 1)
  redis.call('HSET', K.adapter, 'next_version', whole(number + 1))
  if redis.call('ZADD', K.adapters, 0, A.adapter) == 1 then
    redis.call('HSET', K.adapter, 'etag', '1', 'labels', '{}', 'created_ms', whole(now_ms()))
    redis.call('HINCRBY', K.used, 'adapters', 1)
    redis.call('SADD', K.namespaces, A.tenant)
  end
  redis.call('HINCRBY', K.used, 'versions', 1)
  return number
end

-- A.record is JSON text: decoded and encoded again, an empty list would become an empty object.
local function record_version(number, created_ms)
  local text = '{"created_ms":' .. whole(created_ms) .. ',' .. string.sub(A.record, 2)
  local reference = A.tenant .. '/' .. A.adapter .. '@' .. whole(number)
  redis.call('HSET', K.versions, whole(number), text)
  redis.call('SADD', K.named_by, reference)
  redis.call('SADD', K.refs_config, 'v:' .. reference)
  redis.call('SADD', K.refs_weights, 'v:' .. reference)
  audit('version.published', '', '', whole(number))
  return emit('version.published', whole(number), text)
end

local function publish_version()
  local refused = missing_bytes() or publish_over_quota()
  local free, conflicts, conflict = movable()
  refused = refused or conflict
  if refused then
    return nil, refused
  end
  local number = next_version()
  local created_ms = now_ms()
  local event_id = record_version(number, created_ms)
  for _, alias in ipairs(free) do
    local _
    _, event_id = move_alias(alias.name, number, not alias.generation)
  end
  return {version = number, created_ms = created_ms, event_id = event_id,
    conflicts = table.concat(conflicts, ' ')}, nil
end
