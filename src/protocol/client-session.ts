/**
 * The client's side of one connection, docs/protocol.md sections 2, 3 and 6, as a machine without I/O: requests come
 * out as bytes; the relay's bytes go in, and events come out. It has no socket, clock, key or promise. It does not
 * trust the relay: a packet that the protocol does not allow at that moment ends the session, everything held is
 * bounded, and no error contains bytes of the relay.
 *
 * A text leaves through `verify` only after `checkChallenge` accepted it (challenge-check.ts). Code that decrypts a
 * challenge must pass the text to `checkChallenge` and to nothing else.
 *
 * A request is made under a proof: the token, or the label of a VERIFY or CLAIM of this connection. A label may be used
 * as soon as its packet has left, so that a client need not wait for the TOKEN.
 *
 * Over 350 lines: every request, and every packet that may answer it, stand together here. Forms of fields are in request.ts
 * and answer.ts.
 */
import {
  type Answer,
  ANSWERED_BY,
  type Message,
  readBase64,
  readCount,
  readId,
  readPacket,
  readRun,
  readSeconds,
  readText,
} from './answer.ts'
import { BreachError, type BreachReason } from './breach.ts'
import { VERSION } from './challenge.ts'
import { ChallengeCheck } from './challenge-check.ts'
import { type ErrorCode, ERROR_CODES, NOTICE_CODES, type NoticeCode } from './errors.ts'
import { CLIENT_CAPS, DEFAULT_LIMITS } from './limits.ts'
import { LineDecoder, MessageDecoder, type PacketSource } from './line.ts'
import { type AnswerName, asciiText, isWord, type Packet, PACKETS, type RequestName } from './packets.ts'
import { checkEarly, checkLabel, checkNamed, encodeContent, encodeSecret, LABEL, labelFields } from './request.ts'
import { Unacknowledged } from './unacknowledged.ts'
import { decodeLimits, type RelayLimits } from './welcome.ts'

/** A code of section 5, or `unknown` for a code that only a later version has. */
export type RefusalCode = ErrorCode | 'unknown'

export type SessionEvent =
  /** The oldest open request is answered. */
  | { readonly kind: 'answer'; readonly answer: Answer }
  /** The oldest open request is refused; `seconds` to wait, for the codes that have them. */
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly seconds: number | undefined }
  /** A part of the answer to the oldest open request arrived. */
  | { readonly kind: 'part' }
  /** A message of a subscription arrived. */
  | { readonly kind: 'message'; readonly message: Message; /** Of the subscription; may be empty. */ readonly label: string }
  /** A newer subscriber of another connection has the mailbox. */
  | { readonly kind: 'taken-over'; /** Of the subscription; may be empty. */ readonly label: string }
  | { readonly kind: 'notice'; readonly code: Exclude<NoticeCode, 'moved' | 'taken-over'>; readonly seconds: number | undefined }
  /** The relay is leaving the dialled name. `name` has the form of an onion address; its checksum is not checked. */
  | { readonly kind: 'moved'; readonly name: string }
  /** The relay ends the connection while no request is open. */
  | { readonly kind: 'farewell'; readonly code: RefusalCode; readonly seconds: number | undefined }
  /** The relay broke the protocol. No event follows, and the caller must end the connection. */
  | { readonly kind: 'broken'; readonly reason: BreachReason }

interface Batch {
  readonly count: number
  readonly waiting: number
  readonly messages: Message[]
  bytes: number
}

/** A request without an answer. */
interface Open {
  readonly name: RequestName
  /** The label that it proves, or under which it subscribes. */
  readonly label: string
}

const utf8 = new TextEncoder()

export class ClientSession {
  readonly #relay: string
  readonly #decoder: PacketSource
  /** Requests without an answer, oldest first. */
  readonly #open: Open[] = []
  readonly #unacknowledged = new Unacknowledged()
  /** The labels of subscriptions; empty for the unlabelled one. */
  readonly #subscribed = new Set<string>()
  /** The answer to GET under way. */
  #batch: Batch | undefined
  readonly #challenge: ChallengeCheck
  #token: string | undefined
  /** Whether the relay sent a TOKEN, so that lines may be long. */
  #isProven = false
  #limits: RelayLimits = decodeLimits([])
  #notices = 0
  #over = false

  /**
   * @param relay the dialled name, in lower case; `localhost` for loopback and unix sockets
   * @param framing `message` if each chunk is one packet (WebSocket); requests end with an LF in both cases
   */
  constructor(relay: string, framing: 'line' | 'message' = 'line') {
    this.#relay = relay
    this.#challenge = new ChallengeCheck(relay)
    this.#decoder = framing === 'line' ? new LineDecoder() : new MessageDecoder()
  }

  get limits(): RelayLimits {
    return this.#limits
  }

  get hasToken(): boolean {
    return this.#token !== undefined
  }

  /** The token, which is good on every connection to that relay until it expires. */
  get token(): string | undefined {
    return this.#token
  }

  /** Uses a token of an earlier connection to that relay; undefined forgets the token. */
  resume(token: string | undefined): void {
    this.#token = token
    this.#isProven ||= token !== undefined
  }

  /** The count of requests without an answer. */
  get openRequests(): number {
    return this.#open.length
  }

  hello(): Uint8Array {
    return this.#request('HELLO', [VERSION, this.#relay])
  }

  /**
   * Begins a login.
   *
   * @param key `type base64`
   * @throws {TypeError} while another login is under way: a session answers one CHALLENGE at a time
   */
  auth(key: string, sign: boolean): Uint8Array {
    this.#challenge.onAsked()
    return this.#request('AUTH', sign ? [key, 'sign'] : [key])
  }

  /**
   * Checks a decrypted text, or a text to sign, and returns its line if it may be answered. Any other text ends the
   * session.
   *
   * @throws {BreachError} `foreign-challenge`
   */
  checkChallenge(text: Uint8Array): string {
    return this.#challenge.check(text) ?? this.refuseChallenge()
  }

  /** Ends the session, because the challenge does not decrypt or may not be answered. @throws {BreachError} */
  refuseChallenge(): never {
    this.#end()
    throw new BreachError('foreign-challenge')
  }

  /** Answers the checked challenge: with its line, or with the base64 of a signature of it. The label is for the proof. */
  verify(answer: string, label = ''): Uint8Array {
    const fields = labelFields(label)
    return this.#request('VERIFY', [this.#challenge.onAnswered(), answer, ...fields], label)
  }

  /**
   * Shows a secret, whose mailbox the label then stands for.
   *
   * @param secret 32 random bytes, used with this name of this relay only
   */
  claim(secret: Uint8Array, label = ''): Uint8Array {
    return this.#request('CLAIM', [encodeSecret(secret), ...labelFields(label)], label)
  }

  /**
   * Sends a message.
   *
   * @param label names the proof; without it, the token does
   * @throws {TypeError} if the payload is empty or over the relay's limit, or if it must wait for a TOKEN
   */
  send(receiver: string, payload: Uint8Array, label?: string): Uint8Array {
    return this.#request('SEND', [this.#proof(label), receiver, encodeContent(payload, this.#limits.payload)])
  }

  get(lease: boolean, label?: string): Uint8Array {
    const proof = this.#proof(label)
    return this.#request('GET', lease ? [proof, 'lease'] : [proof])
  }

  ack(ids: readonly string[], label?: string): Uint8Array {
    for (const id of ids) this.#unacknowledged.remove(id)
    return this.#request('ACK', [this.#proof(label), ...ids])
  }

  /** Subscribes under the label, or without one. */
  subscribe(label?: string): Uint8Array {
    return this.#request('SUBSCRIBE', [this.#proof(label)], label)
  }

  /** Publishes a bundle, or takes it down if it is undefined. @throws {TypeError} if it is empty or over the limit */
  publish(bundle: Uint8Array | undefined, label?: string): Uint8Array {
    const proof = checkNamed(this.#proof(label))
    return this.#request('PUBLISH', bundle === undefined ? [proof] : [proof, encodeContent(bundle, DEFAULT_LIMITS.bundle)])
  }

  /** Asks for the bundle of a receiver. */
  fetch(receiver: string, label?: string): Uint8Array {
    return this.#request('FETCH', [this.#proof(label), receiver])
  }

  ping(): Uint8Array {
    return this.#request('PING', [])
  }

  wipe(label?: string): Uint8Array {
    return this.#request('WIPE', [checkNamed(this.#proof(label))])
  }

  /** Takes a chunk, overwrites it after reading, and gives its events one at a time. */
  *onChunk(chunk: Uint8Array): Generator<SessionEvent> {
    if (this.#over) return void chunk.fill(0)
    this.#decoder.push(chunk)
    try {
      while (!this.#over) {
        const { payload } = this.#limits
        const line = this.#decoder.next(this.#isProven ? payload + DEFAULT_LIMITS.lineOverhead : DEFAULT_LIMITS.lineBeforeToken)
        if (line === undefined) return
        if (line === 'too-large') throw new BreachError('line-too-long')
        const event = this.#onPacket(readPacket(line))
        if (event !== undefined) yield event
      }
    } catch (error) {
      if (!(error instanceof BreachError)) throw error
      this.#end()
      yield { kind: 'broken', reason: error.reason }
    }
  }

  /** The connection is gone. */
  onEnd(): void {
    this.#end()
  }

  #onPacket(packet: Packet<AnswerName>): SessionEvent | undefined {
    if (this.#batch !== undefined) return this.#onBatched(this.#batch, packet)
    switch (packet.name) {
      case 'NOTICE':
        return this.#onNotice(packet.fields)
      case 'ERROR':
        return this.#onError(packet.fields)
      case 'MESSAGE':
        return this.#onSubscribed('', packet.fields)
      case 'DELIVERY':
        return this.#onSubscribed(readText(packet.fields[0]!, LABEL), packet.fields.slice(1))
      case 'CHALLENGE':
      case 'TOKEN':
      case 'SENT':
      case 'MESSAGES':
      case 'ACKED':
      case 'SUBSCRIBED':
      case 'PONG':
      case 'WELCOME':
      case 'WIPED':
      case 'PUBLISHED':
      case 'BUNDLE': {
        const open = this.#open[0]
        if (open === undefined) throw new BreachError('unasked-packet')
        if (ANSWERED_BY[open.name] !== packet.name) throw new BreachError('wrong-answer')
        const answer = this.#onAnswer(open, packet.fields)
        if (answer === undefined) return { kind: 'part' }
        this.#open.shift()
        return { kind: 'answer', answer }
      }
    }
  }

  /** Reads the answer to a request. Returns undefined if more parts must follow. */
  #onAnswer({ name, label }: Open, fields: readonly Uint8Array[]): Answer | undefined {
    const [first, second] = fields as [Uint8Array, Uint8Array]
    switch (name) {
      case 'HELLO':
        if (!isWord(first, VERSION)) throw new BreachError('wrong-version')
        this.#limits = decodeLimits(fields.slice(1))
        return { name, value: { limits: this.#limits } }
      case 'AUTH': {
        const body = readBase64(second)
        this.#challenge.onReceived(readText(first, /^(?:0|[1-9][0-9]{0,19})$/))
        return { name, value: { body } }
      }
      case 'VERIFY':
      case 'CLAIM': {
        const seconds = readCount(second)
        if (first.length > CLIENT_CAPS.token) throw new BreachError('too-much')
        const token = readText(first, /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/)
        // The packet ended what the label had before.
        if (label === '') this.#token = token
        else this.#endSubscription(label)
        this.#isProven = true
        return { name, value: { seconds, run: readRun(token) } }
      }
      case 'SEND':
        return { name, value: { id: readId(first), seconds: readCount(second) } }
      case 'GET': {
        const batch = { count: readCount(first), waiting: readCount(second), messages: [], bytes: 0 }
        if (batch.count > this.#limits.batch) throw new BreachError('too-much')
        if (batch.count === 0) return { name, value: { messages: [], waiting: batch.waiting } }
        this.#batch = batch
        return undefined
      }
      case 'SUBSCRIBE':
        // The messages of an earlier subscription may have gone to another subscriber.
        this.#unacknowledged.clear(label)
        this.#subscribed.add(label)
        return { name, value: { waiting: readCount(first) } }
      case 'ACK':
      case 'WIPE':
        return { name, value: { erased: readCount(first) } }
      case 'PING':
        return { name, value: {} }
      case 'PUBLISH':
        return { name, value: { seconds: readCount(first) } }
      case 'FETCH':
        if (fields.length === 0) return { name, value: { bundle: undefined } }
        if (first.length > DEFAULT_LIMITS.bundle) throw new BreachError('too-much')
        return { name, value: { bundle: readBase64(first) } }
    }
  }

  #onBatched(batch: Batch, packet: Packet<AnswerName>): SessionEvent {
    if (packet.name !== 'MESSAGE') throw new BreachError('wrong-batch')
    const message = this.#readMessage(packet.fields)
    batch.bytes += message.payload.length
    if (batch.bytes > CLIENT_CAPS.bytes) throw new BreachError('too-much')
    batch.messages.push(message)
    if (batch.messages.length < batch.count) return { kind: 'part' }
    this.#batch = undefined
    this.#open.shift()
    return { kind: 'answer', answer: { name: 'GET', value: { messages: batch.messages, waiting: batch.waiting } } }
  }

  #onSubscribed(label: string, fields: readonly Uint8Array[]): SessionEvent {
    if (!this.#subscribed.has(label)) throw new BreachError('unasked-packet')
    const message = this.#readMessage(fields)
    this.#unacknowledged.add(message.id, message.payload.length, label)
    return { kind: 'message', message, label }
  }

  #readMessage(fields: readonly Uint8Array[]): Message {
    const [id, payload] = fields as [Uint8Array, Uint8Array]
    if (payload.length > this.#limits.payload) throw new BreachError('too-much')
    return { id: readId(id), payload: readBase64(payload) }
  }

  #onNotice(fields: readonly Uint8Array[]): SessionEvent | undefined {
    if (++this.#notices > CLIENT_CAPS.notices) throw new BreachError('too-many-notices')
    const code = NOTICE_CODES.find((known) => isWord(fields[0]!, known))
    // A code of a later version has no meaning here.
    if (code === undefined) return undefined
    if (code === 'moved') {
      const name = fields[1] === undefined ? undefined : asciiText(fields[1].subarray(0, 63))
      return name !== undefined && /^[a-z2-7]{56}\.onion$/.test(name) ? { kind: 'moved', name } : undefined
    }
    if (code === 'taken-over') return { kind: 'taken-over', label: fields[1] === undefined ? '' : readText(fields[1], LABEL) }
    return { kind: 'notice', code, seconds: readSeconds(fields[1]) }
  }

  /** Reads an ERROR, but not its text: that is for people, and comes from a stranger. */
  #onError(fields: readonly Uint8Array[]): SessionEvent {
    const code = ERROR_CODES.find((known) => isWord(fields[0]!, known)) ?? 'unknown'
    const seconds = readSeconds(fields[2])
    const open = this.#open.shift()
    if (open === undefined) return { kind: 'farewell', code, seconds }
    if (open.name === 'AUTH') this.#challenge.clear()
    // Whatever the reason, the label stands for nothing now.
    if ((open.name === 'VERIFY' || open.name === 'CLAIM') && open.label !== '') this.#endSubscription(open.label)
    return { kind: 'refused', code, seconds }
  }

  #endSubscription(label: string): void {
    this.#unacknowledged.clear(label)
    this.#subscribed.delete(label)
  }

  #request(name: RequestName, fields: readonly string[], label = ''): Uint8Array {
    if (this.#over) throw new TypeError('the session is over')
    if (!this.#isProven) checkEarly(fields)
    this.#open.push({ name, label })
    return utf8.encode(`${[PACKETS[name].no, ...fields].join(';')}\n`)
  }

  /** Returns the token field of a request. */
  #proof(label: string | undefined): string {
    if (label !== undefined) return checkLabel(label)
    if (this.#token === undefined) throw new TypeError('not logged in')
    return this.#token
  }

  #end(): void {
    this.#over = true
    this.#decoder.clear()
    this.#batch = undefined
    this.#unacknowledged.clear()
    this.#challenge.clear()
    this.#token = undefined
  }
}
