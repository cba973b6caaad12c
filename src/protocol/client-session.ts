/**
 * The client's side of one connection, docs/protocol.md sections 2, 3 and 6, as a machine without I/O: requests come
 * out as bytes; the relay's bytes go in, and events come out. It has no socket, clock, key or promise. It does not
 * trust the relay: a packet that the protocol does not allow at that moment ends the session, everything held is
 * bounded, and no error contains bytes of the relay.
 *
 * It owns the rule that makes a login safe (section 3): a text leaves through `verify` only after `checkChallenge`
 * found it to be a challenge of the dialled relay, with the handle of the CHALLENGE that answered AUTH. Code that
 * decrypts a challenge must pass the text to `checkChallenge` and to nothing else.
 */
import { type Answer, ANSWERED_BY, type Message, readBase64, readCount, readId, readPacket, readSeconds, readText } from './answer.ts'
import { encodeBase64 } from './base64.ts'
import { BreachError, type BreachReason } from './breach.ts'
import { parseChallenge, VERSION } from './challenge.ts'
import { type ErrorCode, ERROR_CODES, NOTICE_CODES, type NoticeCode } from './errors.ts'
import { CLIENT_CAPS, DEFAULT_LIMITS } from './limits.ts'
import { LineDecoder, MessageDecoder, type PacketSource } from './line.ts'
import { type AnswerName, asciiText, isWord, type Packet, PACKETS, type RequestName } from './packets.ts'
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
  /** A message of the subscription arrived. */
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'notice'; readonly code: Exclude<NoticeCode, 'moved'>; readonly seconds: number | undefined }
  /** The relay is leaving the dialled name. `name` has the form of an onion address; its checksum is not checked. */
  | { readonly kind: 'moved'; readonly name: string }
  /** The relay ends the connection while no request is open. */
  | { readonly kind: 'farewell'; readonly code: RefusalCode; readonly seconds: number | undefined }
  /** The relay broke the protocol. No event follows, and the caller must end the connection. */
  | { readonly kind: 'broken'; readonly reason: BreachReason }

/** The login under way: AUTH, then CHALLENGE, then the check, which allows one VERIFY. */
type ChallengeState =
  | { readonly kind: 'none' }
  | { readonly kind: 'asked' }
  | { readonly kind: 'received'; readonly handle: string }
  | { readonly kind: 'checked'; readonly handle: string }

interface Batch {
  readonly count: number
  readonly waiting: number
  readonly messages: Message[]
  bytes: number
}

const utf8 = new TextEncoder()

export class ClientSession {
  readonly #relay: string
  readonly #decoder: PacketSource
  /** Requests without an answer, oldest first. */
  readonly #open: RequestName[] = []
  readonly #unacknowledged = new Unacknowledged()
  #subscribed = false
  /** The answer to GET under way. */
  #batch: Batch | undefined
  #challenge: ChallengeState = { kind: 'none' }
  #token: string | undefined
  #limits: RelayLimits = decodeLimits([])
  #notices = 0
  #over = false

  /**
   * @param relay the dialled name, in lower case; `localhost` for loopback and unix sockets
   * @param framing `message` if each chunk is one packet (WebSocket); requests end with an LF in both cases
   */
  constructor(relay: string, framing: 'line' | 'message' = 'line') {
    this.#relay = relay
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
    if (this.#challenge.kind !== 'none') throw new TypeError('a login is under way')
    this.#challenge = { kind: 'asked' }
    return this.#request('AUTH', sign ? [key, 'sign'] : [key])
  }

  /**
   * Checks a decrypted text, or a text to sign, and returns its line if it may be answered. Any other text ends the
   * session.
   *
   * @throws {BreachError} `foreign-challenge`
   */
  checkChallenge(text: Uint8Array): string {
    const state = this.#challenge
    if (state.kind !== 'received') throw new TypeError('there is no challenge to check')
    // Only printable ASCII becomes a line, so no other bytes give the same line.
    const line = asciiText(text)
    const challenge = line === undefined ? undefined : parseChallenge(line)
    if (line === undefined || challenge === undefined || challenge.relay !== this.#relay || challenge.handle !== state.handle) {
      this.refuseChallenge()
    }
    this.#challenge = { kind: 'checked', handle: state.handle }
    return line
  }

  /** Ends the session, because the challenge does not decrypt or may not be answered. @throws {BreachError} */
  refuseChallenge(): never {
    this.#end()
    throw new BreachError('foreign-challenge')
  }

  /** Answers the checked challenge: with its line, or with the base64 of a signature of it. */
  verify(answer: string): Uint8Array {
    const state = this.#challenge
    if (state.kind !== 'checked') throw new TypeError('there is no checked challenge')
    this.#challenge = { kind: 'none' }
    return this.#request('VERIFY', [state.handle, answer])
  }

  /**
   * Sends a message.
   *
   * @throws {TypeError} if the payload is empty or over the relay's limit, which closes the connection
   */
  send(receiver: string, payload: Uint8Array): Uint8Array {
    const base64 = encodeBase64(payload)
    if (payload.length === 0 || base64.length > this.#limits.payload) throw new TypeError('the payload is empty or too large')
    return this.#request('SEND', [this.#mustHaveToken(), receiver, base64])
  }

  get(lease: boolean): Uint8Array {
    const token = this.#mustHaveToken()
    return this.#request('GET', lease ? [token, 'lease'] : [token])
  }

  ack(ids: readonly string[]): Uint8Array {
    for (const id of ids) this.#unacknowledged.remove(id)
    return this.#request('ACK', [this.#mustHaveToken(), ...ids])
  }

  subscribe(): Uint8Array {
    return this.#request('SUBSCRIBE', [this.#mustHaveToken()])
  }

  ping(): Uint8Array {
    return this.#request('PING', [])
  }

  wipe(): Uint8Array {
    return this.#request('WIPE', [this.#mustHaveToken()])
  }

  /** Takes a chunk, overwrites it after reading, and gives its events one at a time. */
  *onChunk(chunk: Uint8Array): Generator<SessionEvent> {
    if (this.#over) return void chunk.fill(0)
    this.#decoder.push(chunk)
    try {
      while (!this.#over) {
        const { payload } = this.#limits
        const line = this.#decoder.next(this.hasToken ? payload + DEFAULT_LIMITS.lineOverhead : DEFAULT_LIMITS.lineBeforeToken)
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
        return this.#onSubscribed(packet.fields)
      case 'CHALLENGE':
      case 'TOKEN':
      case 'SENT':
      case 'MESSAGES':
      case 'ACKED':
      case 'SUBSCRIBED':
      case 'PONG':
      case 'WELCOME':
      case 'WIPED': {
        const name = this.#open[0]
        if (name === undefined) throw new BreachError('unasked-packet')
        if (ANSWERED_BY[name] !== packet.name) throw new BreachError('wrong-answer')
        const answer = this.#onAnswer(name, packet.fields)
        if (answer === undefined) return { kind: 'part' }
        this.#open.shift()
        return { kind: 'answer', answer }
      }
    }
  }

  /** Reads the answer to a request. Returns undefined if more parts must follow. */
  #onAnswer(name: RequestName, fields: readonly Uint8Array[]): Answer | undefined {
    const [first, second] = fields as [Uint8Array, Uint8Array]
    switch (name) {
      case 'HELLO':
        if (!isWord(first, VERSION)) throw new BreachError('wrong-version')
        this.#limits = decodeLimits(fields.slice(1))
        return { name, value: { limits: this.#limits } }
      case 'AUTH': {
        const body = readBase64(second)
        this.#challenge = { kind: 'received', handle: readText(first, /^(?:0|[1-9][0-9]{0,19})$/) }
        return { name, value: { body } }
      }
      case 'VERIFY': {
        const seconds = readCount(second)
        if (first.length > CLIENT_CAPS.token) throw new BreachError('too-much')
        this.#token = readText(first, /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/)
        return { name, value: { seconds } }
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
        this.#unacknowledged.clear()
        this.#subscribed = true
        return { name, value: { waiting: readCount(first) } }
      case 'ACK':
      case 'WIPE':
        return { name, value: { erased: readCount(first) } }
      case 'PING':
        return { name, value: {} }
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

  #onSubscribed(fields: readonly Uint8Array[]): SessionEvent {
    if (!this.#subscribed) throw new BreachError('unasked-packet')
    const message = this.#readMessage(fields)
    this.#unacknowledged.add(message.id, message.payload.length)
    return { kind: 'message', message }
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
    return { kind: 'notice', code, seconds: readSeconds(fields[1]) }
  }

  /** Reads an ERROR, but not its text: that is for people, and comes from a stranger. */
  #onError(fields: readonly Uint8Array[]): SessionEvent {
    const code = ERROR_CODES.find((known) => isWord(fields[0]!, known)) ?? 'unknown'
    const seconds = readSeconds(fields[2])
    const name = this.#open.shift()
    if (name === undefined) return { kind: 'farewell', code, seconds }
    if (name === 'AUTH') this.#challenge = { kind: 'none' }
    return { kind: 'refused', code, seconds }
  }

  #request(name: RequestName, fields: readonly string[]): Uint8Array {
    if (this.#over) throw new TypeError('the session is over')
    this.#open.push(name)
    return utf8.encode(`${[PACKETS[name].no, ...fields].join(';')}\n`)
  }

  #mustHaveToken(): string {
    if (this.#token === undefined) throw new TypeError('not logged in')
    return this.#token
  }

  #end(): void {
    this.#over = true
    this.#decoder.clear()
    this.#batch = undefined
    this.#unacknowledged.clear()
    this.#challenge = { kind: 'none' }
    this.#token = undefined
  }
}
