/**
 * A stand-in for the slow parts of cryptography: ed25519, X25519, ML-KEM-768, HKDF, HMAC, ChaCha20-Poly1305, and age files.
 * Everything has the sizes of the real thing and fails alike: another key, a changed byte or a cut file is refused. It
 * protects nothing: a shared secret is a hash of what everyone sees, and a ciphertext is the text. It sits below src/auth,
 * so that all of our own code runs. It remembers which one-time key each ciphertext is for, so that the simulation can check
 * when that key is erased.
 */
import { Decrypter, Encrypter, type Recipient } from 'age-encryption'
import crypto, { type KeyObject } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { crc32 } from 'node:zlib'

/** Whether the real cryptography is used from now on. */
let isReal = false

export function useReal(real: boolean): void {
  isReal = real
}

export function usesReal(): boolean {
  return isReal
}

const X25519_PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')
const X25519_SPKI = Buffer.from('302a300506032b656e032100', 'hex')
const KEM_PKCS8 = Buffer.from('3054020100300b060960864801650304040204428040', 'hex')
const KEM_SPKI = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex')
const KEM_BYTES = 1_184
const KEM_CIPHERTEXT_BYTES = 1_088
/** X25519's base point: the product of a scalar and this is the point of the scalar. */
const BASE = Buffer.from([9, ...new Uint8Array(31)])
const TAG_BYTES = 16
const CHUNK_BYTES = 65_536 + TAG_BYTES

/** An X25519 key, as far as src/auth uses one. */
class Key {
  readonly point: Buffer

  constructor(point: Buffer) {
    this.point = point
  }

  export({ format }: { format: string }): { x: string } | Buffer {
    return format === 'jwk' ? { x: this.point.toString('base64url') } : Buffer.concat([X25519_SPKI, this.point])
  }
}

/** A key of ML-KEM-768, as far as src/auth uses one. Only the last 32 bytes of the public half differ from key to key. */
class KemKey {
  readonly public: Buffer
  #hash: Buffer | undefined

  constructor(encoded: Buffer) {
    this.public = encoded
  }

  /** Differs for each change of a byte. */
  get hash(): Buffer {
    return (this.#hash ??= mix([this.public], 32))
  }

  export(): Buffer {
    return Buffer.concat([KEM_SPKI, this.public])
  }
}

const NOTHING = new Uint8Array(0)

/** From so many bytes on, the sum of zlib is quicker than a loop. */
const LONG = 256

/** Hashes parts to 64 bytes at most, by words: quick, and good enough to notice each change of a byte. */
function mix(parts: readonly Uint8Array[], length: number): Buffer {
  let [a, b, c, d] = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]
  for (const part of parts) {
    if (part.length >= LONG) a ^= Math.imul(crc32(part, b >>> 0), 0x9e3779b1)
    else
      for (let at = 0; at < part.length; at++) {
        const kept = a
        a = Math.imul(b ^ part[at]!, 0x9e3779b1)
        b = (c << 13) | (c >>> 19)
        c = (d + kept) | 0
        d = kept ^ (a >>> 15)
      }
    a ^= part.length
    b = Math.imul(b + 0x7f4a7c15, 0x85ebca6b)
  }
  const hash = Buffer.allocUnsafe(length)
  for (let at = -16; at < length; at += 4) {
    const kept = a
    a = Math.imul(b ^ (b >>> 16) ^ at, 0x85ebca6b)
    b = Math.imul(c ^ (c >>> 13), 0xc2b2ae35)
    c = (d + kept) | 0
    d = kept ^ (a >>> 15)
    if (at >= 0) hash.writeInt32LE(a, at)
  }
  return hash
}

/** An authenticated cipher that encrypts nothing. Its tag is a hash of the key, the nonce, the data and the text. */
class Cipher {
  readonly #parts: Uint8Array[]
  #tag: Uint8Array | undefined

  constructor(key: Uint8Array, nonce: Uint8Array) {
    this.#parts = [key, nonce]
  }

  setAAD(data: Uint8Array): this {
    this.#parts.push(data)
    return this
  }

  update(text: Uint8Array): Buffer {
    this.#parts.push(text)
    return Buffer.from(text)
  }

  setAuthTag(tag: Uint8Array): this {
    this.#tag = tag
    return this
  }

  getAuthTag(): Buffer {
    return mix(this.#parts, TAG_BYTES)
  }

  /** @throws if the tag is wrong */
  final(): Uint8Array {
    if (this.#tag !== undefined && Buffer.compare(this.#tag, this.getAuthTag()) !== 0) throw new Error('the tag is wrong')
    return NOTHING
  }
}

/** The secrets of keys that Node holds. */
const secrets = new WeakMap<KeyObject, Buffer>()

/** A code by a hash of the key and the message. */
class Mac {
  readonly #parts: Uint8Array[]

  constructor(key: Uint8Array | KeyObject) {
    if (key instanceof Uint8Array) this.#parts = [key]
    else {
      let secret = secrets.get(key)
      if (secret === undefined) secrets.set(key, (secret = key.export()))
      this.#parts = [secret]
    }
  }

  update(bytes: Uint8Array | string): this {
    this.#parts.push(typeof bytes === 'string' ? Buffer.from(bytes) : Uint8Array.from(bytes))
    return this
  }

  digest(encoding: BufferEncoding | 'buffer' = 'buffer'): Buffer | string {
    const code = mix(this.#parts, 32)
    return encoding === 'buffer' ? code : code.toString(encoding)
  }
}

/** By scalar: the point of it. Computing one is slow, and the same few come again. */
const points = new Map<string, Buffer>()
/** The ML-KEM keys by their seeds. */
const kems = new Map<string, KemKey>()
/** By the hash of the seed of a hybrid key: the seed, and whether a scalar is part of such a key. */
const scalars = new Set<string>()
/** By the start of an ML-KEM ciphertext: the hash of the key that it is for. */
const encapsulated = new Map<string, string>()
/** By the hash of an ML-KEM key: the seed of the hybrid key. */
const seeds = new Map<string, Buffer>()
/** The bytes by which a ciphertext is known. */
const START_BYTES = 16

/** Forgets all keys. Called when a simulation begins. */
export function forgetKeys(): void {
  for (const known of [points, kems, encapsulated, seeds]) known.clear()
  scalars.clear()
}

/**
 * Returns the seed of the hybrid key for which a payload was encrypted.
 * @param payload an age file
 * @returns undefined if it is for a key of another kind, or the seed's owner has not used the key yet
 */
export function seedOf(payload: Uint8Array): Buffer | undefined {
  const start = HYBRID_START.length
  const head = Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.length, start + 2 * START_BYTES)).toString('latin1')
  if (!head.startsWith(HYBRID_START)) return undefined
  const first = Buffer.from(head.slice(start), 'base64').subarray(0, START_BYTES).toString('latin1')
  return seeds.get(encapsulated.get(first) ?? '')
}

/** The beginning of an age file for a hybrid key. */
export const HYBRID_START = 'age-encryption.org/v1\n-> mlkem768x25519 '
/** The ed25519 points of private keys. */
const signers = new WeakMap<object, Buffer>()

export function installStandIn(): void {
  const real = {
    createPrivateKey: crypto.createPrivateKey,
    createPublicKey: crypto.createPublicKey,
    generateKeyPairSync: crypto.generateKeyPairSync,
    diffieHellman: crypto.diffieHellman,
    sign: crypto.sign,
    verify: crypto.verify,
    createCipheriv: crypto.createCipheriv,
    createDecipheriv: crypto.createDecipheriv,
    createHash: crypto.createHash,
    encapsulate: crypto.encapsulate,
    decapsulate: crypto.decapsulate,
    createHmac: crypto.createHmac,
    hkdfSync: crypto.hkdfSync,
  }
  const isStream = (name: string): boolean => !isReal && name === 'chacha20-poly1305'
  const pointOf = (key: KeyObject): Buffer => Buffer.from(real.createPublicKey(key).export({ format: 'jwk' }).x!, 'base64url')
  const pointOfScalar = (pkcs8: Buffer): Buffer => {
    const name = pkcs8.toString('latin1')
    let point = points.get(name)
    // No other form of a hybrid key's scalar is ever used.
    if (point === undefined && scalars.delete(name.slice(X25519_PKCS8.length))) points.set(name, (point = mix([pkcs8], 32)))
    if (point === undefined) points.set(name, (point = pointOf(real.createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }))))
    return point
  }
  const signatureOf = (point: Uint8Array, message: Uint8Array): Buffer => mix([point, message], 64)
  const isKem = (bytes: unknown, prefix: Buffer): boolean =>
    !isReal && Buffer.isBuffer(bytes) && bytes.subarray(0, prefix.length).equals(prefix)
  const kemOf = (seed: Buffer): KemKey => {
    const name = seed.toString('latin1')
    let key = kems.get(name)
    if (key === undefined) {
      const encoded = Buffer.alloc(KEM_BYTES)
      mix([seed], 32).copy(encoded, KEM_BYTES - 32)
      kems.set(name, (key = new KemKey(encoded)))
    }
    return key
  }
  Object.assign(crypto, {
    /** Expands the seed of a hybrid key (X-Wing, section 5.2). */
    createHash(name: string, options?: { outputLength?: number }) {
      if (isReal || name !== 'shake256' || options?.outputLength !== 96) return real.createHash(name, options)
      let seed: Buffer
      const hash = {
        update(bytes: Uint8Array) {
          seed = Buffer.from(bytes)
          return hash
        },
        digest() {
          const expanded = mix([seed], 96)
          const kem = kemOf(expanded.subarray(0, 64)).hash.toString('latin1')
          if (!seeds.has(kem)) scalars.add(expanded.toString('latin1', 64))
          seeds.set(kem, seed)
          return expanded
        },
      }
      return hash
    },
    encapsulate(key: KemKey | KeyObject) {
      if (!(key instanceof KemKey)) return real.encapsulate(key)
      const ciphertext = mix([crypto.randomBytes(32)], KEM_CIPHERTEXT_BYTES)
      encapsulated.set(ciphertext.toString('latin1', 0, START_BYTES), key.hash.toString('latin1'))
      return { ciphertext, sharedKey: mix([key.hash, ciphertext], 32) }
    },
    decapsulate(key: KemKey | KeyObject, ciphertext: Uint8Array) {
      return key instanceof KemKey ? mix([key.hash, ciphertext], 32) : real.decapsulate(key, ciphertext)
    },
    createPrivateKey(input: { key: Buffer }) {
      if (isKem(input.key, KEM_PKCS8)) return kemOf(Buffer.from(input.key.subarray(KEM_PKCS8.length)))
      const isShare = !isReal && Buffer.isBuffer(input.key) && input.key.subarray(0, X25519_PKCS8.length).equals(X25519_PKCS8)
      return isShare ? new Key(pointOfScalar(Buffer.from(input.key))) : real.createPrivateKey(input as never)
    },
    createPublicKey(input: Key | KemKey | { key?: Buffer | { crv?: string; x?: string } }) {
      if (input instanceof Key || input instanceof KemKey) return input
      if (isKem(input.key, KEM_SPKI)) return new KemKey(Buffer.from((input.key as Buffer).subarray(KEM_SPKI.length)))
      if (isReal || Buffer.isBuffer(input.key) || input.key?.crv !== 'X25519') return real.createPublicKey(input as never)
      return new Key(Buffer.from(input.key.x!, 'base64url'))
    },
    generateKeyPairSync(kind: 'x25519') {
      if (isReal || kind !== 'x25519') return real.generateKeyPairSync(kind)
      const key = new Key(crypto.randomBytes(32))
      return { publicKey: key, privateKey: key }
    },
    diffieHellman(keys: { privateKey: Key; publicKey: Key }) {
      if (!(keys.privateKey instanceof Key)) return real.diffieHellman(keys as never)
      if (keys.publicKey.point.equals(BASE)) return keys.privateKey.point
      const both = [keys.privateKey.point, keys.publicKey.point].toSorted(Buffer.compare)
      return mix(both, 32)
    },
    createCipheriv(name: 'chacha20-poly1305', key: Uint8Array, nonce: Uint8Array, options: { authTagLength: number }) {
      return isStream(name) ? new Cipher(key, nonce) : real.createCipheriv(name, key, nonce, options)
    },
    createDecipheriv(name: 'chacha20-poly1305', key: Uint8Array, nonce: Uint8Array, options: { authTagLength: number }) {
      return isStream(name) ? new Cipher(key, nonce) : real.createDecipheriv(name, key, nonce, options)
    },
    createHmac(name: string, key: Uint8Array | KeyObject) {
      return isReal || name !== 'sha256' ? real.createHmac(name, key) : new Mac(key)
    },
    hkdfSync(name: string, secret: Uint8Array, salt: Uint8Array, info: string, length: number) {
      if (isReal || length !== 32) return real.hkdfSync(name, secret, salt, info, length)
      return mix([secret, salt, Buffer.from(info)], length)
    },
    sign(digest: string | null, message: Uint8Array, key: KeyObject) {
      if (isReal || digest !== null) return real.sign(digest, message, key)
      let point = signers.get(key)
      if (point === undefined) signers.set(key, (point = pointOf(key)))
      return signatureOf(point, message)
    },
    verify(digest: string | undefined, message: Uint8Array, key: { key: Buffer }, signature: Uint8Array) {
      if (isReal || digest !== undefined) return real.verify(digest, message, key as never, signature)
      return signatureOf(key.key.subarray(-32), message).equals(signature)
    },
  })
  const decrypt = Decrypter.prototype.decrypt as (this: Decrypter, file: Uint8Array, format?: string) => Promise<unknown>
  Decrypter.prototype.decrypt = function (this: Decrypter, file: Uint8Array, format?: string) {
    return isReal ? decrypt.call(this, file, format) : decryptFast(this, file)
  } as never
  const encrypt = Encrypter.prototype.encrypt as (this: Encrypter, text: Uint8Array) => Promise<unknown>
  Encrypter.prototype.encrypt = function (this: Encrypter, text: Uint8Array) {
    return isReal ? encrypt.call(this, text) : encryptFast(this, text)
  } as never
  syncBuiltinESMExports()
}

const toUnpadded = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replaceAll('=', '')

function nonceOf(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeUInt32BE(number, 7)
  nonce[11] = isLast ? 1 : 0
  return nonce
}

/** Encrypts as age-encryption does, with the ciphers of Node. */
async function encryptFast(encrypter: Encrypter, text: Uint8Array): Promise<Uint8Array> {
  const fileKey = crypto.randomBytes(16)
  let header = 'age-encryption.org/v1\n'
  for (const recipient of (encrypter as unknown as { recipients: Recipient[] }).recipients) {
    for (const { args, body } of await recipient.wrapFileKey(fileKey)) {
      const lines: string[] = [...(toUnpadded(body).match(/.{1,64}/g) ?? [])]
      if (lines.length === 0 || lines.at(-1)!.length === 64) lines.push('')
      header += `-> ${args.join(' ')}\n${lines.join('\n')}\n`
    }
  }
  header += '---'
  const derive = (salt: Uint8Array, info: string): Buffer => Buffer.from(crypto.hkdfSync('sha256', fileKey, salt, info, 32))
  const mac = crypto
    .createHmac('sha256', derive(new Uint8Array(0), 'header'))
    .update(header)
    .digest()
  const nonce = crypto.randomBytes(16)
  const key = derive(nonce, 'payload')
  const parts: Buffer[] = [Buffer.from(`${header} ${toUnpadded(mac)}\n`), nonce]
  const size = CHUNK_BYTES - TAG_BYTES
  for (let at = 0, number = 0; at === 0 || at < text.length; at += size, number++) {
    const cipher = crypto.createCipheriv('chacha20-poly1305', key, nonceOf(number, at + size >= text.length), { authTagLength: TAG_BYTES })
    parts.push(cipher.update(text.subarray(at, at + size)), cipher.final(), cipher.getAuthTag())
  }
  return new Uint8Array(Buffer.concat(parts))
}

/** Decrypts an age file with the ciphers of Node, which take a tenth of the time. @throws if it is malformed */
async function decryptFast(decrypter: Decrypter, file: Uint8Array): Promise<Uint8Array> {
  const bytes = Buffer.from(file)
  const end = bytes.indexOf('\n--- ')
  const line = bytes.indexOf('\n', end + 1)
  if (end === -1 || line === -1) throw new Error('no header')
  const stanzas = bytes
    .subarray(0, end)
    .toString('latin1')
    .split('\n-> ')
    .slice(1)
    .map((text) => {
      const [args = '', ...body] = text.split('\n')
      return { args: args.split(' '), body: Buffer.from(body.join(''), 'base64') }
    })
  const fileKey = await (decrypter as unknown as { unwrapFileKey(from: unknown): Promise<Uint8Array | null> }).unwrapFileKey(stanzas)
  if (fileKey === null) throw new Error('not for this key')
  const derive = (salt: Uint8Array, info: string): Buffer => Buffer.from(crypto.hkdfSync('sha256', fileKey, salt, info, 32))
  const mac = crypto
    .createHmac('sha256', derive(new Uint8Array(0), 'header'))
    .update(bytes.subarray(0, end + 4))
    .digest()
  if (!mac.equals(Buffer.from(bytes.subarray(end + 5, line).toString('latin1'), 'base64'))) throw new Error('wrong header')
  const payload = bytes.subarray(line + 1 + 16)
  const key = derive(bytes.subarray(line + 1, line + 17), 'payload')
  const parts: Buffer[] = []
  for (let at = 0, number = 0; at === 0 || at < payload.length; at += CHUNK_BYTES, number++) {
    const chunk = payload.subarray(at, at + CHUNK_BYTES)
    const cipher = crypto.createDecipheriv('chacha20-poly1305', key, nonceOf(number, at + CHUNK_BYTES >= payload.length), {
      authTagLength: TAG_BYTES,
    })
    cipher.setAuthTag(chunk.subarray(-TAG_BYTES))
    parts.push(cipher.update(chunk.subarray(0, -TAG_BYTES)), cipher.final())
  }
  return new Uint8Array(Buffer.concat(parts))
}
