/**
 * Proving keys, docs/protocol.md section 3: makes challenges, checks answers, knows mailboxes by
 * their blinded ids. Cryptography is done in pieces of some 100 µs, one a turn of the event loop, and the queue for
 * it is bounded, so that a flood of logins delays logins and nobody's messages
 * (docs/decisions/0016-logins-in-pieces.md).
 */
import { createHmac, randomFillSync, randomInt, timingSafeEqual, type KeyObject } from 'node:crypto'
import { encryptToKey } from '../auth/age-ssh.ts'
import { asBuffer } from '../auth/key-object.ts'
import { eraseKey, isSound, parsePublicKey, parseReceiver, type SshKey } from '../auth/ssh-key.ts'
import { decodeBase64 } from '../auth/ssh-wire.ts'
import { AUTH_NAMESPACE, verifySignature } from '../auth/sshsig.ts'
import { buildChallenge, type Challenge } from '../protocol/challenge.ts'
import { ProtocolError } from '../protocol/errors.ts'
import type { Challenged, Proof } from '../protocol/ports.ts'

/** Logins that wait to be worked on; at 2,000 a second the last waits for half a second. */
const QUEUE = 1_024
/** Logins that are worked on: more than one, so that who needs the thread pool keeps nobody waiting who does not. */
const AT_ONCE = 2
/** Keys known to lie on their curve, by blinded id: what SEND names again need not be proven again. */
const KNOWN_KEYS = 16_384
/** Drawn at once. */
const RANDOM_BYTES = 4_096
/** The base64 of `SSHSIG`, with which a signed answer begins. */
const SIGNATURE_START = Buffer.from('U1NIU0lH')

/** Holds no key: a key is overwritten once its challenge is made, and an answer brings it again or does without. */
export interface RelayProof extends Proof {
  /** SHA-256 of the key's blob. */
  readonly fingerprint: Uint8Array
  /** The challenge's line. */
  readonly line: Uint8Array
}

export class Prover {
  readonly #secret: KeyObject
  readonly #known = new Set<string>()
  readonly #queue: (() => Promise<void>)[] = []
  /** Pieces that wait for a turn of the event loop: of each login under way, one at most. */
  readonly #pieces: (() => void)[] = []
  /** Stands in where there is no proof, so that a wrong handle costs the same work as a wrong answer. */
  readonly #nobody: RelayProof
  #running = 0
  readonly #random = Buffer.alloc(RANDOM_BYTES)
  #at = RANDOM_BYTES

  /** `secret` is the boot secret that blinds mailbox ids. */
  constructor(secret: KeyObject) {
    this.#secret = secret
    const line = buildChallenge({ relay: 'localhost', ...this.drawChallenge() })
    this.#nobody = { method: 'decrypt', mailbox: '', fingerprint: NOBODY, line: Buffer.from(line) }
  }

  /** HMAC-SHA256(boot secret, SHA-256(key blob)) in base64url. */
  mailbox(fingerprint: Uint8Array): string {
    return createHmac('sha256', this.#secret).update(fingerprint).digest('base64url')
  }

  /** The mailbox of a SEND's receiver. @throws ProtocolError `bad-key` */
  receiver(field: Uint8Array): string {
    let mailbox: string | undefined
    const fingerprint = parseReceiver(field, (known) => {
      mailbox = this.mailbox(known)
      return this.#known.has(mailbox)
    })
    mailbox ??= this.mailbox(fingerprint)
    return mailbox
  }

  drawChallenge(): Pick<Challenge, 'handle' | 'nonce'> {
    return { handle: String(randomInt(2 ** 47, 2 ** 48 - 1)), nonce: this.draw(32) }
  }

  /** So many random bytes in base64url. They are drawn many at a time: a call takes 3 µs, however few it draws. */
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

  /** `publicKey` may be a view: it must stay as it is until the promise settles. */
  challenge(publicKey: Uint8Array, sign: boolean, challenge: Challenge): Promise<Challenged<RelayProof>> {
    if (this.#queue.length >= QUEUE) return Promise.resolve({ refused: 'rate-limited', detail: 1 })
    return this.#enqueue(async () => {
      let key: SshKey | undefined
      try {
        key = parsePublicKey(publicKey, 'form')
        const { fingerprint } = key
        const mailbox = this.mailbox(fingerprint)
        if (!this.#known.has(mailbox)) {
          await this.#turn()
          if (!isSound(key)) return { refused: 'bad-key' }
          this.#remember(mailbox)
          await this.#turn()
        }
        const line = Buffer.from(buildChallenge(challenge))
        const method = sign || !key.canDecrypt ? 'sign' : 'decrypt'
        const text = method === 'sign' ? line : asBuffer(await encryptToKey(line, key, () => this.#turn()))
        return { proof: { method, mailbox, fingerprint, line }, challenge: text.toString('base64') }
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
        return { refused: error.code }
      } finally {
        if (key !== undefined) eraseKey(key)
      }
    })
  }

  /**
   * Whether the answer proves the key. What is checked depends on the answer's form alone, with a
   * proof or without one, so that a wrong answer and an unknown handle take alike long.
   */
  verify(proof: RelayProof | undefined, answer: Uint8Array): Promise<boolean> {
    return this.#enqueue(async () => {
      const expected = proof ?? this.#nobody
      let good: boolean
      if (Buffer.compare(answer.subarray(0, SIGNATURE_START.length), SIGNATURE_START) === 0) {
        const blob = decodeSignature(answer)
        const checked = await verifySignature({ blob, key: expected, namespace: AUTH_NAMESPACE, message: expected.line })
        blob.fill(0)
        good = checked && expected.method === 'sign'
      } else {
        good = isLine(answer, expected.line) && expected.method === 'decrypt'
      }
      return good && proof !== undefined
    })
  }

  #remember(mailbox: string): void {
    this.#known.add(mailbox)
    if (this.#known.size <= KNOWN_KEYS) return
    const [oldest] = this.#known
    this.#known.delete(oldest!)
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#queue.push(() => work().then(resolve, reject))
      if (this.#running < AT_ONCE) void this.#work()
    })
  }

  /** Works until nobody waits. */
  async #work(): Promise<void> {
    this.#running++
    while (this.#queue.length > 0) {
      await this.#turn()
      await this.#queue.shift()?.()
    }
    this.#running--
  }

  /** The next turn of the event loop that no other piece has: messages are served before it. */
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

/** In the same time wherever they differ; how long the line is, everybody knows. */
function isLine(answer: Uint8Array, line: Uint8Array): boolean {
  const fits = answer.length === line.length
  return timingSafeEqual(fits ? answer : line, line) && fits
}

/** Canonical base64 only, so that a signature has one spelling; anything else is an empty blob, which fails. */
function decodeSignature(answer: Uint8Array): Uint8Array {
  try {
    return decodeBase64(answer)
  } catch {
    return Buffer.alloc(0)
  }
}

/** The ed25519 base point (RFC 8032, section 5.1) as a key: everybody knows its secret, and nobody logs in with it. */
const { fingerprint: NOBODY } = parsePublicKey(
  `ssh-ed25519 ${Buffer.concat([
    Buffer.from([0, 0, 0, 11]),
    Buffer.from('ssh-ed25519'),
    Buffer.from([0, 0, 0, 32, 0x58]),
    Buffer.alloc(31, 0x66),
  ]).toString('base64')}`,
)
