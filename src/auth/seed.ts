/**
 * ed25519 private keys made from a seed, without the key objects of node:crypto, for a page. Reads and writes the file
 * that ssh-keygen writes for such a key without a passphrase (OpenSSH, PROTOCOL.key); private-key.ts reads all other
 * files, in Node. Errors never contain key material.
 */
import { encodeBase64 } from '../protocol/base64.ts'
import { tidyArmor } from './armor.ts'
import { ed25519, randomBytes, sha512, x25519 } from './crypto.ts'
import { PrivateKeyError } from './key-error.ts'
import { parseKeyBlob, type SshPrivateKey } from './ssh-key.ts'
import { concat, decodeBase64, encodeString, encodeUint32, isSame, WireError, WireReader } from './ssh-wire.ts'

const utf8 = new TextEncoder()
const TYPE = 'ssh-ed25519'
const SEED_BYTES = 32
const MAGIC = utf8.encode('openssh-key-v1\0')
const FILE = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END OPENSSH PRIVATE KEY-----$/
/** RFC 8410, section 10.3: version 0, the algorithm Ed25519, and two headers of OCTET STRING around the seed. */
const PKCS8_START = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]
const COLUMNS = /.{1,70}/g
/** Block size of the private part of a container without a cipher. */
const BLOCK_BYTES = 8

/** An ed25519 key of a page, or of any program without node:crypto. */
export interface SeedKey extends SshPrivateKey {
  /**
   * Writes the key's file, as ssh-keygen does without a passphrase. The text contains the secret: the caller must
   * protect it.
   *
   * @param comment one line
   * @throws {TypeError} if the comment contains a line break or NUL
   */
  toFile(comment?: string): string
  /** Returns the key in the form that WebCrypto imports: PKCS #8 (RFC 8410). The bytes contain the secret. */
  toPkcs8(): Uint8Array<ArrayBuffer>
}

/**
 * Creates the key of a seed.
 *
 * @param seed 32 random bytes; the key keeps a copy
 * @throws {TypeError} if the seed has another length
 */
export function seedKey(seed: Uint8Array): SeedKey {
  if (seed.length !== SEED_BYTES) throw new TypeError('a seed must have 32 bytes')
  const { point, sign } = ed25519(seed)
  const own = Uint8Array.from(seed)
  // The scalar is the first half of the seed's hash (RFC 8032, section 5.1.5); X25519 clamps it as ed25519 does.
  const digest = sha512(own)
  const multiply = x25519(digest.subarray(0, 32))
  digest.fill(0)
  const key = parseKeyBlob(concat(encodeString(TYPE), encodeString(point)))
  return {
    public: key,
    sign,
    multiply,
    toFile: (comment = '') => encodeFile(own, point, comment),
    toPkcs8: () => Uint8Array.of(...PKCS8_START, ...own),
  }
}

/** Generates a key. */
export function generateSeedKey(): SeedKey {
  return seedKey(randomBytes(SEED_BYTES))
}

function encodeFile(seed: Uint8Array, point: Uint8Array, comment: string): string {
  if (/[\r\n\0]/.test(comment)) throw new TypeError('the comment must be one line')
  const blob = concat(encodeString(TYPE), encodeString(point))
  const check = randomBytes(4)
  const content = concat(check, check, blob, encodeString(concat(seed, point)), encodeString(comment))
  const padding = Uint8Array.from({ length: -content.length & (BLOCK_BYTES - 1) }, (_, at) => at + 1)
  const file = concat(
    MAGIC,
    encodeString('none'),
    encodeString('none'),
    encodeString(''),
    encodeUint32(1),
    encodeString(blob),
    encodeString(concat(content, padding)),
  )
  const lines = encodeBase64(file).match(COLUMNS)!
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n')
}

/**
 * Parses an OpenSSH private key file that contains one ed25519 key and is not encrypted.
 *
 * @throws {PrivateKeyError} `needs-passphrase` if it is encrypted, `unsupported` if the key has another type,
 *   `not-a-private-key` for any other text
 */
export function parseSeedFile(text: string): SeedKey {
  const base64 = FILE.exec(tidyArmor(text).trim())?.[1]
  if (base64 === undefined) throw new PrivateKeyError('not-a-private-key')
  let bytes: Uint8Array | undefined
  try {
    bytes = decodeBase64(base64.replaceAll('\n', ''))
    return readFile(bytes)
  } catch (error) {
    if (error instanceof WireError) throw new PrivateKeyError('not-a-private-key')
    throw error
  } finally {
    bytes?.fill(0)
  }
}

function readFile(bytes: Uint8Array): SeedKey {
  const reader = new WireReader(bytes)
  if (!isSame(reader.bytes(MAGIC.length), MAGIC)) throw new WireError()
  const cipher = reader.name()
  const kdf = reader.name()
  const options = reader.string()
  if (reader.uint32() !== 1) throw new PrivateKeyError('unsupported')
  const publicBlob = reader.string()
  const content = reader.string()
  reader.end()
  if (new WireReader(publicBlob).name() !== TYPE) throw new PrivateKeyError('unsupported')
  if (cipher !== 'none') throw new PrivateKeyError('needs-passphrase')
  if (kdf !== 'none' || options.length > 0 || content.length % BLOCK_BYTES !== 0) throw new WireError()
  return readContent(content, publicBlob)
}

function readContent(content: Uint8Array, publicBlob: Uint8Array): SeedKey {
  const reader = new WireReader(content)
  if (reader.uint32() !== reader.uint32() || reader.name() !== TYPE) throw new WireError()
  const point = reader.string()
  const secret = reader.string()
  reader.string() // the comment
  const padding = reader.bytes(content.length - reader.position)
  if (padding.length >= BLOCK_BYTES || padding.some((byte, at) => byte !== at + 1)) throw new WireError()
  if (secret.length !== 2 * SEED_BYTES) throw new WireError()
  const key = seedKey(secret.subarray(0, SEED_BYTES))
  // The file contains the public key in three places. All must be the key of the seed.
  const blob = concat(encodeString(TYPE), encodeString(point))
  if (!isSame(secret.subarray(SEED_BYTES), point) || !isSame(blob, publicBlob) || !isSame(blob, key.public.blob)) throw new WireError()
  return key
}
