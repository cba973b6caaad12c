/**
 * What a login costs in cryptography alone, in a bare loop: `own` by the modules that the relay calls (the key
 * parsed, the challenge made, the answer checked, the token issued), `bare` by the calls of node:crypto that no
 * implementation of the proof could leave out. Usage: ceiling.ts PROOF own|bare SECONDS; prints JSON.
 */
import { createCipheriv, createHmac, createPublicKey, generateKeyPairSync, hkdfSync, publicEncrypt, randomBytes, sign, timingSafeEqual, verify } from 'node:crypto'
import { encryptToKey } from '../src/auth/age-ssh.ts'
import { parsePublicKey } from '../src/auth/ssh-key.ts'
import { AUTH_NAMESPACE, verifySignature } from '../src/auth/sshsig.ts'
import { createSecret, Tokens } from '../src/auth/token.ts'
import { buildChallenge } from '../src/protocol/challenge.ts'
import { type BenchKey, createKey, importX25519, multiply, type Proof } from './key.ts'

const secret = createSecret()
const tokens = new Tokens({ secret, seconds: 3_600 })
const subject = randomBytes(32).toString('base64url')

function drawLine(): Buffer {
  return Buffer.from(buildChallenge({ relay: 'localhost', handle: '123456789012345', nonce: randomBytes(32).toString('base64url') }))
}

function issue(): void {
  tokens.issue({ subject, audience: 'localhost', now: Date.now(), id: randomBytes(16).toString('base64url') })
}

function own(proof: Proof, key: BenchKey): () => Promise<void> {
  if (proof.startsWith('decrypt')) {
    return async () => {
      const line = drawLine()
      const parsed = parsePublicKey(key.text)
      await encryptToKey(line, parsed)
      const digest = (): Buffer => createHmac('sha256', secret).update(line).digest()
      timingSafeEqual(digest(), digest())
      issue()
    }
  }
  const message = drawLine()
  const blob = Buffer.from(key.answer(message.toString('base64')), 'base64')
  return async () => {
    drawLine()
    const parsed = parsePublicKey(key.text)
    if (!(await verifySignature({ blob, key: parsed, namespace: AUTH_NAMESPACE, message }))) throw new Error('not verified')
    issue()
  }
}

function seal(key: Uint8Array, text: Uint8Array): void {
  const cipher = createCipheriv('chacha20-poly1305', key, Buffer.alloc(12), { authTagLength: 16 })
  cipher.update(text)
  cipher.final()
  cipher.getAuthTag()
}

function jwt(): void {
  const body = `${Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')}.${Buffer.from(JSON.stringify({ sub: subject, aud: 'localhost', iat: 1, exp: 2, jti: subject })).toString('base64url')}`
  createHmac('sha256', secret).update(body).digest('base64url')
}

function bare(proof: Proof, key: BenchKey): () => Promise<void> {
  const derive = (secret: Uint8Array, salt: Uint8Array): Buffer => Buffer.from(hkdfSync('sha256', secret, salt, 'label', 32))
  const file = (fileKey: Buffer): void => {
    createHmac('sha256', derive(fileKey, Buffer.alloc(0))).update('header').digest()
    seal(derive(fileKey, randomBytes(16)), drawLine())
    jwt()
  }
  const spki = key.publicKey.export({ format: 'der', type: 'spki' })
  switch (proof) {
    case 'decrypt-ed25519': {
      const point = createPublicKey(importX25519(randomBytes(32))).export({ format: 'der', type: 'spki' }).subarray(-32)
      return async () => {
        const ephemeral = generateKeyPairSync('x25519')
        const share = ephemeral.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
        const shared = multiply(importX25519(derive(Buffer.alloc(0), key.blob)), multiply(ephemeral.privateKey, point))
        const fileKey = randomBytes(16)
        seal(derive(shared, share), fileKey)
        file(fileKey)
      }
    }
    case 'decrypt-rsa':
      return async () => {
        const fileKey = randomBytes(16)
        publicEncrypt({ key: createPublicKey({ key: spki, format: 'der', type: 'spki' }), oaepHash: 'sha256' }, fileKey)
        file(fileKey)
      }
    case 'sign-ed25519':
    case 'sign-rsa':
    case 'sign-ecdsa': {
      const message = randomBytes(128)
      const { algorithm, signature } = signBare(proof, message)
      return async () => {
        drawLine()
        const publicKey = createPublicKey({ key: signature.spki, format: 'der', type: 'spki' })
        if (!verify(algorithm, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature.bytes)) throw new Error('not verified')
        jwt()
      }
    }
  }
}

function signBare(proof: 'sign-ed25519' | 'sign-rsa' | 'sign-ecdsa', message: Buffer): { algorithm: string | null; signature: { spki: Buffer; bytes: Buffer } } {
  const { publicKey, privateKey } =
    proof === 'sign-ed25519'
      ? generateKeyPairSync('ed25519')
      : proof === 'sign-rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = proof === 'sign-ed25519' ? null : proof === 'sign-rsa' ? 'sha512' : 'sha256'
  const bytes = sign(algorithm, message, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return { algorithm, signature: { spki: publicKey.export({ format: 'der', type: 'spki' }), bytes } }
}

const [proof, which, seconds] = process.argv.slice(2) as [Proof, 'own' | 'bare', string]
const step = (which === 'own' ? own : bare)(proof, createKey(proof))
for (let i = 0; i < 200; i++) await step()
const began = performance.now()
const used = process.cpuUsage()
const end = began + Number(seconds) * 1_000
let messages = 0
while (performance.now() < end) {
  await step()
  messages++
}
const { user, system } = process.cpuUsage(used)
process.stdout.write(`${JSON.stringify({ messages, seconds: (performance.now() - began) / 1_000, cpuSeconds: (user + system) / 1e6 })}\n`)
