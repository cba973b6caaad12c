/**
 * The rule that makes a login safe for a client (docs/protocol.md, sections 3 and 7): an answer leaves only if its text is
 * a challenge of the dialled relay, with the handle of the CHALLENGE that answered AUTH. One AUTH has one CHALLENGE, and
 * one CHALLENGE one VERIFY. Has no I/O, like the session that owns it.
 */
import { parseChallenge } from './challenge.ts'
import { asciiText } from './packets.ts'

/** The login under way: AUTH, then CHALLENGE, then the check, which allows one VERIFY. */
type State =
  | { readonly kind: 'none' }
  | { readonly kind: 'asked' }
  | { readonly kind: 'received'; readonly handle: string }
  | { readonly kind: 'checked'; readonly handle: string }

export class ChallengeCheck {
  readonly #relay: string
  #state: State = { kind: 'none' }

  /** @param relay the dialled name */
  constructor(relay: string) {
    this.#relay = relay
  }

  /** AUTH leaves. @throws {TypeError} while another login is under way */
  onAsked(): void {
    if (this.#state.kind !== 'none') throw new TypeError('a login is under way')
    this.#state = { kind: 'asked' }
  }

  /** CHALLENGE came. */
  onReceived(handle: string): void {
    this.#state = { kind: 'received', handle }
  }

  /** Returns the line of a text that may be answered, and undefined for any other text. */
  check(text: Uint8Array): string | undefined {
    const state = this.#state
    if (state.kind !== 'received') throw new TypeError('there is no challenge to check')
    // Only printable ASCII becomes a line, so no other bytes give the same line.
    const line = asciiText(text)
    const challenge = line === undefined ? undefined : parseChallenge(line)
    if (challenge === undefined || challenge.relay !== this.#relay || challenge.handle !== state.handle) return undefined
    this.#state = { kind: 'checked', handle: state.handle }
    return line
  }

  /** VERIFY leaves. Returns its handle. @throws {TypeError} unless the challenge was checked */
  onAnswered(): string {
    const state = this.#state
    if (state.kind !== 'checked') throw new TypeError('there is no checked challenge')
    this.#state = { kind: 'none' }
    return state.handle
  }

  /** AUTH was refused, or the session is over. */
  clear(): void {
    this.#state = { kind: 'none' }
  }
}
