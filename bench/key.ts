/**
 * The client's half of a login at the least cost, so that one core of clients keeps one core of relay busy.
 * Everything constant is computed once, and the MAC of the age file is not checked. Use it only for measuring;
 * the real client is src/client.
 */
import {
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  privateDecrypt,
  sign,
} from 'node:crypto'

export const PROOFS = ['decrypt-ed25519', 'decrypt-rsa', 'sign-ed25519', 'sign-rsa', 'sign-ecdsa'] as const
export type Proof = (typeof PROOFS)[number]

export interface BenchKey {
  /** `type base64`, as AUTH and SEND expect it. */
  readonly text: string
  readonly publicKey: KeyObject
  readonly blob: Buffer
  /** The AUTH packet. */
  readonly auth: string
  /** Answers the base64 of a CHALLENGE for VERIFY. */
  answer(challenge: string): string
}

export function createKey(proof: Proof): BenchKey {
  switch (proof) {
    case 'decrypt-ed25519':
      return createDecryptingEd25519()
    case 'sign-ed25519':
      return createSigner(generateKeyPairSync('ed25519'), 'ssh-ed25519', null, (raw) => raw)
    case 'decrypt-rsa':
    case 'sign-rsa': {
      const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const signer = createSigner(pair, 'rsa-sha2-512', 'sha512', (raw) => raw)
      if (proof === 'sign-rsa') return signer
      const oaepLabel = Buffer.from('age-encryption.org/v1/ssh-rsa')
      const key = { key: pair.privateKey, oaepHash: 'sha256', oaepLabel }
      return {
        ...signer,
        auth: `0;${signer.text}`,
        answer: (challenge) => openFile(challenge, (_args, body) => privateDecrypt(key, body)),
      }
    }
    case 'sign-ecdsa':
      return createSigner(generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'ecdsa-sha2-nistp256', 'sha256', (raw) =>
        Buffer.concat([mpint(raw.subarray(0, 32)), mpint(raw.subarray(32))]),
      )
  }
}

interface Pair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

/** OpenSSH, PROTOCOL.sshsig. */
function createSigner(pair: Pair, algorithm: string, hash: 'sha256' | 'sha512' | null, encode: (raw: Buffer) => Buffer): BenchKey {
  const { type, blob } = encodePublic(pair.publicKey)
  const text = `${type} ${blob.toString('base64')}`
  const namespace = string('asfaleia-auth')
  const none = string('')
  const head = Buffer.concat([Buffer.from('SSHSIG'), Buffer.from([0, 0, 0, 1]), string(blob), namespace, none, string('sha512')])
  const answer = (challenge: string): string => {
    const digest = createHash('sha512').update(Buffer.from(challenge, 'base64')).digest()
    const signed = Buffer.concat([Buffer.from('SSHSIG'), namespace, none, string('sha512'), string(digest)])
    const raw = sign(hash, signed, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' })
    return Buffer.concat([head, string(Buffer.concat([string(algorithm), string(encode(raw))]))]).toString('base64')
  }
  return { text, publicKey: pair.publicKey, blob, auth: `0;${text};sign`, answer }
}

/** age's ssh-ed25519 recipient (filippo.io/age/agessh). */
function createDecryptingEd25519(): BenchKey {
  const pair = generateKeyPairSync('ed25519')
  const { type, blob } = encodePublic(pair.publicKey)
  const text = `${type} ${blob.toString('base64')}`
  const label = Buffer.from('age-encryption.org/v1/ssh-ed25519')
  const seed = pair.privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32)
  const secret = importX25519(createHash('sha512').update(seed).digest().subarray(0, 32))
  const tweak = importX25519(Buffer.from(hkdfSync('sha256', Buffer.alloc(0), blob, label, 32)))
  const own = createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32)
  return {
    text,
    publicKey: pair.publicKey,
    blob,
    auth: `0;${text}`,
    answer: (challenge) =>
      openFile(challenge, ([, , share], body) => {
        const point = Buffer.from(share!, 'base64')
        const shared = multiply(tweak, multiply(secret, point))
        return open(Buffer.from(hkdfSync('sha256', shared, Buffer.concat([point, own]), label, 32)), Buffer.alloc(12), body)
      }),
  }
}

const X25519_PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')
const X25519_SPKI = Buffer.from('302a300506032b656e032100', 'hex')

export function importX25519(scalar: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([X25519_PKCS8, scalar]), format: 'der', type: 'pkcs8' })
}

export function multiply(privateKey: KeyObject, point: Uint8Array): Buffer {
  const publicKey = createPublicKey({ key: Buffer.concat([X25519_SPKI, point]), format: 'der', type: 'spki' })
  return diffieHellman({ privateKey, publicKey })
}

function openFile(challenge: string, unwrap: (args: string[], body: Buffer) => Buffer): string {
  const file = Buffer.from(challenge, 'base64')
  const end = file.indexOf('\n---')
  const [, stanza, ...body] = file.subarray(0, end).toString('latin1').split('\n')
  const fileKey = unwrap(stanza!.split(' ').slice(1), Buffer.from(body.join(''), 'base64'))
  const payload = file.subarray(file.indexOf('\n', end + 1) + 1)
  const key = Buffer.from(hkdfSync('sha256', fileKey, payload.subarray(0, 16), 'payload', 32))
  const nonce = Buffer.alloc(12)
  nonce[11] = 1
  return open(key, nonce, payload.subarray(16)).toString('latin1')
}

function open(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array): Buffer {
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}

function encodePublic(key: KeyObject): { type: string; blob: Buffer } {
  const jwk = key.export({ format: 'jwk' })
  const part = (name: 'x' | 'y' | 'n' | 'e'): Buffer => Buffer.from(jwk[name]!, 'base64url')
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return { type: 'ssh-ed25519', blob: Buffer.concat([string('ssh-ed25519'), string(part('x'))]) }
    case 'rsa':
      return { type: 'ssh-rsa', blob: Buffer.concat([string('ssh-rsa'), mpint(part('e')), mpint(part('n'))]) }
    default: {
      const type = 'ecdsa-sha2-nistp256'
      const point = Buffer.concat([Buffer.of(4), part('x'), part('y')])
      return { type, blob: Buffer.concat([string(type), string('nistp256'), string(point)]) }
    }
  }
}

function string(value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** RFC 4251, section 5. */
function mpint(magnitude: Buffer): Buffer {
  let start = 0
  while (start < magnitude.length - 1 && magnitude[start] === 0) start++
  const bytes = magnitude.subarray(start)
  return string(bytes[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes)
}
