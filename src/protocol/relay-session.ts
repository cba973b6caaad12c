/**
 * The relay's side of one connection, docs/protocol.md sections 2 to 6, as a machine without I/O:
 * bytes, answers of its ports and the time go in, effects come out. It has no socket, timer, clock,
 * randomness or promise; `now` is in ms and never goes back.
 */
import { VERSION } from './challenge.ts'
import { ERRORS, type ErrorCode, type NoticeCode, ProtocolError } from './errors.ts'
import type { Limits } from './limits.ts'
import { copyBytes, LineDecoder } from './line.ts'
import { type Framing, Output } from './output.ts'
import { asciiText, createRequest, isWord, PACKETS } from './packets.ts'
import type { Challenged, Effect, Ports, Proof, Subscriber } from './ports.ts'

/**
 * Output that may gather before the session stops reading and delivering: what a slow reader can
 * make the relay hold is this, once gathered and once in flight, and one message each.
 */
const OUTPUT_BYTES = 48 * 1_024
/** Tokens of a connection that are remembered as proven. */
const PROVEN_TOKENS = 4
/** Receivers of a connection whose mailbox is remembered. */
const KNOWN_RECEIVERS = 4
const NO_EFFECTS: readonly never[] = Object.freeze([])
const MESSAGE_ID_DIGITS = 16
/** A subscription takes so many messages at a time. */
const delivery = new Float64Array(16)
const DELIVERY = { lease: 'subscribe', bytes: OUTPUT_BYTES } as const

/** One for all sessions: a packet is read and answered in one go. */
const request = createRequest()

interface Pending<P> {
  readonly proof: P
  readonly audience: string
  readonly expires: number
}

interface ProvenToken {
  readonly bytes: DataView
  readonly mailbox: string
  readonly expires: number
}

interface Batch {
  readonly references: Float64Array
  readonly plain: boolean
  at: number
}

export class Session<P extends Proof = Proof> {
  readonly #ports: Ports
  readonly #limits: Limits
  readonly #source = new LineDecoder()
  readonly #subscriber: Subscriber
  readonly #output: Output
  readonly #startedAt: number
  /** SENT's second field. */
  readonly #held: string
  // What hardly any connection has at a given time is no empty array of each: there are thousands that wait.
  #effects: Effect<P>[] | undefined
  /** Open, until something was said that ends the connection; over, once it ended. */
  #state: 'open' | 'closing' | 'over' = 'open'
  #heardAt: number
  #heardPacket = false
  #proven = false
  /** The peer sends no more. */
  #finished = false
  /** A challenge or a verification is under way: its answer comes before anything else is read. */
  #proving = false
  #writingSince: number | undefined
  /** Messages of a plain GET, gathered and in flight. */
  #staged: number[] | undefined
  #inFlight: number[] | undefined
  #batch: Batch | undefined
  #subscription: string | undefined
  #hasWaiting = false
  #name: string | undefined
  /** The name that the challenge under way is for. */
  #audience = ''
  #verifying: Pending<P> | undefined
  #challenging = ''
  #pending: Map<string, Pending<P>> | undefined
  #tokens: ProvenToken[] = []
  #receivers: { readonly bytes: DataView; readonly mailbox: string }[] | undefined
  #joined: Set<string> | undefined
  #strikes: Partial<Record<ErrorCode, number>> | undefined
  #takenOver = false
  /** The key or the answer that is being looked at. */
  #asked: Uint8Array | undefined

  /**
   * @param framing of what is written; what comes is lines
   * @param subscriber its `owner` is the connection's number, its calls lead to `onWaiting` and `onTakenOver`
   */
  constructor(ports: Ports, framing: Framing, subscriber: Subscriber, now: number) {
    this.#ports = ports
    this.#limits = ports.limits
    this.#output = new Output(ports.stock, framing)
    this.#held = `${ports.limits.holdSeconds}`
    this.#subscriber = subscriber
    this.#startedAt = now
    this.#heardAt = now
  }

  /** Whether the connection proved a key. */
  get proven(): boolean {
    return this.#proven
  }

  /** Whether more chunks are wanted now. */
  get reading(): boolean {
    return this.#state === 'open' && this.#mayRead && this.#batch === undefined && this.#output.length < OUTPUT_BYTES
  }

  /**
   * A packet is read when all before it is settled: proofs, and the erasing of what a plain GET writes out.
   * So what packets mean does not depend on how many of them came in a chunk.
   */
  get #mayRead(): boolean {
    return !this.#proving && this.#staged === undefined && this.#inFlight === undefined
  }

  /** Bytes that a packet may have now. */
  get packetLimit(): number {
    const { lineBeforeToken, payload, lineOverhead } = this.#limits
    return this.#proven ? payload + lineOverhead : lineBeforeToken
  }

  /** When the peer's patience with us, or ours with it, is over. */
  get #deadline(): number {
    const { firstPacketSeconds, loginSeconds, idleSeconds, writeSeconds } = this.#limits
    let deadline = this.#heardAt + idleSeconds * 1_000
    if (!this.#proven) deadline = Math.min(deadline, this.#startedAt + loginSeconds * 1_000)
    if (!this.#heardPacket) deadline = Math.min(deadline, this.#startedAt + firstPacketSeconds * 1_000)
    if (this.#writingSince !== undefined) deadline = Math.min(deadline, this.#writingSince + writeSeconds * 1_000)
    return deadline
  }

  /** When `onTime` must be called next, ms. */
  get due(): number {
    const oldest = this.#pending?.values().next().value
    return oldest === undefined ? this.#deadline : Math.min(this.#deadline, oldest.expires)
  }

  /** A chunk arrived; it is overwritten when the call returns. */
  onChunk(chunk: Uint8Array, now: number): readonly Effect<P>[] {
    if (this.#state !== 'open') {
      chunk.fill(0)
      return NO_EFFECTS
    }
    this.#heardAt = now
    this.#source.push(chunk)
    const effects = this.#run(now)
    this.#source.giveBack()
    return effects
  }

  /** The peer sends no more; it gets the answers to what it sent. */
  onFinish(now: number): readonly Effect<P>[] {
    this.#finished = true
    return this.#run(now)
  }

  /** Whether something was gathered that `flush` gives. */
  get unsaid(): boolean {
    return this.#writingSince === undefined && this.#output.length > 0
  }

  /**
   * What was gathered, to be written now, and then `onWritten` or `onWriting` to be called; undefined where there is
   * nothing, or the write before is under way. Called once after a turn: all its answers leave in one write.
   */
  flush(now: number): Uint8Array | undefined {
    if (!this.unsaid) return undefined
    this.#writingSince = now
    this.#inFlight = this.#staged
    this.#staged = undefined
    return this.#output.take()
  }

  /** The system did not take all that `flush` gave yet: there is room again, and what was read does not wait for the reader. */
  onWriting(now: number): readonly Effect<P>[] {
    return this.#run(now)
  }

  /** The bytes of `flush` were handed to the system; they are overwritten. */
  onWritten(now: number): readonly Effect<P>[] {
    this.#writingSince = undefined
    this.#output.written()
    if (this.#inFlight !== undefined) for (const reference of this.#inFlight) this.#ports.mailboxes.taken(reference, this.#subscriber.owner)
    this.#inFlight = undefined
    return this.#run(now)
  }

  onChallenged(result: Challenged<P>, now: number): readonly Effect<P>[] {
    this.#settle()
    if (this.#state !== 'open') return this.#run(now)
    if ('refused' in result) {
      this.#refuse(result.refused, result.detail)
    } else {
      this.#forgetExpired(now)
      this.#pending ??= new Map()
      const expires = now + this.#limits.handleSeconds * 1_000
      // Of too many that nobody answers the oldest goes, as if it had expired.
      if (this.#pending.size === this.#limits.handles) this.#pending.delete(this.#pending.keys().next().value!)
      this.#pending.set(this.#challenging, { proof: result.proof, audience: this.#audience, expires })
      this.#output.packet(`${PACKETS.CHALLENGE.no};${this.#challenging};${result.challenge}`)
    }
    return this.#run(now)
  }

  onVerified(good: boolean, now: number): readonly Effect<P>[] {
    const verified = this.#verifying
    this.#verifying = undefined
    this.#settle()
    if (this.#state !== 'open') return this.#run(now)
    if (!good || verified === undefined) {
      this.#refuse('auth-failed')
    } else if (!this.#ports.admits(verified.proof.mailbox)) {
      // Said only to who proved the key: anyone else must not learn whom the relay admits.
      this.#refuse('denied')
    } else {
      const { proof, audience } = verified
      const token = this.#ports.issueToken(proof.mailbox, audience, now)
      const seconds = this.#limits.tokenSeconds
      const bytes = Buffer.from(token, 'latin1')
      this.#remember({ bytes: copyWords(bytes), mailbox: proof.mailbox, expires: now + seconds * 1_000 })
      bytes.fill(0)
      this.#output.packet(`${PACKETS.TOKEN.no};${token};${seconds}`)
      this.#ports.count(proof.method)
    }
    return this.#run(now)
  }

  #settle(): void {
    this.#proving = false
    this.#asked?.fill(0)
    this.#asked = undefined
  }

  /** The mailbox told the subscriber that there may be something to take. */
  onWaiting(now: number): readonly Effect<P>[] {
    this.#hasWaiting = true
    return this.#run(now)
  }

  onTakenOver(now: number): readonly Effect<P>[] {
    this.#subscription = undefined
    this.#takenOver = true
    return this.#run(now)
  }

  /** The relay goes down, and is back in about so many seconds. */
  onRestarting(seconds: number, now: number): readonly Effect<P>[] {
    if (this.#state !== 'open') return NO_EFFECTS
    if (this.#batch === undefined) this.#notice('restarting', seconds)
    this.#close()
    return this.#run(now)
  }

  /** `due` is over. */
  onTime(now: number): readonly Effect<P>[] {
    this.#forgetExpired(now)
    if (this.#state === 'over' || now < this.#deadline) return NO_EFFECTS
    const stalled = this.#writingSince !== undefined
    if (this.#state === 'open') this.#refuse('timeout')
    // A peer that does not read gets no last word.
    if (stalled) this.#effect({ kind: 'destroy' })
    return this.#run(now)
  }

  /** The stream is gone: leases return, and nothing that was sent or answered is kept. */
  onEnd(): void {
    this.#state = 'over'
    for (const mailbox of this.#joined ?? []) this.#ports.mailboxes.leave(mailbox, this.#subscriber.owner)
    this.#joined = undefined
    this.#batch = undefined
    this.#subscription = undefined
    this.#pending = undefined
    this.#verifying = undefined
    this.#settle()
    this.#staged = undefined
    this.#inFlight = undefined
    for (const token of this.#tokens) overwrite(token.bytes)
    this.#tokens = []
    for (const receiver of this.#receivers ?? []) overwrite(receiver.bytes)
    this.#receivers = undefined
    this.#source.clear()
    this.#output.clear()
  }

  /** Does all that can be done now, and gives what it comes to. */
  #run(now: number): readonly Effect<P>[] {
    if (this.#state === 'over') return NO_EFFECTS
    this.#gather(now)
    const said = this.#writingSince === undefined && this.#output.length === 0
    if (said && (this.#state === 'closing' || (this.#finished && !this.#proving))) {
      this.#close()
      this.#state = 'over'
      this.#effect({ kind: 'end' })
    }
    const effects = this.#effects
    this.#effects = undefined
    return effects ?? NO_EFFECTS
  }

  #effect(effect: Effect<P>): void {
    this.#effects ??= []
    this.#effects.push(effect)
  }

  /** Answers and delivers while there is something to, and room for it. */
  #gather(now: number): void {
    while (this.#state === 'open' && this.#output.length < OUTPUT_BYTES) {
      if (this.#batch !== undefined) this.#sendBatch(this.#batch)
      else if (this.#takenOver) this.#sayTakenOver()
      else if (this.#hasWaiting && this.#subscription !== undefined) this.#deliver(this.#subscription, now)
      else if (!this.#mayRead || !this.#readPacket(now)) break
    }
  }

  /** Reads one packet and answers it; false if there is none. */
  #readPacket(now: number): boolean {
    const outcome = this.#source.find(this.packetLimit)
    if (outcome === undefined) return false
    this.#heardPacket = true
    if (outcome === 'too-large') {
      this.#refuse('too-large')
      return true
    }
    try {
      request.read(this.#source.found)
      this.#answer(now)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#refuse(error.code, error.detail)
    }
    return true
  }

  /** Answers the request. */
  #answer(now: number): void {
    switch (request.name) {
      case 'AUTH':
        return this.#onAuth(now)
      case 'VERIFY':
        return this.#onVerify(now)
      case 'SEND':
        return this.#onSend(now)
      case 'GET':
        return this.#onGet(now)
      case 'ACK':
        return this.#onAck(now)
      case 'SUBSCRIBE':
        return this.#onSubscribe(now)
      case 'PING':
        return this.#output.packet(`${PACKETS.PONG.no}`)
      case 'HELLO':
        return this.#onHello()
      case 'WIPE': {
        const mailbox = this.#authorize(now)
        this.#output.packet(`${PACKETS.WIPED.no};${this.#ports.mailboxes.wipe(mailbox)}`)
        return this.#look(mailbox)
      }
    }
  }

  #onHello(): void {
    const name = request.count === 2 ? request.field(1) : undefined
    if (!isWord(request.field(0), VERSION)) throw new ProtocolError('wrong-usage')
    if (name !== undefined) {
      const names = this.#ports.names()
      if (names.length === 0) throw new ProtocolError('not-ready')
      const dialled = names.find((own) => isWord(name, own))
      if (dialled === undefined) throw new ProtocolError('wrong-usage')
      this.#name = dialled
    }
    this.#output.packet(`${PACKETS.WELCOME.no};${VERSION};${describeLimits(this.#limits)}`)
    const moved = name === undefined ? undefined : this.#ports.movedTo(this.#name!)
    if (moved !== undefined) this.#notice('moved', moved)
  }

  #onAuth(now: number): void {
    const key = request.field(0)
    const sign = request.count === 2
    if (key.length === 0 || (sign && !isWord(request.field(1), 'sign'))) throw new ProtocolError('wrong-usage')
    const relay = this.#name ?? this.#ports.names()[0]
    if (relay === undefined) throw new ProtocolError('not-ready')
    const wait = this.#ports.loginWait(now)
    if (wait > 0) throw new ProtocolError('rate-limited', wait)
    const { handle, nonce } = this.#ports.drawChallenge()
    this.#audience = relay
    this.#challenging = handle
    this.#effect({ kind: 'challenge', key: this.#ask(key), sign, challenge: { relay, handle, nonce } })
  }

  /** A proof says whose key was named: it is not kept longer than its challenge. */
  #forgetExpired(now: number): void {
    if (this.#pending === undefined) return
    for (const [handle, { expires }] of this.#pending) if (expires <= now) this.#pending.delete(handle)
    if (this.#pending.size === 0) this.#pending = undefined
  }

  #onVerify(now: number): void {
    const text = asciiText(request.field(0))
    if (text === undefined || !/^[0-9]{1,39}$/.test(text)) throw new ProtocolError('wrong-usage')
    const pending = this.#pending?.get(text)
    // Good once, whatever the answer.
    this.#pending?.delete(text)
    if (this.#pending?.size === 0) this.#pending = undefined
    this.#verifying = pending !== undefined && pending.expires > now ? pending : undefined
    this.#effect({ kind: 'verify', proof: this.#verifying?.proof, answer: this.#ask(request.field(1)) })
  }

  /** A copy for the time that a proof takes, which is longer than the chunk is there. */
  #ask(field: Uint8Array): Uint8Array {
    this.#proving = true
    this.#asked = copyBytes(field)
    return this.#asked
  }

  #onSend(now: number): void {
    const sender = this.#authorize(now)
    const length = request.length(2)
    if (length > this.#limits.payload) throw new ProtocolError('too-large')
    if (!request.isBase64(2)) throw new ProtocolError('wrong-usage')
    const mailbox = this.#receiver()
    if (!this.#ports.admits(mailbox)) throw new ProtocolError('denied')
    const wait = this.#ports.sendWait(sender, length, now)
    if (wait > 0) throw new ProtocolError('rate-limited', wait)
    const put = this.#ports.mailboxes.put(mailbox, request.field(2), now)
    if ('refused' in put) throw new ProtocolError(put.refused)
    this.#ports.count('stored')
    this.#output.packetWithId(PACKETS.SENT.no, put.high, put.low, this.#held)
    this.#look(mailbox)
  }

  /** What our own packets change in the mailbox that we read is delivered before the next is read. */
  #look(mailbox: string): void {
    if (mailbox === this.#subscription) this.#hasWaiting = true
  }

  /** The receiver's mailbox: who writes to somebody writes to them again, so it is looked up, not computed. */
  #receiver(): string {
    this.#receivers ??= []
    for (const known of this.#receivers) if (request.isSame(1, known.bytes)) return known.mailbox
    const field = request.field(1)
    const receiver = { bytes: copyWords(field), mailbox: this.#ports.receiver(field) }
    this.#receivers.push(receiver)
    if (this.#receivers.length > KNOWN_RECEIVERS) overwrite(this.#receivers.shift()!.bytes)
    return receiver.mailbox
  }

  #onGet(now: number): void {
    const plain = request.count === 1
    if (!plain && !isWord(request.field(1), 'lease')) throw new ProtocolError('wrong-usage')
    const mailbox = this.#authorize(now)
    const { batchMessages, batchBytes } = this.#limits
    const how = { lease: plain ? 'plain' : 'lease', bytes: batchBytes } as const
    this.#join(mailbox)
    const { mailboxes } = this.#ports
    const references = new Float64Array(Math.min(batchMessages, mailboxes.waiting(mailbox)))
    const count = mailboxes.take(mailbox, this.#subscriber.owner, how, now, references)
    this.#output.packet(`${PACKETS.MESSAGES.no};${count};${mailboxes.waiting(mailbox)}`)
    if (count > 0) this.#batch = { references: references.subarray(0, count), plain, at: 0 }
  }

  /** Sends what there is room for of a batch. */
  #sendBatch(batch: Batch): void {
    while (this.#output.length < OUTPUT_BYTES) {
      const reference = batch.references[batch.at++]
      if (reference === undefined) {
        this.#batch = undefined
        return
      }
      if (!this.#sendMessage(reference)) {
        // Expired, or erased over another connection, after its count was told to a slow reader:
        // the batch cannot be kept, so the connection ends; the client finds the rest when it is back.
        this.#close()
        return
      }
      if (batch.plain) {
        this.#staged ??= []
        this.#staged.push(reference)
      }
    }
  }

  #sendMessage(reference: number): boolean {
    const message = this.#ports.mailboxes.read(reference)
    if (message === undefined) return false
    this.#output.packetWithBytes(PACKETS.MESSAGE.no, message.high, message.low, message.bytes, message.start, message.end)
    this.#ports.count('delivered')
    return true
  }

  #onAck(now: number): void {
    for (let n = 1; n < request.count; n++) if (request.length(n) === 0) throw new ProtocolError('wrong-usage')
    const mailbox = this.#authorize(now)
    let erased = 0
    for (let n = 1; n < request.count; n++) {
      if (request.length(n) !== MESSAGE_ID_DIGITS) continue
      if (this.#ports.mailboxes.ack(mailbox, request.hex(n, 0), request.hex(n, MESSAGE_ID_DIGITS / 2))) erased++
    }
    this.#output.packet(`${PACKETS.ACKED.no};${erased}`)
    this.#look(mailbox)
  }

  /** A connection has one subscription; another SUBSCRIBE moves it. */
  #onSubscribe(now: number): void {
    const mailbox = this.#authorize(now)
    if (this.#subscription !== undefined && this.#subscription !== mailbox) {
      this.#ports.mailboxes.leave(this.#subscription, this.#subscriber.owner)
      this.#joined?.delete(this.#subscription)
    }
    this.#join(mailbox)
    this.#subscription = mailbox
    const waiting = this.#ports.mailboxes.subscribe(mailbox, this.#subscriber)
    this.#hasWaiting = waiting > 0
    this.#output.packet(`${PACKETS.SUBSCRIBED.no};${waiting}`)
  }

  #deliver(mailbox: string, now: number): void {
    const count = this.#ports.mailboxes.take(mailbox, this.#subscriber.owner, DELIVERY, now, delivery)
    // Nothing waits, or the window is used up: the mailbox calls when that changes.
    if (count === 0) this.#hasWaiting = false
    for (let n = 0; n < count; n++) this.#sendMessage(delivery[n]!)
  }

  #join(mailbox: string): void {
    this.#joined ??= new Set()
    this.#joined.add(mailbox)
  }

  /** The mailbox that the request's token is for, its first field. @throws ProtocolError `bad-token` */
  #authorize(now: number): string {
    let proven: ProvenToken | undefined
    for (const known of this.#tokens) if (request.isSame(0, known.bytes)) proven = known
    if (proven === undefined) {
      const token = request.field(0)
      const verified = this.#ports.verifyToken(token, now)
      if (verified === undefined) throw new ProtocolError('bad-token')
      proven = { bytes: copyWords(token), ...verified }
      this.#remember(proven)
    }
    if (proven.expires <= now || !this.#ports.admits(proven.mailbox)) throw new ProtocolError('bad-token')
    return proven.mailbox
  }

  /** A token already proven here is not verified cryptographically again. */
  #remember(token: ProvenToken): void {
    this.#tokens.push(token)
    if (this.#tokens.length > PROVEN_TOKENS) overwrite(this.#tokens.shift()!.bytes)
    if (this.#proven) return
    this.#proven = true
    this.#effect({ kind: 'proven' })
  }

  #refuse(code: ErrorCode, detail?: number): void {
    const { text, connection } = ERRORS[code]
    this.#ports.count({ refused: code })
    this.#output.packet(`${PACKETS.ERROR.no};${code};${text}${detail === undefined ? '' : `;${detail}`}`)
    if (connection === 'stays') return
    if (connection === 'closes') return this.#close()
    this.#strikes ??= {}
    const strikes = (this.#strikes[code] ?? 0) + 1
    this.#strikes[code] = strikes
    if (strikes >= connection) this.#close()
  }

  /** Between answers, never inside a batch. */
  #sayTakenOver(): void {
    this.#takenOver = false
    this.#notice('taken-over')
  }

  #notice(code: NoticeCode, detail?: number | string): void {
    this.#output.packet(`${PACKETS.NOTICE.no};${code}${detail === undefined ? '' : `;${detail}`}`)
  }

  /** Reads no more; ends once what was said is written. */
  #close(): void {
    this.#state = 'closing'
    this.#batch = undefined
    this.#source.clear()
  }
}

function copyWords(bytes: Uint8Array): DataView {
  return new DataView(copyBytes(bytes).buffer)
}

function overwrite({ buffer }: DataView): void {
  new Uint8Array(buffer).fill(0)
}

/** WELCOME's `key=value` fields: the limits in force, sizes in bytes, times in seconds. */
export function describeLimits(limits: Limits): string {
  const told = {
    payload: limits.payload,
    line: limits.payload + limits.lineOverhead,
    'line-before-token': limits.lineBeforeToken,
    'first-packet': limits.firstPacketSeconds,
    login: limits.loginSeconds,
    idle: limits.idleSeconds,
    mailbox: limits.mailboxMessages,
    hold: limits.holdSeconds,
    window: limits.window,
    batch: limits.batchMessages,
    'batch-bytes': limits.batchBytes,
    token: limits.tokenSeconds,
  }
  return Object.entries(told)
    .map(([key, value]) => `${key}=${value}`)
    .join(';')
}
