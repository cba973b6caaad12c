/**
 * What one connection has proved (docs/protocol.md, section 3): the tokens that were verified on it, and the proofs that
 * labels stand for. Has no I/O, like the session that owns it.
 */
import { ProtocolError } from './errors.ts'
import type { Fields, RequestName } from './packets.ts'
import type { Ports, Proven, Rates } from './ports.ts'
import { Recent } from './recent.ts'
import type { Turn } from './turn.ts'

/** The longest label. No token is as short. */
const LABEL_BYTES = 16
const DASH = 0x2d

export class Proofs {
  readonly #ports: Ports
  readonly #rates: Rates
  readonly #turn: Turn
  #hasAny = false
  readonly #tokens = new Recent<Proven>()
  /** The proof under the empty label. */
  #unlabelled: Proven | undefined
  /** The proofs under all other labels. Created when needed. */
  #labelled: Map<string, Proven> | undefined

  constructor(ports: Ports, rates: Rates, turn: Turn) {
    this.#ports = ports
    this.#rates = rates
    this.#turn = turn
  }

  /** Whether the connection has ever had a proof. */
  get hasAny(): boolean {
    return this.#hasAny
  }

  /**
   * Returns the proof that the request's token field, its first, names by a token or a label.
   *
   * @throws {ProtocolError} `bad-token`
   */
  find(request: Fields<RequestName>, now: number): Proven {
    const proven = isLabel(request) ? this.#get(readLabel(request, 0, 'bad-token')) : this.#findToken(request, now)
    if (proven === undefined || proven.expires <= now || !this.#ports.admits(proven.mailbox)) throw new ProtocolError('bad-token')
    return proven
  }

  /** Returns the label in the token field; the empty one if the field is a token. */
  labelIn(request: Fields<RequestName>): string {
    return isLabel(request) ? readLabel(request, 0, 'bad-token') : ''
  }

  /**
   * Ends the label that a VERIFY or CLAIM names in its field `n`: whatever happens to the packet, no later one leaves
   * under the older proof.
   *
   * @param onEnded called with the label, before it may be refused
   * @returns the label
   * @throws {ProtocolError} `wrong-usage` if it is malformed, or one too many
   */
  begin(request: Fields<RequestName>, n: number, onEnded: (label: string) => void): string {
    const label = request.count > n ? readLabel(request, n, 'wrong-usage') : ''
    if (label === '') this.#unlabelled = undefined
    else if (this.#labelled?.delete(label) === true) this.#ports.mailboxes.dropLabels(1)
    onEnded(label)
    if (label !== '' && (this.#labelled?.size ?? 0) >= this.#ports.limits.labels) throw new ProtocolError('wrong-usage')
    return label
  }

  /** Makes room for a proof under a label that `begin` ended. @throws {ProtocolError} `relay-full` */
  reserve(label: string): void {
    if (label !== '' && !this.#ports.mailboxes.addLabel()) throw new ProtocolError('relay-full')
  }

  /** Keeps a proof with its token, under a label for which `reserve` made room. */
  add(token: string, label: string, proven: Proven, now: number): void {
    if (label === '') this.#unlabelled = proven
    else (this.#labelled ??= new Map()).set(label, proven)
    const bytes = Buffer.from(token, 'latin1')
    this.#remember(bytes, proven, now)
    bytes.fill(0)
  }

  /** Whether `test` holds for all proofs. */
  every(test: (proven: Proven) => boolean): boolean {
    if (this.#unlabelled !== undefined && !test(this.#unlabelled)) return false
    for (const proven of this.#labelled?.values() ?? []) if (!test(proven)) return false
    return this.#tokens.every(test)
  }

  /** Overwrites and forgets everything. */
  clear(): void {
    this.#tokens.clear()
    this.#unlabelled = undefined
    this.#ports.mailboxes.dropLabels(this.#labelled?.size ?? 0)
    this.#labelled = undefined
  }

  #get(label: string): Proven | undefined {
    return label === '' ? this.#unlabelled : this.#labelled?.get(label)
  }

  #findToken(request: Fields<RequestName>, now: number): Proven | undefined {
    const known = this.#tokens.find(request, 0)
    if (known !== undefined) return known
    const field = request.field(0)
    this.#turn.onToken()
    const proven = this.#ports.verifyToken(field, now)
    if (proven === undefined || !this.#ports.admits(proven.mailbox)) return undefined
    this.#remember(field, proven, now)
    return proven
  }

  /** Remembers a good token, so that its signature is not verified again on this connection. */
  #remember(bytes: Uint8Array, proven: Proven, now: number): void {
    this.#tokens.add(bytes, proven)
    this.#hasAny = true
    this.#rates.onProven(proven, now)
  }
}

/** Whether the token field is so short that it can only be a label. */
function isLabel(request: Fields<RequestName>): boolean {
  return request.length(0) <= LABEL_BYTES
}

/** Reads a label. @throws {ProtocolError} `code` if it has another form */
function readLabel(request: Fields<RequestName>, n: number, code: 'bad-token' | 'wrong-usage'): string {
  if (request.length(n) > LABEL_BYTES) throw new ProtocolError(code)
  let label = ''
  for (const byte of request.field(n)) {
    const isGood = (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === DASH
    if (!isGood) throw new ProtocolError(code)
    label += String.fromCharCode(byte)
  }
  return label
}
