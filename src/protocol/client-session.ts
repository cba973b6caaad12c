/**
 * The client's side of one connection, docs/protocol.md sections 2, 3 and 6, as a machine without I/O:
 * requests come out as bytes, what a relay sends goes in as bytes and comes out as events. It has no
 * socket, clock, key or promise. A relay is not trusted: whatever the protocol does not let it send
 * now ends the session, everything held is bounded, and nothing it sent gets into an error.
 *
 * It owns the rule that makes a login safe (section 3): a text leaves through `verify` only if
 * `checkChallenge` found it to be a challenge of the relay dialled, with the handle of the one CHALLENGE
 * that answers the one AUTH. Who decrypts hands the text here and nowhere else.
 */
import { decodeBase64, encodeBase64 } from './base64.ts'
import { parseChallenge, VERSION } from './challenge.ts'
import { type ErrorCode, ERROR_CODES, NOTICE_CODES, type NoticeCode } from './errors.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { LineDecoder, MessageDecoder, type PacketSource } from './line.ts'
import { type AnswerName, asciiText, decodeAnswer, isWord, type Packet, PACKETS, type RequestName } from './packets.ts'

/**
 * What a client holds at most of one relay, whatever WELCOME says: an operator may raise the limits of
 * section 6, a hostile relay must not.
 */
export const CLIENT_CAPS = Object.freeze({
  /** Characters of a payload. */
  payload: 1_048_576,
  /** Messages of a batch, and of a subscription that are not acknowledged. */
  messages: 4_096,
  /** Decoded bytes of a batch, and of the messages of a subscription that are not acknowledged. */
  bytes: 33_554_432,
  /** Characters of a token; ours are about 250. */
  token: 2_048,
  /** Unasked notices of one connection. */
  notices: 64,
})

/** Sizes in bytes, times in seconds; the defaults of section 6 where WELCOME does not say. */
export interface RelayLimits {
  readonly payload: number
  readonly line: number
  readonly window: number
  readonly batch: number
  readonly hold: number
  readonly idle: number
  readonly token: number
}

export interface Message {
  readonly id: string
  /** Decoded. */
  readonly payload: Uint8Array
}

/** What answers a request, by the request's name. */
export interface Answers {
  HELLO: { readonly limits: RelayLimits }
  AUTH: { /** Decoded: an age file, or under `sign` the text itself. */ readonly body: Uint8Array }
  VERIFY: { /** How long the token is good. */ readonly seconds: number }
  SEND: { readonly id: string; /** How long it is held at most. */ readonly seconds: number }
  GET: { readonly messages: readonly Message[]; readonly waiting: number }
  ACK: { readonly erased: number }
  SUBSCRIBE: { readonly waiting: number }
  PING: Record<never, never>
  WIPE: { readonly erased: number }
}
export type Answer = { [Name in RequestName]: { readonly name: Name; readonly value: Answers[Name] } }[RequestName]

/** A code of section 5; `unknown` for one of a later version. */
export type RefusalCode = ErrorCode | 'unknown'

export type SessionEvent =
  /** The oldest open request is answered. */
  | { readonly kind: 'answer'; readonly answer: Answer }
  /** The oldest open request is refused. `seconds` where the code has them. */
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly seconds: number | undefined }
  /** A part of the oldest open request's answer came. */
  | { readonly kind: 'part' }
  /** Of the subscription. */
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'notice'; readonly code: Exclude<NoticeCode, 'moved'>; readonly seconds: number | undefined }
  /** The relay is leaving the name dialled. `name` has the form of an onion address; whether it is one is not known. */
  | { readonly kind: 'moved'; readonly name: string }
  /** The relay ends the connection, and no request was open. */
  | { readonly kind: 'farewell'; readonly code: RefusalCode; readonly seconds: number | undefined }
  /** The relay broke the protocol. Nothing follows; the connection is to be ended. */
  | { readonly kind: 'broken'; readonly reason: BreachReason }

export type BreachReason =
  | 'line-too-long'
  | 'malformed-packet'
  | 'unknown-packet'
  | 'unasked-packet'
  | 'wrong-answer'
  | 'wrong-version'
  | 'wrong-batch'
  | 'too-much'
  | 'too-many-notices'
  | 'foreign-challenge'

/** A relay that did what the protocol forbids. Holds nothing that it sent. */
export class BreachError extends Error {
  readonly reason: BreachReason

  constructor(reason: BreachReason) {
    super(reason)
    this.name = 'BreachError'
    this.reason = reason
  }
}

const ANSWERED_BY = {
  HELLO: 'WELCOME',
  AUTH: 'CHALLENGE',
  VERIFY: 'TOKEN',
  SEND: 'SENT',
  GET: 'MESSAGES',
  ACK: 'ACKED',
  SUBSCRIBE: 'SUBSCRIBED',
  PING: 'PONG',
  WIPE: 'WIPED',
} as const satisfies Record<RequestName, AnswerName>

/** CHALLENGE until it is checked; then, once, VERIFY. */
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
  readonly #open: RequestName[] = []
  /** Sizes of the subscription's messages that are not acknowledged, by id: a relay can deliver one again and again. */
  readonly #unacknowledged = new Map<string, number[]>()
  readonly #held = { count: 0, bytes: 0 }
  #subscribed = false
  #batch: Batch | undefined
  #challenge: ChallengeState = { kind: 'none' }
  #token: string | undefined
  #limits: RelayLimits = readLimits([])
  #notices = 0
  #over = false

  /**
   * @param relay the name dialled: lower case, `localhost` for loopback and unix sockets
   * @param framing `message` where each chunk is one packet (WebSocket); requests end by LF all the same
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

  /** Good on every connection to that relay until it ends. */
  get token(): string | undefined {
    return this.#token
  }

  /** Goes on with a token of an earlier connection to that relay; undefined forgets the one it has. */
  resume(token: string | undefined): void {
    this.#token = token
  }

  /** Requests that are not answered yet. */
  get openRequests(): number {
    return this.#open.length
  }

  hello(): Uint8Array {
    return this.#request('HELLO', [VERSION, this.#relay])
  }

  /**
   * @param key `type base64`
   * @throws {TypeError} while another login is under way: one CHALLENGE is answered at a time.
   */
  auth(key: string, sign: boolean): Uint8Array {
    if (this.#challenge.kind !== 'none') throw new TypeError('a login is under way')
    this.#challenge = { kind: 'asked' }
    return this.#request('AUTH', sign ? [key, 'sign'] : [key])
  }

  /**
   * The line of a text that was decrypted, or is to be signed, if it is one that may be answered.
   * Anything else ends the session, and the text stays where it is.
   * @throws {BreachError} `foreign-challenge`
   */
  checkChallenge(text: Uint8Array): string {
    const state = this.#challenge
    if (state.kind !== 'received') throw new TypeError('there is no challenge to check')
    // Printable ASCII alone: what parses is those bytes and no others.
    const line = asciiText(text)
    const challenge = line === undefined ? undefined : parseChallenge(line)
    if (line === undefined || challenge === undefined || challenge.relay !== this.#relay || challenge.handle !== state.handle) {
      this.refuseChallenge()
    }
    this.#challenge = { kind: 'checked', handle: state.handle }
    return line
  }

  /** Ends the session: the challenge is no age file to this key, or not one to answer. @throws {BreachError} */
  refuseChallenge(): never {
    this.#end()
    throw new BreachError('foreign-challenge')
  }

  /** Answers the challenge that was checked: with its line, or with the base64 of a signature over it. */
  verify(answer: string): Uint8Array {
    const state = this.#challenge
    if (state.kind !== 'checked') throw new TypeError('there is no checked challenge')
    this.#challenge = { kind: 'none' }
    return this.#request('VERIFY', [state.handle, answer])
  }

  /** @throws {TypeError} for a payload over the relay's limit: it would close the connection. */
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
    for (const id of ids) {
      const copies = this.#unacknowledged.get(id)
      const bytes = copies?.shift()
      if (bytes === undefined) continue
      // One copy: the others are somewhere still.
      this.#held.count--
      this.#held.bytes -= bytes
      if (copies?.length === 0) this.#unacknowledged.delete(id)
    }
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

  /** Takes a chunk over (it is overwritten) and gives what came of it, one event at a time. */
  *onChunk(chunk: Uint8Array): Generator<SessionEvent> {
    if (this.#over) return
    this.#decoder.push(chunk)
    try {
      while (!this.#over) {
        const { payload } = this.#limits
        const line = this.#decoder.next(this.hasToken ? payload + DEFAULT_LIMITS.lineOverhead : DEFAULT_LIMITS.lineBeforeToken)
        if (line === undefined) return
        if (line === 'too-large') throw new BreachError('line-too-long')
        const event = this.#onPacket(decodeLine(line))
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

  /** The answer to a request; undefined if only its first part. */
  #onAnswer(name: RequestName, fields: readonly Uint8Array[]): Answer | undefined {
    const [first, second] = fields as [Uint8Array, Uint8Array]
    switch (name) {
      case 'HELLO':
        if (!isWord(first, VERSION)) throw new BreachError('wrong-version')
        this.#limits = readLimits(fields.slice(1))
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
        // Those of an earlier subscription may have gone to another subscriber.
        this.#unacknowledged.clear()
        this.#held.count = this.#held.bytes = 0
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
    const { length } = message.payload
    const copies = this.#unacknowledged.get(message.id)
    if (copies === undefined) this.#unacknowledged.set(message.id, [length])
    else copies.push(length)
    // Not held to its window: what expired or was wiped makes room there that we cannot know of.
    if (++this.#held.count > CLIENT_CAPS.messages || (this.#held.bytes += length) > CLIENT_CAPS.bytes) throw new BreachError('too-much')
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
    // A later version's: it can have no meaning for us.
    if (code === undefined) return undefined
    if (code === 'moved') {
      const name = fields[1] === undefined ? undefined : asciiText(fields[1].subarray(0, 63))
      return name !== undefined && /^[a-z2-7]{56}\.onion$/.test(name) ? { kind: 'moved', name } : undefined
    }
    return { kind: 'notice', code, seconds: readSeconds(fields[1]) }
  }

  /** The text of an ERROR is for people and comes from a stranger: it is not even read. */
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

function decodeLine(line: Uint8Array): Packet<AnswerName> {
  try {
    return decodeAnswer(line)
  } catch (error) {
    throw new BreachError((error as { code?: string }).code === 'unknown-packet' ? 'unknown-packet' : 'malformed-packet')
  }
}

/** WELCOME's `key=value` fields; unknown ones and what is no number are passed over, the rest kept under our caps. */
function readLimits(fields: readonly Uint8Array[]): RelayLimits {
  const told = new Map<string, number>()
  for (const field of fields) {
    const match = /^([a-z-]{1,32})=([1-9][0-9]{0,14})$/.exec(asciiText(field.subarray(0, 64)) ?? '')
    if (match !== null) told.set(match[1]!, Number(match[2]))
  }
  const payload = Math.min(told.get('payload') ?? DEFAULT_LIMITS.payload, CLIENT_CAPS.payload)
  return Object.freeze({
    payload,
    line: told.get('line') ?? payload + DEFAULT_LIMITS.lineOverhead,
    window: told.get('window') ?? DEFAULT_LIMITS.window,
    batch: Math.min(told.get('batch') ?? DEFAULT_LIMITS.batchMessages, CLIENT_CAPS.messages),
    hold: told.get('hold') ?? DEFAULT_LIMITS.holdSeconds,
    idle: told.get('idle') ?? DEFAULT_LIMITS.idleSeconds,
    token: told.get('token') ?? DEFAULT_LIMITS.tokenSeconds,
  })
}

function readText(field: Uint8Array, form: RegExp): string {
  const text = asciiText(field)
  if (text === undefined || !form.test(text)) throw new BreachError('malformed-packet')
  return text
}

function readId(field: Uint8Array): string {
  return readText(field, /^[A-Za-z0-9_-]{1,64}$/)
}

/** A decimal number without leading zeros, of at most 15 digits so that a JavaScript number holds it. */
function readCount(field: Uint8Array): number {
  return Number(readText(field, /^(?:0|[1-9][0-9]{0,14})$/))
}

function readSeconds(field: Uint8Array | undefined): number | undefined {
  const text = field === undefined ? undefined : asciiText(field.subarray(0, 16))
  return text !== undefined && /^(?:0|[1-9][0-9]{0,14})$/.test(text) ? Number(text) : undefined
}

function readBase64(field: Uint8Array): Uint8Array {
  // Stray bits are their sender's doing, not the relay's, which does not look at them.
  const bytes = decodeBase64(field, 'ignored')
  if (bytes === undefined) throw new BreachError('malformed-packet')
  return bytes
}
