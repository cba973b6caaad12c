/**
 * The container of OpenSSH's private keys (PROTOCOL.key), with every cipher that ssh-keygen writes. This file parses it
 * strictly and decrypts it; sshpk then reads the key from a container without a cipher. sshpk 1.18 alone cannot decrypt
 * ssh-keygen's chacha20-poly1305 and GCM, and does not bound the rounds of key derivation.
 *
 * The ciphers come from node:crypto, Poly1305 from noble, the rounds of bcrypt from bcrypt-pbkdf.
 */
import { createDecipheriv, hash, timingSafeEqual } from 'node:crypto'
import { poly1305 } from '@noble/ciphers/_poly1305.js'
import * as bcrypt from 'bcrypt-pbkdf'
import { PrivateKeyError } from './key-error.ts'
import { concat, decodeBase64, encodeString, encodeUint32, isSame, WireError, WireReader } from './ssh-wire.ts'

const MAGIC = new TextEncoder().encode('openssh-key-v1\0')
const TAG_BYTES = 16

/** Sizes in bytes. */
interface Cipher {
  readonly key: number
  readonly iv: number
  readonly block: number
  /** The authenticator behind the private part. */
  readonly tag: 0 | typeof TAG_BYTES
  readonly decrypt: (content: Uint8Array, key: Uint8Array, iv: Uint8Array, tag: Uint8Array) => Uint8Array
}

function plain(name: string, key: number, block: number): Cipher {
  const decrypt: Cipher['decrypt'] = (content, secret, iv) => {
    const decipher = createDecipheriv(name, secret, iv).setAutoPadding(false)
    return concat(decipher.update(content), decipher.final())
  }
  return { key, iv: block, block, tag: 0, decrypt }
}

/** AES-GCM (RFC 5647). The key derivation gives the whole nonce. */
function gcm(name: 'aes-128-gcm' | 'aes-256-gcm', key: number): Cipher {
  const decrypt: Cipher['decrypt'] = (content, secret, iv, tag) => {
    const decipher = createDecipheriv(name, secret, iv, { authTagLength: TAG_BYTES }).setAuthTag(tag)
    return concat(decipher.update(content), decipher.final())
  }
  return { key, iv: 12, block: 16, tag: TAG_BYTES, decrypt }
}

/**
 * ChaCha20-Poly1305 (OpenSSH, PROTOCOL.chacha20poly1305) as for packet 0, but without an encrypted length, so only the
 * first of its two keys is used. The nonce is zero; block 0 of the keystream is the Poly1305 key, and the blocks from 1
 * on encrypt the content.
 */
const CHACHA: Cipher = {
  key: 64,
  iv: 0,
  block: 8,
  tag: TAG_BYTES,
  decrypt(content, secret, _iv, tag) {
    const stream = (counter: number): ReturnType<typeof createDecipheriv> =>
      createDecipheriv('chacha20', secret.subarray(0, 32), Uint8Array.of(counter, ...new Uint8Array(15)))
    const macKey = stream(0).update(new Uint8Array(32))
    if (!timingSafeEqual(poly1305(content, macKey), tag)) throw new PrivateKeyError('wrong-passphrase')
    return stream(1).update(content)
  },
}

const CIPHERS: ReadonlyMap<string, Cipher> = new Map([
  ['aes128-ctr', plain('aes-128-ctr', 16, 16)],
  ['aes192-ctr', plain('aes-192-ctr', 24, 16)],
  ['aes256-ctr', plain('aes-256-ctr', 32, 16)],
  ['aes128-cbc', plain('aes-128-cbc', 16, 16)],
  ['aes192-cbc', plain('aes-192-cbc', 24, 16)],
  ['aes256-cbc', plain('aes-256-cbc', 32, 16)],
  ['3des-cbc', plain('des-ede3-cbc', 24, 8)],
  ['aes128-gcm@openssh.com', gcm('aes-128-gcm', 16)],
  ['aes256-gcm@openssh.com', gcm('aes-256-gcm', 32)],
  ['chacha20-poly1305@openssh.com', CHACHA],
])

/** Block size of a container without a cipher. */
const PLAIN_BLOCK = 8
/** ssh-keygen's default was 16 and is now 24; careful users take 100. This many take a minute or two. */
export const MOST_ROUNDS = 4_096
const SALT_BYTES = { min: 1, max: 1_024 }

export interface Container {
  /** The public key's blob, which is not encrypted. */
  readonly publicBlob: Uint8Array
  /** Undefined if the container is not encrypted. */
  readonly lock: { readonly cipher: Cipher; readonly salt: Uint8Array; readonly rounds: number; readonly tag: Uint8Array } | undefined
  readonly content: Uint8Array
}

/**
 * Parses a container, and leaves its private part encrypted.
 *
 * @param base64 the text between the BEGIN and END lines
 * @throws {WireError} if it is malformed
 * @throws {PrivateKeyError} `unsupported` if it does not contain exactly one key, or uses a cipher or a derivation that
 *   ssh-keygen does not write
 */
export function parseContainer(base64: string): Container {
  const reader = new WireReader(decodeBase64(base64.replaceAll('\n', '')))
  if (!isSame(reader.bytes(MAGIC.length), MAGIC)) throw new WireError()
  const name = reader.name()
  const kdf = reader.name()
  const options = reader.string()
  const keys = reader.uint32()
  const publicBlob = reader.string()
  if ((name === 'none') !== (kdf === 'none')) throw new WireError()
  const cipher = CIPHERS.get(name)
  if (keys !== 1 || (name !== 'none' && (cipher === undefined || kdf !== 'bcrypt'))) throw new PrivateKeyError('unsupported')
  const content = reader.string()
  const tag = reader.bytes(cipher?.tag ?? 0)
  reader.end()
  if (content.length === 0 || content.length % (cipher?.block ?? PLAIN_BLOCK) !== 0) throw new WireError()
  return { publicBlob, content, lock: cipher === undefined ? undefined : { cipher, tag, ...readBcrypt(options) } }
}

function readBcrypt(options: Uint8Array): { salt: Uint8Array; rounds: number } {
  const reader = new WireReader(options)
  const salt = reader.string()
  const rounds = reader.uint32()
  reader.end()
  if (salt.length < SALT_BYTES.min || salt.length > SALT_BYTES.max || rounds === 0) throw new WireError()
  return { salt, rounds }
}

/**
 * Decrypts the private part, in steps of some milliseconds, so that the caller can do other work in between. Each step
 * yields the count of all steps.
 *
 * @param passphrase its bytes
 * @returns the private part
 * @throws {PrivateKeyError} `too-costly` before the first step; `wrong-passphrase`
 */
export function* openContainer({ lock, content }: Container, passphrase: Uint8Array): Generator<number, Uint8Array, void> {
  if (lock === undefined) return content
  const { cipher, salt, rounds, tag } = lock
  if (rounds > MOST_ROUNDS) throw new PrivateKeyError('too-costly')
  // ssh-keygen does not encrypt with an empty passphrase.
  if (passphrase.length === 0) throw new PrivateKeyError('wrong-passphrase')
  const secret = yield* deriveKey(passphrase, salt, rounds, cipher.key + cipher.iv)
  try {
    const opened = cipher.decrypt(content, secret.subarray(0, cipher.key), secret.subarray(cipher.key), tag)
    const reader = new WireReader(opened)
    if (reader.uint32() === reader.uint32()) return opened
  } catch {
    // The authenticator is wrong, or the content is too short.
  } finally {
    secret.fill(0)
  }
  throw new PrivateKeyError('wrong-passphrase')
}

/**
 * Derives a key by bcrypt_pbkdf of OpenBSD: PBKDF2 (RFC 8018, section 5.2) with bcrypt over SHA-512 digests as its
 * function. The result takes the bytes of all blocks in turn, so that each part of it costs all of the work.
 */
function* deriveKey(passphrase: Uint8Array, salt: Uint8Array, rounds: number, length: number): Generator<number, Uint8Array, void> {
  const key = new Uint8Array(length)
  const password = sha512(passphrase)
  const blocks = Math.ceil(length / 32)
  for (let block = 0; block < blocks; block++) {
    const sum = new Uint8Array(32)
    const one = new Uint8Array(32)
    let input = concat(salt, encodeUint32(block + 1))
    for (let round = 0; round < rounds; round++) {
      bcrypt.hash(password, sha512(input), one)
      for (let at = 0; at < sum.length; at++) sum[at]! ^= one[at]!
      input = one
      yield blocks * rounds
    }
    for (let at = 0; at * blocks + block < length; at++) key[at * blocks + block] = sum[at]!
  }
  return key
}

function sha512(bytes: Uint8Array): Uint8Array {
  return hash('sha512', bytes, 'buffer')
}

/** Writes a key as the PEM text of a container without a cipher. */
export function encodePlain(publicBlob: Uint8Array, content: Uint8Array): string {
  const bytes = concat(
    MAGIC,
    encodeString('none'),
    encodeString('none'),
    encodeString(''),
    encodeUint32(1),
    encodeString(publicBlob),
    encodeString(content),
  )
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${base64}\n-----END OPENSSH PRIVATE KEY-----\n`
}
