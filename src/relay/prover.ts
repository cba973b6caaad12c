/**
 * Proofs of keys, docs/protocol.md section 3: makes challenges, checks answers, and computes the blinded ids of
 * mailboxes. Does cryptography in pieces of some 100 µs, one a turn of the event loop, behind a bounded queue: a flood
 * of logins delays logins, but not messages (docs/decisions/0016-logins-in-pieces.md).
 */
import { createHmac, randomBytes, randomFillSync, randomInt, timingSafeEqual, type KeyObject } from 'node:crypto'
import { encryptToKey } from '../auth/age-ssh.ts'
import { ed25519 } from '../auth/crypto.ts'
import { asBuffer } from '../auth/key-object.ts'
import { eraseKey, isSound, parseKeyBlob, parsePublicKey, parseReceiver, type SshKey } from '../auth/ssh-key.ts'
import { fingerprintOfSecret } from '../auth/secret.ts'
import { concat, decodeBase64, encodeString } from '../auth/ssh-wire.ts'
import { AUTH_NAMESPACE, signMessage, verifySignature } from '../auth/sshsig.ts'
import { buildChallenge, type Challenge } from '../protocol/challenge.ts'
import { ProtocolError } from '../protocol/errors.ts'
import type { Challenged, Named, Proof, UncheckedKey } from '../protocol/ports.ts'

/** Logins that may wait, and as many receivers' keys. At 2,000 a second the last one waits for half a second. */
const QUEUE = 1_024
/** Logins under way at once. With two, one that waits for the thread pool does not hold up the others. */
const AT_ONCE = 2
/** Receivers' keys checked in one piece. Each takes 14 µs. */
const CHECKS = 6
/** Random bytes drawn at once. */
const RANDOM_BYTES = 4_096
/** The base64 of `SSHSIG`, the beginning of every signed answer. */
const SIGNATURE_START = Buffer.from('U1NIU0lH')

/**
 * Contains no key: the prover overwrites a key once its challenge is made, and a signed answer contains the key again.
 * Small, because a stranger can have 16 open challenges: a Buffer takes four times the memory of a short string.
 */
export interface RelayProof extends Proof {
  /** SHA-256 of the key's blob, a byte in each character. */
  readonly fingerprint: string
  readonly challenge: Challenge
}

const lineOf = (challenge: Challenge): Buffer => Buffer.from(buildChallenge(challenge))

type Work = () => Promise<void>
interface Check {
  readonly key: UncheckedKey
  readonly resolve: (outcome: 'sound' | 'bad-key') => void
}

export class Prover {
  readonly #secret: KeyObject
  readonly #mustVerify: (mailbox: string) => boolean
  /** Logins that wait. */
  readonly #logins: Work[] = []
  /** Receivers' keys that wait. Taken by turns with logins, so that a flood of logins does not delay messages. */
  readonly #checks: Check[] = []
  #wasLogin = false
  /** Pieces that wait for a turn of the event loop; at most one of each login under way. */
  readonly #pieces: (() => void)[] = []
  readonly #standIn: StandIn
  #running = 0
  readonly #random = Buffer.alloc(RANDOM_BYTES)
  #at = RANDOM_BYTES

  /**
   * @param secret the boot secret, which blinds mailbox ids
   * @param mustVerify whether the FIDO key of a mailbox must assert that it verified its user
   */
  constructor(secret: KeyObject, mustVerify: (mailbox: string) => boolean = () => false) {
    this.#secret = secret
    this.#mustVerify = mustVerify
    this.#standIn = createStandIn({ relay: 'localhost', ...this.drawChallenge() })
  }

  /** Computes a mailbox's id: HMAC-SHA256(boot secret, SHA-256(key blob)) in base64url. */
  mailbox(fingerprint: Uint8Array): string {
    return createHmac('sha256', this.#secret).update(fingerprint).digest('base64url')
  }

  /** Returns the mailbox of a CLAIM's secret; undefined if the field has another form. */
  claim(secret: Uint8Array): string | undefined {
    const fingerprint = fingerprintOfSecret(secret)
    return fingerprint && this.mailbox(fingerprint)
  }

  /**
   * Finds the mailbox of a receiver, and its key, if `check` must check it. The prover does not remember keys: a
   * stranger could measure whether the key that it names was at this relay before.
   *
   * @throws {ProtocolError} `bad-key`, `unsupported-key`
   */
  receiver(field: Uint8Array): Named {
    const { fingerprint, unchecked: key } = parseReceiver(field)
    const mailbox = this.mailbox(fingerprint)
    return key === undefined ? { mailbox } : { mailbox, unchecked: { isSound: () => isSound(key), erase: () => eraseKey(key) } }
  }

  /** Checks and erases the key of a receiver. */
  check(key: UncheckedKey): Promise<'sound' | 'bad-key' | 'busy'> {
    if (this.#checks.length >= QUEUE) {
      key.erase()
      return Promise.resolve('busy')
    }
    return new Promise((resolve) => {
      this.#checks.push({ key, resolve })
      this.#start()
    })
  }

  /** Draws a handle of 15 digits and a nonce. */
  drawChallenge(): Pick<Challenge, 'handle' | 'nonce'> {
    return { handle: String(randomInt(2 ** 47, 2 ** 48 - 1)), nonce: this.draw(32) }
  }

  /** Returns random bytes in base64url. Draws many at a time, since a draw takes 3 µs, however few bytes it gives. */
  draw(bytes: number): string {
    if (this.#at + bytes > this.#random.length) {
      randomFillSync(this.#random)
      this.#at = 0
    }
    const drawn = this.#random.subarray(this.#at, (this.#at += bytes))
    const text = drawn.toString('base64url')
    drawn.fill(0)
    return text
  }

  /**
   * Makes the challenge for a key, or refuses the key.
   *
   * @param publicKey must not change until the promise settles
   */
  challenge(publicKey: Uint8Array, sign: boolean, challenge: Challenge): Promise<Challenged<RelayProof>> {
    if (this.#logins.length >= QUEUE) return Promise.resolve({ refused: 'rate-limited', detail: 1 })
    return this.#enqueue(async () => {
      let key: SshKey | undefined
      try {
        key = parsePublicKey(publicKey, 'form')
        const fingerprint = asBuffer(key.fingerprint)
        const mailbox = this.mailbox(fingerprint)
        if (!isSound(key)) return { refused: 'bad-key' }
        await this.#turn()
        const line = lineOf(challenge)
        const method = sign || !key.canDecrypt ? 'sign' : 'decrypt'
        const text = method === 'sign' ? line : asBuffer(await encryptToKey(line, key, () => this.#turn()))
        return { proof: { method, mailbox, fingerprint: fingerprint.toString('latin1'), challenge }, challenge: text.toString('base64') }
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
        return { refused: error.code }
      } finally {
        if (key !== undefined) eraseKey(key)
      }
    })
  }

  /**
   * Checks whether an answer proves the key. Without a proof that the answer can belong to, checks a signature of the
   * relay's own in its place: the work is that of a wrong answer, and the peer chooses neither a key nor its size.
   */
  verify(proof: RelayProof | undefined, answer: Uint8Array): Promise<boolean> {
    return this.#enqueue(async () => {
      const isSignature = Buffer.compare(answer.subarray(0, SIGNATURE_START.length), SIGNATURE_START) === 0
      const expected = proof?.method === (isSignature ? 'sign' : 'decrypt') ? proof : undefined
      const { proof: own, answer: ownAnswer } = this.#standIn
      const { challenge, fingerprint, mailbox } = expected ?? own
      const line = lineOf(challenge)
      if (!isSignature) return isLine(answer, line) && expected !== undefined
      const key = { fingerprint: Buffer.from(fingerprint, 'latin1') }
      const blob = decodeSignature(expected === undefined ? ownAnswer : answer)
      const mustVerify = this.#mustVerify(mailbox)
      const isGood = await verifySignature({ blob, key, namespace: AUTH_NAMESPACE, message: line, mustVerify })
      blob.fill(0)
      return isGood && expected !== undefined
    })
  }

  #enqueue<T>(login: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#logins.push(() => login().then(resolve, reject))
      this.#start()
    })
  }

  #start(): void {
    if (this.#running < AT_ONCE) void this.#work()
  }

  /** Works until both queues are empty, and takes from them by turns. */
  async #work(): Promise<void> {
    this.#running++
    while (this.#logins.length > 0 || this.#checks.length > 0) {
      await this.#turn()
      this.#wasLogin = this.#checks.length === 0 || (!this.#wasLogin && this.#logins.length > 0)
      if (this.#wasLogin) await this.#logins.shift()?.()
      else
        for (const { key, resolve } of this.#checks.splice(0, CHECKS)) {
          resolve(key.isSound() ? 'sound' : 'bad-key')
          key.erase()
        }
    }
    this.#running--
  }

  /** Waits for a turn of the event loop that no other piece has. Messages are served before that. */
  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#pieces.push(resolve)
      if (this.#pieces.length === 1) setImmediate(() => this.#goOn())
    })
  }

  #goOn(): void {
    this.#pieces.shift()?.()
    if (this.#pieces.length > 0) setImmediate(() => this.#goOn())
  }
}

/** Compares in constant time. Only the lengths may show, and the length of a line is no secret. */
function isLine(answer: Uint8Array, line: Uint8Array): boolean {
  const fits = answer.length === line.length
  return timingSafeEqual(fits ? answer : line, line) && fits
}

/** Decodes canonical base64 only, so that a signature has one spelling. Other text gives an empty blob, which fails. */
function decodeSignature(answer: Uint8Array): Uint8Array {
  try {
    return decodeBase64(answer)
  } catch {
    return Buffer.alloc(0)
  }
}

/** A login that nobody asked for: the proof of a key of the relay's own, and its right answer. */
interface StandIn {
  readonly proof: RelayProof
  readonly answer: Uint8Array
}

function createStandIn(challenge: Challenge): StandIn {
  const { point, sign } = ed25519(randomBytes(32))
  const key = parseKeyBlob(concat(encodeString('ssh-ed25519'), encodeString(point)))
  const blob = signMessage({ public: key, sign }, AUTH_NAMESPACE, lineOf(challenge))
  const proof = { method: 'sign', mailbox: '', fingerprint: asBuffer(key.fingerprint).toString('latin1'), challenge } as const
  return { proof, answer: Buffer.from(asBuffer(blob).toString('base64')) }
}
