/**
 * Post-quantum recipients of age files: `age1pq1…`, ML-KEM-768 with X25519. The stanza `mlkem768x25519` is that of the
 * age specification (https://c2sp.org/age): the file key is sealed by HPKE in base mode (RFC 9180) with the KEM X-Wing
 * (draft-connolly-cfrg-xwing-kem; HPKE calls it MLKEM768-X25519, 0x647a), HKDF-SHA256 and ChaCha20Poly1305. This file
 * composes them from the primitives of crypto.ts. age-encryption reads and writes the same files, and takes eight
 * times as long.
 */
import { bech32 } from '@scure/base'
import type { Identity, Recipient, Stanza } from 'age-encryption'
import { encryptChunk, FILE_KEY_BYTES } from './age-chunk.ts'
import {
  createShare,
  encapsulateTo,
  hmac,
  kemKey,
  type KemKey,
  type Multiply,
  open,
  seal,
  sha3,
  shake256,
  TAG_BYTES,
  x25519,
} from './crypto.ts'
import { concat } from './ssh-wire.ts'
import { decodeUnpadded, encodeUnpadded } from './unpadded.ts'

const TYPE = 'mlkem768x25519'
const INFO = 'age-encryption.org/mlkem768x25519'
const PUBLIC_PREFIX = 'age1pq'
const SECRET_PREFIX = 'age-secret-key-pq-'
const SEED_BYTES = 32
const KEM_BYTES = 1_184
const POINT_BYTES = 32
const CIPHERTEXT_BYTES = 1_088
/** Stanzas of a file that each key tries: they name no key, so each try costs a decapsulation. */
const MOST_TRIES = 3
/** Tries in one turn of the event loop: about 1 ms in Node. */
const TRIES_A_TURN = 6

const utf8 = new TextEncoder()
const NOTHING = new Uint8Array(0)
/** X25519's base point. */
const BASE = Uint8Array.of(9, ...new Uint8Array(31))
/** X-Wing's label. */
const LABEL = utf8.encode('\\.//^\\')
/** `HPKE`, the KEM 0x647a, the KDF 0x0001 and the AEAD 0x0003 (RFC 9180, section 5.1). */
const SUITE = Uint8Array.of(0x48, 0x50, 0x4b, 0x45, 0x64, 0x7a, 0, 1, 0, 3)

/** A post-quantum key pair. */
export interface HybridKey {
  /** `age1pq1…`, 1,959 characters. */
  readonly recipient: string
  /**
   * Recovers a file key.
   * @param enclosed the ciphertext and the share, 1,120 bytes
   * @returns null if the stanza was made for another key
   * @throws {Error} if the share is of small order
   */
  unwrap(enclosed: Uint8Array, body: Uint8Array): Uint8Array | null
}

/**
 * Creates the key of a seed. Its halves are derived when they are used for the first time.
 *
 * @param seed 32 random bytes; copied. A program that wants a message to become unreadable overwrites the seed, and
 *   drops the key
 * @throws {TypeError} if the seed has another length
 */
export function hybridKey(seed: Uint8Array): HybridKey {
  if (seed.length !== SEED_BYTES) throw new TypeError('a seed must have 32 bytes')
  let halves: Halves | undefined = undefined
  let own: Uint8Array | undefined = Uint8Array.from(seed)
  const derive = (): Halves => {
    halves ??= expand(own!)
    own?.fill(0)
    own = undefined
    return halves
  }
  let recipient: string | undefined
  return {
    get recipient() {
      const { kem, point } = derive()
      return (recipient ??= bech32.encode(PUBLIC_PREFIX, bech32.toWords(concat(kem.public, point)), false))
    },
    unwrap(enclosed, body) {
      const { kem, point, multiply } = derive()
      const share = enclosed.subarray(CIPHERTEXT_BYTES)
      const secret = kem.decapsulate(enclosed.subarray(0, CIPHERTEXT_BYTES))
      return unseal(combine(secret, agree(multiply, share), share, point), body)
    },
  }
}

interface Halves {
  readonly kem: KemKey
  readonly point: Uint8Array
  readonly multiply: Multiply
}

/** Derives both halves (X-Wing, section 5.2). */
function expand(seed: Uint8Array): Halves {
  const expanded = shake256(seed, 96)
  const kem = kemKey(expanded.subarray(0, 64))
  const multiply = x25519(expanded.subarray(64))
  expanded.fill(0)
  return { kem, point: multiply(BASE), multiply }
}

/** @throws {Error} if the result is all zero (RFC 7748, section 6.1) */
function agree(multiply: Multiply, share: Uint8Array): Uint8Array {
  try {
    return multiply(share)
  } catch {
    throw malformed()
  }
}

/** Combines both secrets (X-Wing, section 5.3). */
function combine(kemSecret: Uint8Array, shared: Uint8Array, share: Uint8Array, point: Uint8Array): Uint8Array {
  return sha3(concat(kemSecret, shared, share, point, LABEL))
}

/** Parses `AGE-SECRET-KEY-PQ-1…`. @returns the seed @throws {TypeError} without a part of the text */
export function parseHybridSecret(text: string): Uint8Array {
  const { prefix, bytes } = decodeBech32(text)
  if (text !== text.toUpperCase() || prefix !== SECRET_PREFIX || bytes.length !== SEED_BYTES)
    throw new TypeError('not an age post-quantum identity (AGE-SECRET-KEY-PQ-1…)')
  return bytes
}

/** Returns whether the text begins as {@link formatHybridSecret} writes it. */
export function isHybridSecret(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('AGE-SECRET-KEY-PQ-1')
}

/** Writes a seed as `AGE-SECRET-KEY-PQ-1…`. */
export function formatHybridSecret(seed: Uint8Array): string {
  return bech32.encode(SECRET_PREFIX, bech32.toWords(seed), false).toUpperCase()
}

function decodeBech32(text: string): { prefix: string; bytes: Uint8Array } {
  try {
    const { prefix, words } = bech32.decode(text, false)
    return { prefix: prefix.toLowerCase(), bytes: bech32.fromWords(words) }
  } catch {
    return { prefix: '', bytes: NOTHING }
  }
}

/** Encrypts to `age1pq1…`, as a recipient of age-encryption's Encrypter. */
export class HybridRecipient implements Recipient {
  readonly #kem: Uint8Array
  readonly #point: Uint8Array

  /** @throws {TypeError} if the recipient is malformed */
  constructor(text: string) {
    const { kem, point } = readRecipient(text)
    this.#kem = kem
    this.#point = point
  }

  /** @throws {Error} if the recipient's point is of small order */
  async wrapFileKey(fileKey: Uint8Array): Promise<Stanza[]> {
    return [this.#wrap(fileKey)]
  }

  /**
   * Encrypts a small plaintext to this recipient alone, as a binary age file.
   * @param plaintext at most 64 KiB
   * @throws {RangeError} if it is longer
   * @throws {Error} if the recipient's point is of small order
   */
  encrypt(plaintext: Uint8Array): Promise<Uint8Array> {
    return encryptChunk(plaintext, async (fileKey) => this.#wrap(fileKey))
  }

  #wrap(fileKey: Uint8Array): Stanza {
    const { ciphertext, secret } = encapsulateTo(this.#kem)
    const { share, multiply } = createShare()
    const combined = combine(secret, agree(multiply, this.#point), share, this.#point)
    const { key, nonce } = schedule(combined)
    return { args: [TYPE, encodeUnpadded(concat(ciphertext, share))], body: seal(key, nonce, fileKey) }
  }
}

/** @throws {TypeError} if the recipient is malformed */
function readRecipient(text: string): { kem: Uint8Array; point: Uint8Array } {
  const { prefix, bytes } = decodeBech32(text)
  if (!text.startsWith(`${PUBLIC_PREFIX}1`) || prefix !== PUBLIC_PREFIX || bytes.length !== KEM_BYTES + POINT_BYTES)
    throw new TypeError('not an age post-quantum recipient (age1pq1…)')
  const kem = bytes.subarray(0, KEM_BYTES)
  if (!isReduced(kem)) throw new TypeError('the age recipient is not a valid key')
  return { kem, point: bytes.subarray(KEM_BYTES) }
}

/** FIPS 203, section 7.2: each coefficient, of 12 bits, is below 3,329. The last 32 bytes are a seed. */
function isReduced(kem: Uint8Array): boolean {
  for (let at = 0; at < KEM_BYTES - 32; at += 3) {
    const [a, b, c] = [kem[at]!, kem[at + 1]!, kem[at + 2]!]
    if ((a | ((b & 15) << 8)) >= 3_329 || ((b >> 4) | (c << 4)) >= 3_329) return false
  }
  return true
}

/**
 * Returns whether the text is `age1pq1…` and can be encrypted to. Check one that another person sent: a point of small
 * order would make every message to it fail (RFC 7748, section 6.1).
 */
export function isHybridRecipient(text: string): boolean {
  try {
    const { point } = readRecipient(text)
    return isAgreeable(point)
  } catch {
    return false
  }
}

/** Returns whether a key agreement with the point of X25519 succeeds: with one of small order it never does. */
export function isAgreeable(point: Uint8Array): boolean {
  try {
    x25519(BASE)(point)
    return true
  } catch {
    return false
  }
}

/** Decrypts with any of several post-quantum keys, as an identity of age-encryption's Decrypter. */
export class HybridIdentity implements Identity {
  readonly #keys: readonly HybridKey[]
  #opened: number | undefined

  constructor(keys: readonly HybridKey[]) {
    this.#keys = keys
  }

  /** The index of the key that decrypted the last file. */
  get opened(): number | undefined {
    return this.#opened
  }

  /**
   * Decrypts the file key. Each key tries {@link MOST_TRIES} stanzas, and lets the event loop serve everything else in
   * between.
   *
   * @returns null if no tried stanza is for any of the keys
   * @throws {Error} if a stanza of this type is malformed
   */
  async unwrapFileKey(stanzas: Stanza[]): Promise<Uint8Array | null> {
    this.#opened = undefined
    const ours = stanzas
      .filter(({ args }) => args[0] === TYPE)
      .slice(0, MOST_TRIES)
      .map(readStanza)
    let tries = 0
    for (const [index, key] of this.#keys.entries()) {
      for (const { enclosed, body } of ours) {
        if (++tries % TRIES_A_TURN === 0) await nextTurn()
        const fileKey = key.unwrap(enclosed, body)
        if (fileKey === null) continue
        this.#opened = index
        return fileKey
      }
    }
    return null
  }
}

/** @throws {Error} */
function readStanza({ args, body }: Stanza): { enclosed: Uint8Array; body: Uint8Array } {
  const enclosed = args.length === 2 ? decodeUnpadded(args[1]!) : undefined
  const isSound = enclosed?.length === CIPHERTEXT_BYTES + POINT_BYTES && body.length === FILE_KEY_BYTES + TAG_BYTES
  if (!isSound) throw malformed()
  return { enclosed, body }
}

const malformed = (): Error => new Error(`malformed ${TYPE} stanza`)

/** Lets the event loop serve everything else: a timer, because web pages have no other way. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0))
}

function unseal(secret: Uint8Array, body: Uint8Array): Uint8Array | null {
  const { key, nonce } = schedule(secret)
  return open(key, nonce, body)
}

/** HPKE's key schedule in base mode, for one message (RFC 9180, section 5.1). */
function schedule(shared: Uint8Array): { readonly key: Uint8Array; readonly nonce: Uint8Array } {
  const secret = labeledExtract(shared, 'secret', NOTHING)
  return { key: labeledExpand(secret, 'key', 32), nonce: labeledExpand(secret, 'base_nonce', 12) }
}

const VERSION = utf8.encode('HPKE-v1')

/** HKDF-Extract is HMAC with the salt as its key (RFC 5869, section 2.2). */
function labeledExtract(salt: Uint8Array, label: string, input: Uint8Array): Uint8Array {
  return hmac(salt, concat(VERSION, SUITE, utf8.encode(label), input))
}

/** HKDF-Expand, whose first block is enough (RFC 5869, section 2.3). @param length at most 32 */
function labeledExpand(secret: Uint8Array, label: string, length: number): Uint8Array {
  const info = concat(Uint8Array.of(0, length), VERSION, SUITE, utf8.encode(label), context())
  return hmac(secret, concat(info, Uint8Array.of(1))).subarray(0, length)
}

/** The mode, and the hashes of no key's name and of the application's label: the same for every file. */
let known: Uint8Array | undefined
function context(): Uint8Array {
  known ??= concat(
    Uint8Array.of(0),
    labeledExtract(NOTHING, 'psk_id_hash', NOTHING),
    labeledExtract(NOTHING, 'info_hash', utf8.encode(INFO)),
  )
  return known
}
