-- Where things lie in stored bytes. docs/format.md describes them; layout/records.py and manifest.py agree.
--
-- artifact hash   h -> header: version:1 digest:32 size in decimal
--                 t -> field of the latest lease, only where there are several leases
--                 = .. run, or - for the anonymous lease -> deadline:6 created:7 msgpack
-- content         version:1 codec:1 size:8 digest:32 checksum:8 payload
-- manifest        a content of codec 2, its payload: chunk size:4 token:8, then 13 bytes a chunk
-- Deadlines are Unix milliseconds, created is Unix microseconds; integers are big-endian.

local call = redis.call
local VERSION = 2
local FOREVER = 281474976710655 -- a deadline that never comes: the largest 48-bit number
local FUTURE = 'COATCHECKFUTURE a newer coatcheck wrote this artifact'
local DAMAGED = 'COATCHECKDAMAGED the metadata of this artifact make no sense'

local function is_known(bytes)
  return string.byte(bytes, 1) == VERSION
end

local function digest_of(header)
  return string.sub(header, 2, 33)
end

-- The first 16 bytes of the digest; in hex they name the content.
local function content_id_of(header)
  return string.sub(header, 2, 17)
end

-- Bytes of the plain content; nil where the header says none.
local function size_of(header)
  return tonumber(string.sub(header, 34))
end

-- Content that is shorter is in no chunks.
local function may_be_chunked(header)
  return (size_of(header) or 4096) >= 4096
end

-- Raises unless a header can be read.
local function check_header(header)
  if not is_known(header) then
    error(FUTURE)
  elseif #header < 34 then
    error(DAMAGED)
  end
end

local function is_lease(field)
  return field ~= 'h' and field ~= 't'
end

local function lease_field(run)
  return run == '' and '-' or '=' .. run
end

local function is_damaged(lease)
  return #lease < 13
end

-- A damaged lease counts as one for ever: nothing is deleted because of it, and whoever reads it raises.
local function lease_deadline(lease)
  return is_damaged(lease) and FOREVER or (struct.unpack('>I6', lease))
end

local function lease_created(lease)
  return is_damaged(lease) and 0 or (struct.unpack('>I7', lease, 7))
end

local function encode_lease(deadline, created, view)
  return struct.pack('>I6I7', deadline, created) .. view
end

-- The beginning of a content, as far as the functions below look; '' where there is none.
local function content_start(key)
  return call('GETRANGE', key, 0, 61)
end

local function content_digest(start)
  return string.sub(start, 11, 42)
end

-- Whether a content is there and as long as header and envelope tell: one that was cut off is to be sent again. What a
-- newer coatcheck wrote is not judged.
local function is_whole(key, start, header)
  if start ~= '' and not is_known(start) then
    return true
  elseif #start < 50 then
    return false
  end
  local codec, size, length = string.byte(start, 2), struct.unpack('>I8', start, 3), call('STRLEN', key)
  if size ~= size_of(header) then
    return false
  elseif codec == 0 then
    return length == 50 + size
  elseif codec == 1 then
    return length > 50 and length < 50 + size -- only what is shorter by it is compressed
  end
  local chunk = codec == 2 and #start == 62 and struct.unpack('>I4', start, 51) or 0
  return chunk > 0 and length == 62 + 13 * math.ceil(size / chunk)
end

local function is_manifest(start)
  return #start == 62 and is_known(start) and string.byte(start, 2) == 2
end

local function chunk_token(start)
  return (string.gsub(string.sub(start, 55, 62), '.', function(c)
    return string.format('%02x', string.byte(c))
  end))
end

-- Which chunks a manifest lists: {token, count}; nil for any other content.
local function chunks_of(key, start)
  if not is_manifest(start) then
    return nil
  end
  return { chunk_token(start), math.floor((call('STRLEN', key) - 62) / 13) }
end

-- How many bytes these chunks have together.
local function chunks_length(key)
  local manifest, bytes = call('GET', key), 0
  for at = 64, #manifest - 11, 13 do
    bytes = bytes + struct.unpack('>I4', manifest, at)
  end
  return bytes
end
