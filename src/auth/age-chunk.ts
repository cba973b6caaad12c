/**
 * Age files of one recipient and one chunk (https://c2sp.org/age): small texts, as the relay's challenges and clients'
 * messages are. age-encryption makes the same files of any size, through streams, which take most of its time.
 */
import type { Stanza } from 'age-encryption'
import { hkdf, hmac, randomBytes, seal } from './crypto.ts'
import { concat } from './ssh-wire.ts'
import { encodeUnpadded } from './unpadded.ts'

export const VERSION = 'age-encryption.org/v1'
export const FILE_KEY_BYTES = 16
/** Most bytes of a plaintext of one chunk. */
export const CHUNK_BYTES = 65_536
const NONCE_BYTES = 16
/** The STREAM nonce of a chunk that is the first and the last: an 11-byte counter of 0, and the final flag. */
const ONLY_CHUNK_NONCE = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
const NOTHING = new Uint8Array(0)
const utf8 = new TextEncoder()

/**
 * Encrypts a plaintext, as a binary age file.
 *
 * @param plaintext at most {@link CHUNK_BYTES}
 * @param wrap encrypts the file key to the recipient
 * @throws {RangeError} if the plaintext is longer
 */
export async function encryptChunk(plaintext: Uint8Array, wrap: (fileKey: Uint8Array) => Promise<Stanza>): Promise<Uint8Array> {
  if (plaintext.length > CHUNK_BYTES) throw new RangeError('the plaintext is longer than one age chunk')
  const drawn = randomBytes(FILE_KEY_BYTES + NONCE_BYTES)
  const fileKey = drawn.subarray(0, FILE_KEY_BYTES)
  const nonce = drawn.subarray(FILE_KEY_BYTES)
  const header = encodeHeader(await wrap(fileKey))
  const mac = hmac(hkdf(fileKey, NOTHING, 'header'), utf8.encode(header))
  const payload = seal(hkdf(fileKey, nonce, 'payload'), ONLY_CHUNK_NONCE, plaintext)
  fileKey.fill(0)
  return concat(utf8.encode(`${header} ${encodeUnpadded(mac)}\n`), nonce, payload)
}

/** Encodes a header of one stanza, up to and with `---`: the part that the MAC covers. */
function encodeHeader({ args, body }: Stanza): string {
  // Lines of 64 characters. The last line is shorter, and empty if the others are full.
  const lines = encodeUnpadded(body).replace(/.{64}/g, '$&\n')
  return `${VERSION}\n-> ${args.join(' ')}\n${lines}\n---`
}
