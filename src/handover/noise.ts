/**
 * Noise_NNpsk0_25519_ChaChaPoly_SHA256 by the Noise Protocol Framework, revision 34 (noiseprotocol.org): two messages,
 * then a cipher for each direction. Its only side effect is to draw the ephemeral key, unless a test passes one. Knows
 * neither sockets nor the content.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'

export const PSK_BYTES = 32
/** The longest Noise message, its tag included (section 3). */
export const MAX_NOISE_BYTES = 65_535
export const TAG_BYTES = 16

const NAME = 'Noise_NNpsk0_25519_ChaChaPoly_SHA256'
const KEY_BYTES = 32
const NOTHING = Buffer.alloc(0)

/** A message comes from a peer without the secret, was changed, or came out of its turn; the error does not say which. */
export class NoiseError extends Error {
  constructor() {
    super('the message is not authentic')
    this.name = 'NoiseError'
  }
}

export interface NoiseOptions {
  /** The pre-shared key, 32 bytes. */
  readonly psk: Uint8Array
  /** Data that both sides must agree on; not secret. */
  readonly prologue: Uint8Array
  /** The private X25519 key of this handshake, drawn by default. Only test vectors pass one. */
  readonly ephemeral?: KeyObject
}

/** The result of a handshake. */
export interface Ciphers {
  readonly send: Cipher
  readonly receive: Cipher
}

/** One direction's key and counter (CipherState, section 5.1). */
export class Cipher {
  readonly #key: Buffer
  #count = 0

  constructor(key: Buffer) {
    this.#key = key
  }

  /** Returns the ciphertext and its tag. */
  encrypt(plaintext: Uint8Array, data: Uint8Array = NOTHING): Buffer {
    const cipher = createCipheriv('chacha20-poly1305', this.#key, this.#nonce(), { authTagLength: TAG_BYTES })
    cipher.setAAD(data, { plaintextLength: plaintext.length })
    const text = cipher.update(plaintext)
    cipher.final()
    return Buffer.concat([text, cipher.getAuthTag()])
  }

  /** Returns the plaintext in a new buffer, for the caller to overwrite. @throws NoiseError */
  decrypt(message: Uint8Array, data: Uint8Array = NOTHING): Buffer {
    if (message.length < TAG_BYTES) throw new NoiseError()
    const end = message.length - TAG_BYTES
    const decipher = createDecipheriv('chacha20-poly1305', this.#key, this.#nonce(), { authTagLength: TAG_BYTES })
    decipher.setAAD(data, { plaintextLength: end })
    decipher.setAuthTag(message.subarray(end))
    const plaintext = decipher.update(message.subarray(0, end))
    try {
      decipher.final()
    } catch {
      plaintext.fill(0)
      throw new NoiseError()
    }
    return plaintext
  }

  /** Overwrites the key. */
  clear(): void {
    this.#key.fill(0)
  }

  /** Returns 32 bits of zeros, then the counter as 64 bits, little endian (section 12.2). */
  #nonce(): Buffer {
    if (this.#count === Number.MAX_SAFE_INTEGER) throw new NoiseError()
    const nonce = Buffer.alloc(12)
    nonce.writeBigUInt64LE(BigInt(this.#count++), 4)
    return nonce
  }
}

/** The side that speaks first. */
export class Initiator {
  readonly #state: Handshake
  readonly #ephemeral: KeyPair

  constructor(options: NoiseOptions) {
    this.#state = new Handshake(options)
    this.#ephemeral = keyPair(options.ephemeral)
  }

  /** `-> psk, e` */
  write(payload: Uint8Array = NOTHING): Buffer {
    this.#state.mixEphemeral(this.#ephemeral.public)
    return Buffer.concat([this.#ephemeral.public, this.#state.encrypt(payload)])
  }

  /** `<- e, ee`. @throws NoiseError */
  read(message: Uint8Array): Ciphers & { readonly payload: Buffer } {
    const theirs = ephemeralOf(message)
    this.#state.mixEphemeral(theirs)
    this.#state.mixShared(this.#ephemeral.private, theirs)
    const payload = this.#state.decrypt(message.subarray(KEY_BYTES))
    const [send, receive] = this.#state.split()
    return { payload, send, receive }
  }
}

/** The side that answers: reads the first message and writes the second. @throws NoiseError */
export function respond(
  options: NoiseOptions,
  message: Uint8Array,
  payload: Uint8Array = NOTHING,
): Ciphers & { readonly payload: Buffer; readonly answer: Buffer } {
  const state = new Handshake(options)
  const theirs = ephemeralOf(message)
  state.mixEphemeral(theirs)
  const read = state.decrypt(message.subarray(KEY_BYTES))
  const own = keyPair(options.ephemeral)
  state.mixEphemeral(own.public)
  state.mixShared(own.private, theirs)
  const answer = Buffer.concat([own.public, state.encrypt(payload)])
  const [receive, send] = state.split()
  return { payload: read, answer, send, receive }
}

/** SymmetricState of section 5.2, begun with the psk token. */
class Handshake {
  #hash: Buffer
  #chain: Buffer
  #cipher: Cipher | undefined

  constructor({ psk, prologue }: NoiseOptions) {
    if (psk.length !== PSK_BYTES) throw new TypeError(`a pre-shared key is ${PSK_BYTES} bytes`)
    this.#hash = sha256(Buffer.from(NAME))
    this.#chain = this.#hash
    this.#mixHash(prologue)
    // MixKeyAndHash of section 9.1.
    const [chain, hash, key] = hkdf(this.#chain, psk, 3)
    this.#chain = chain!
    this.#mixHash(hash!)
    this.#rekey(key!)
  }

  /** Processes `e`. With a psk, its public key is also mixed into the key (section 9.2). */
  mixEphemeral(key: Uint8Array): void {
    this.#mixHash(key)
    this.#mixKey(key)
  }

  /** Processes `ee`. @throws NoiseError for a point of low order */
  mixShared(privateKey: KeyObject, theirs: Buffer): void {
    let shared: Buffer
    try {
      const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: theirs.toString('base64url') }, format: 'jwk' })
      shared = diffieHellman({ privateKey, publicKey })
    } catch {
      throw new NoiseError()
    }
    this.#mixKey(shared)
    shared.fill(0)
  }

  encrypt(payload: Uint8Array): Buffer {
    const text = this.#cipher!.encrypt(payload, this.#hash)
    this.#mixHash(text)
    return text
  }

  /** @throws NoiseError */
  decrypt(text: Uint8Array): Buffer {
    const payload = this.#cipher!.decrypt(text, this.#hash)
    this.#mixHash(text)
    return payload
  }

  /** Returns the initiator's cipher and the responder's. */
  split(): [Cipher, Cipher] {
    const [first, second] = hkdf(this.#chain, NOTHING, 2)
    this.#chain.fill(0)
    this.#cipher?.clear()
    return [new Cipher(first!), new Cipher(second!)]
  }

  #mixHash(data: Uint8Array): void {
    this.#hash = sha256(this.#hash, data)
  }

  #mixKey(input: Uint8Array): void {
    const [chain, key] = hkdf(this.#chain, input, 2)
    this.#chain.fill(0)
    this.#chain = chain!
    this.#rekey(key!)
  }

  #rekey(key: Buffer): void {
    this.#cipher?.clear()
    this.#cipher = new Cipher(key)
  }
}

interface KeyPair {
  readonly private: KeyObject
  readonly public: Buffer
}

function keyPair(given: KeyObject | undefined): KeyPair {
  const privateKey = given ?? generateKeyPairSync('x25519').privateKey
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' })
  return { private: privateKey, public: Buffer.from(x!, 'base64url') }
}

function ephemeralOf(message: Uint8Array): Buffer {
  if (message.length < KEY_BYTES + TAG_BYTES) throw new NoiseError()
  return Buffer.from(message.subarray(0, KEY_BYTES))
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** HKDF of section 4.3 (RFC 5869 with the chaining key as salt and no info). */
function hkdf(chain: Uint8Array, input: Uint8Array, outputs: 2 | 3): Buffer[] {
  const key = createHmac('sha256', chain).update(input).digest()
  const made: Buffer[] = []
  for (let i = 1; i <= outputs; i++) {
    made.push(
      createHmac('sha256', key)
        .update(made.at(-1) ?? NOTHING)
        .update(Buffer.of(i))
        .digest(),
    )
  }
  key.fill(0)
  return made
}
