/**
 * Measures the cryptography of a login in a loop: `own` calls the relay's modules, one piece in each turn of
 * the event loop as the relay does; `bare` makes only the calls of node:crypto that every implementation of the
 * proof needs, each in its cheapest form. Usage as a process: ceiling.ts PROOF own|bare SECONDS. It warms up
 * for SECONDS and prints `ready`; for every line of standard input, a number of seconds, it measures and prints
 * a line of JSON.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import {
  createCipheriv,
  createHmac,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  publicEncrypt,
  randomBytes,
  sign,
  verify,
} from 'node:crypto'
import { createInterface } from 'node:readline'
import { createSecret, Tokens } from '../src/auth/token.ts'
import { buildChallenge } from '../src/protocol/challenge.ts'
import { Prover } from '../src/relay/prover.ts'
import { type BenchKey, createKey, importX25519, type Proof } from './key.ts'

/** The loop as a process on its own core. */
export class Ceiling {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  /** Starts a process; resolves once it is warm. */
  static async start(proof: Proof, which: 'own' | 'bare', core: string, warmSeconds: number): Promise<Ceiling> {
    const child = spawn('taskset', ['-c', core, process.execPath, import.meta.filename, proof, which, `${warmSeconds}`])
    // It ends with its standard input, and so with the process that started it.
    child.stdin.on('error', () => {})
    const ceiling = new Ceiling(child)
    await ceiling.#line()
    return ceiling
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error('a loop ended')
    return value
  }

  /** Measures logins per second of CPU time. */
  async run(seconds: number): Promise<number> {
    this.#child.stdin.write(`${seconds}\n`)
    return Number(await this.#line())
  }

  end(): void {
    this.#child.stdin.end()
  }
}

const secret = createSecret()
const tokens = new Tokens({ secret, seconds: 3_600 })
const subject = randomBytes(32).toString('base64url')

function drawLine(): Buffer {
  return Buffer.from(buildChallenge({ relay: 'localhost', handle: '123456789012345', nonce: randomBytes(32).toString('base64url') }))
}

function issue(): void {
  tokens.issue({ subject, audience: 'localhost', now: Date.now(), id: randomBytes(16).toString('base64url') })
}

/** Repeats the same answer, because the client's work is not measured. */
async function own(proof: Proof, key: BenchKey): Promise<() => Promise<void>> {
  const prover = new Prover(createSecretKey(randomBytes(32)))
  const text = Buffer.from(key.text)
  const ask = async () => {
    const challenged = await prover.challenge(text, proof.startsWith('sign'), { relay: 'localhost', ...prover.drawChallenge() })
    if ('refused' in challenged) throw new Error(challenged.refused)
    return challenged
  }
  const first = await ask()
  const answer = Buffer.from(key.answer(first.challenge))
  return async () => {
    await ask()
    if (!(await prover.verify(first.proof, answer))) throw new Error('not verified')
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
    createHmac('sha256', derive(fileKey, Buffer.alloc(0)))
      .update('header')
      .digest()
    seal(derive(fileKey, randomBytes(16)), drawLine())
    jwt()
  }
  switch (proof) {
    case 'decrypt-ed25519': {
      const { x = '' } = createPublicKey(importX25519(randomBytes(32))).export({ format: 'jwk' })
      const importPoint = (x: string): KeyObject => createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' })
      return async () => {
        const ephemeral = generateKeyPairSync('x25519')
        const share = Buffer.from(ephemeral.publicKey.export({ format: 'jwk' }).x!, 'base64url')
        const inner = diffieHellman({ privateKey: ephemeral.privateKey, publicKey: importPoint(x) })
        const tweak = importX25519(derive(Buffer.alloc(0), key.blob))
        const shared = diffieHellman({ privateKey: tweak, publicKey: importPoint(inner.toString('base64url')) })
        const fileKey = randomBytes(16)
        seal(derive(shared, share), fileKey)
        file(fileKey)
      }
    }
    case 'decrypt-rsa': {
      const pkcs1 = key.publicKey.export({ format: 'der', type: 'pkcs1' })
      return async () => {
        const fileKey = randomBytes(16)
        publicEncrypt({ key: pkcs1, format: 'der', type: 'pkcs1', oaepHash: 'sha256' }, fileKey)
        file(fileKey)
      }
    }
    case 'sign-ed25519':
    case 'sign-rsa':
    case 'sign-ecdsa': {
      const message = randomBytes(128)
      const { algorithm, publicKey, bytes } = signBare(proof, message)
      const jwk = publicKey.export({ format: 'jwk' })
      return async () => {
        drawLine()
        if (!verify(algorithm, message, { key: jwk, format: 'jwk', dsaEncoding: 'ieee-p1363' }, bytes)) throw new Error('not verified')
        jwt()
      }
    }
  }
}

function signBare(
  proof: 'sign-ed25519' | 'sign-rsa' | 'sign-ecdsa',
  message: Buffer,
): { algorithm: string | null; publicKey: KeyObject; bytes: Buffer } {
  const { publicKey, privateKey } =
    proof === 'sign-ed25519'
      ? generateKeyPairSync('ed25519')
      : proof === 'sign-rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = proof === 'sign-ed25519' ? null : proof === 'sign-rsa' ? 'sha512' : 'sha256'
  return { algorithm, publicKey, bytes: sign(algorithm, message, { key: privateKey, dsaEncoding: 'ieee-p1363' }) }
}

/** @returns logins a second of CPU time */
async function measure(step: () => Promise<void>, seconds: number): Promise<number> {
  const used = process.cpuUsage()
  const end = performance.now() + seconds * 1_000
  let logins = 0
  while (performance.now() < end) {
    await step()
    logins++
  }
  const { user, system } = process.cpuUsage(used)
  return (logins * 1e6) / (user + system)
}

if (import.meta.main) {
  const [proof, which, warmSeconds] = process.argv.slice(2) as [Proof, 'own' | 'bare', string]
  const key = createKey(proof)
  const step = which === 'own' ? await own(proof, key) : bare(proof, key)
  await measure(step, Number(warmSeconds))
  process.stdout.write('ready\n')
  for await (const seconds of createInterface({ input: process.stdin })) {
    process.stdout.write(`${await measure(step, Number(seconds))}\n`)
  }
}
