-- Aliases are JSON of numbers: version (null when deleted), generation, previous.

local function read_alias(name)
  local found = redis.call('HGET', K.aliases, name)
  if found then
    return cjson.decode(found)
  end
  return {version = cjson.null, generation = 0, previous = cjson.null}
end

local function exists(alias)
  return alias.version ~= cjson.null
end

-- Why alias `name` may not move; `expected` is its generation, 0 = it must not exist, nil = any.
local function alias_conflict(name, expected)
  local alias = read_alias(name)
  if not expected or expected == alias.generation or (expected == 0 and not exists(alias)) then
    return nil
  end
  return refuse('AliasConflict', string.format('alias %s is at generation %.0f, not %.0f',
    name, alias.generation, expected),
    {alias = name, generation = alias.generation, version = exists(alias) and alias.version or 0})
end

-- Why no alias may point to version `number`.
local function unusable(number)
  local found = redis.call('HGET', K.versions, whole(number))
  if not found then
    return refuse('VersionNotFound', string.format('%s has no version %.0f', A.adapter, number))
  end
  if cjson.decode(found).state ~= 'PUBLISHED' then
    return refuse('VersionRetired', string.format('%s@%.0f is retired', A.adapter, number),
      {state = 'RETIRED'})
  end
  return nil
end

-- Point alias `name` to version `number`, or to nothing; answers the alias and the event's id.
local function move_alias(name, number, forced)
  local alias = read_alias(name)
  local from = exists(alias) and whole(alias.version) or ''
  if exists(alias) then
    alias.previous = alias.version
  end
  alias.version = number or cjson.null
  alias.generation = alias.generation + 1
  local text = cjson.encode(alias)
  redis.call('HSET', K.aliases, name, text)
  local kind = number and 'alias.set' or 'alias.deleted'
  audit(kind, name, from, number and whole(number) or '', forced)
  return alias, emit(kind, name, text)
end
