/**
 * The logins of one connection (docs/protocol.md, section 3): the proof under way, of which there is at most one, and
 * the challenges that wait for their answer. Has no I/O, like the session that owns it. Does no cryptography: the relay
 * makes and checks proofs.
 */
import { ProtocolError } from './errors.ts'
import { copyBytes } from './line.ts'
import type { Output } from './output.ts'
import { asciiText, type Fields, isWord, PACKETS, type RequestName } from './packets.ts'
import type { Challenged, Effect, Ports, Proof, Rates } from './ports.ts'

/** A challenge that waits for its answer. Its proof reveals whose key was named, so it must not outlive `expires`. */
interface OpenChallenge<P> {
  readonly proof: P
  /** The relay's name in the challenge. */
  readonly audience: string
  /** ms */
  readonly expires: number
}

/** The proof under way. `asked` is a copy of the key or answer, since the chunk is gone before the proof is done. */
type Proving<P> =
  | { readonly kind: 'none' }
  | { readonly kind: 'challenge'; readonly asked: Uint8Array; readonly handle: string; readonly audience: string }
  | { readonly kind: 'verify'; readonly asked: Uint8Array; readonly challenge: OpenChallenge<P> | undefined; readonly label: string }

const NONE = Object.freeze({ kind: 'none' } as const)

export class Login<P extends Proof> {
  readonly #ports: Ports
  readonly #rates: Rates
  readonly #output: Output
  #proving: Proving<P> = NONE
  /** By handle, oldest first. Created when needed: thousands of idle connections have no challenge. */
  #open: Map<string, OpenChallenge<P>> | undefined

  constructor(ports: Ports, rates: Rates, output: Output) {
    this.#ports = ports
    this.#rates = rates
    this.#output = output
  }

  /** Whether a proof is under way. */
  get isProving(): boolean {
    return this.#proving !== NONE
  }

  /** Bytes of the copy of the proof under way. */
  get memory(): number {
    return this.#proving.kind === 'none' ? 0 : this.#proving.asked.length
  }

  /** When the oldest open challenge expires, in ms; undefined if no challenge is open. */
  get nextExpiry(): number | undefined {
    return this.#open?.values().next().value?.expires
  }

  /**
   * Begins to make the challenge that AUTH asks for.
   *
   * @param name the name in the last HELLO
   * @throws {ProtocolError} `wrong-usage`, `not-ready`, `rate-limited`
   */
  onAuth(request: Fields<RequestName>, name: string | undefined, now: number): Effect<P> {
    const key = request.field(0)
    const sign = request.count === 2
    if (key.length === 0 || (sign && !isWord(request.field(1), 'sign'))) throw new ProtocolError('wrong-usage')
    const relay = name ?? this.#ports.names()[0]
    if (relay === undefined) throw new ProtocolError('not-ready')
    const wait = this.#rates.loginWait(now)
    if (wait > 0) throw new ProtocolError('rate-limited', wait)
    const { handle, nonce } = this.#ports.drawChallenge()
    const asked = copyBytes(key)
    this.#proving = { kind: 'challenge', asked, handle, audience: relay }
    return { kind: 'challenge', key: asked, sign, challenge: { relay, handle, nonce } }
  }

  /**
   * Answers AUTH with CHALLENGE: the relay made it, or refused to.
   *
   * @throws {ProtocolError} the refusal
   */
  onChallenged(result: Challenged<P>, now: number): void {
    const proving = this.settle()
    if (proving.kind !== 'challenge') return
    if ('refused' in result) throw new ProtocolError(result.refused, result.detail)
    const { handles, handleSeconds } = this.#ports.limits
    this.expire(now)
    const open = (this.#open ??= new Map())
    // If the peer leaves too many unanswered, the oldest goes as if it had expired.
    if (open.size === handles) open.delete(open.keys().next().value!)
    open.set(proving.handle, { proof: result.proof, audience: proving.audience, expires: now + handleSeconds * 1_000 })
    this.#output.packet(`${PACKETS.CHALLENGE.no};${proving.handle};${result.challenge}`)
  }

  /**
   * Begins to check the answer in VERIFY. Its handle is used up, whether the answer is right or wrong.
   *
   * @param label for the proof
   * @throws {ProtocolError} `wrong-usage`; `rate-limited`, which leaves the handle open
   */
  onVerify(request: Fields<RequestName>, label: string, now: number): Effect<P> {
    const handle = asciiText(request.field(0))
    if (handle === undefined || !/^[0-9]{1,39}$/.test(handle)) throw new ProtocolError('wrong-usage')
    const wait = this.#rates.loginWait(now)
    if (wait > 0) throw new ProtocolError('rate-limited', wait)
    const open = this.#open?.get(handle)
    const challenge = open !== undefined && open.expires > now ? open : undefined
    this.#forget(handle)
    const asked = copyBytes(request.field(1))
    this.#proving = { kind: 'verify', asked, challenge, label }
    return { kind: 'verify', proof: challenge?.proof, answer: asked }
  }

  /**
   * Ends VERIFY: the relay checked the answer.
   *
   * @returns what is proved
   * @throws {ProtocolError} `auth-failed`
   */
  onVerified(good: boolean): { readonly proof: P; readonly audience: string; readonly label: string } {
    const proving = this.settle()
    const challenge = proving.kind === 'verify' ? proving.challenge : undefined
    if (!good || proving.kind !== 'verify' || challenge === undefined) throw new ProtocolError('auth-failed')
    return { proof: challenge.proof, audience: challenge.audience, label: proving.label }
  }

  /** Ends the proof under way, overwrites its copy, and returns the proof. */
  settle(): Proving<P> {
    const proving = this.#proving
    this.#proving = NONE
    if (proving.kind !== 'none') proving.asked.fill(0)
    return proving
  }

  /** Forgets the challenges that have expired. */
  expire(now: number): void {
    if (this.#open === undefined) return
    for (const [handle, { expires }] of this.#open) if (expires <= now) this.#forget(handle)
  }

  /** Forgets everything, and overwrites the copy of the proof under way. */
  clear(): void {
    this.settle()
    this.#open = undefined
  }

  #forget(handle: string): void {
    this.#open?.delete(handle)
    if (this.#open?.size === 0) this.#open = undefined
  }
}
