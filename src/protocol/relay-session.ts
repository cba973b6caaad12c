/**
 * The relay's side of one connection, docs/protocol.md sections 2 to 6, as a machine without I/O: bytes, answers of its
 * ports and the time go in, effects come out. It has no socket, timer, clock, randomness or promise; `now` is in ms and
 * never goes back.
 *
 * The session owns the connection's state and its errors. Regime owns time and line length, Turn the budget of work,
 * Login the challenges, Proofs the proven tokens and their labels, MailboxAccess the batch and the subscriptions.
 *
 * Over 350 lines: every input of the machine and the order of its effects are here, and nothing else.
 */
import { VERSION } from './challenge.ts'
import { ERRORS, type ErrorCode, type ErrorRow, ProtocolError } from './errors.ts'
import { LineDecoder } from './line.ts'
import { Login } from './login.ts'
import { MailboxAccess } from './mailbox-access.ts'
import { type Framing, Output, STRANGER_OUTPUT_BYTES } from './output.ts'
import { createRequest, encodeError, encodeNotice, isWord, PACKETS } from './packets.ts'
import type { Challenged, Effect, Ports, Proof, Proven, Rates, Reader, UncheckedKey } from './ports.ts'
import { Proofs } from './proofs.ts'
import { Regime } from './regime.ts'
import { Turn } from './turn.ts'
import { encodeLimits } from './welcome.ts'

const NO_EFFECTS: readonly never[] = Object.freeze([])

/** One for all sessions: a session parses and answers a packet within one call. */
const request = createRequest()

export class RelaySession<P extends Proof = Proof> {
  readonly #ports: Ports
  readonly #rates: Rates
  readonly #source = new LineDecoder()
  readonly #output: Output
  readonly #regime: Regime
  readonly #turn = new Turn()
  readonly #login: Login<P>
  readonly #mail: MailboxAccess
  readonly #proofs: Proofs
  /** `closing`: the session reads no more, and ends the stream when everything is written. */
  #state: 'open' | 'closing' | 'over' = 'open'
  /** Whether the peer has ended its side of the stream. */
  #finished = false
  /** Whether the peer announced a packet over every limit, which comes after all bytes that are here. */
  #tooLarge = false
  /** Whether the budget was spent before there was nothing left to do. */
  #resting = false
  #progress = 0
  /** The name in the last HELLO. */
  #name: string | undefined
  // Created when needed: of thousands of idle connections hardly any has one.
  #effects: Effect<P>[] | undefined
  #strikes: Partial<Record<ErrorCode, number>> | undefined

  /**
   * @param options.framing of the output; the input is always lines
   * @param options.reader its `wake` must lead to `onNews`
   */
  constructor(options: { ports: Ports; rates: Rates; framing: Framing; reader: Reader; now: number }) {
    const { ports, rates } = options
    this.#ports = ports
    this.#rates = rates
    this.#output = new Output(ports.stock, options.framing)
    this.#regime = new Regime(ports.limits, options.now)
    this.#login = new Login(ports, rates, this.#output)
    this.#mail = new MailboxAccess(ports, rates, this.#output, this.#turn, options.reader)
    this.#proofs = new Proofs(ports, rates, this.#turn)
  }

  /** Whether the session takes chunks now. */
  get reading(): boolean {
    return this.#state === 'open' && this.#turn.hasRoom && this.#mayRead && !this.#mail.hasBatch && !this.#isFull
  }

  /** Whether the session has used up its turn: `onTurn` must be called in a later turn of the event loop. */
  get isResting(): boolean {
    return this.#state === 'open' && (this.#resting || !this.#turn.hasRoom)
  }

  /**
   * Whether everything before the next packet is settled: proofs, the check of a receiver's key, and the erasure of
   * messages that a plain GET delivered. So the meaning of packets does not depend on how many of them came in one chunk.
   */
  get #mayRead(): boolean {
    return !this.#login.isProving && !this.#mail.isChecking && !this.#mail.isErasing
  }

  /**
   * Whether the peer has to take output first. A stranger may have one write waiting, and nothing gathered beside it: of
   * a thousand strangers that never read, each would otherwise cost two large buffers.
   */
  get #isFull(): boolean {
    if (this.#regime.isProven) return this.#output.isFull
    return this.#regime.isWriting || this.#output.length >= STRANGER_OUTPUT_BYTES
  }

  /** Bytes of the buffers that the session holds: input that is not processed yet, and output. */
  get held(): number {
    return this.#source.memory + this.#output.held + this.#login.memory
  }

  /** Grows with each packet that is read and each write that is done. */
  get progress(): number {
    return this.#progress
  }

  /** When `onTime` must be called next, in ms. */
  get due(): number {
    return Math.min(this.#regime.deadline, this.#login.nextExpiry ?? Infinity)
  }

  /** A turn of the event loop is over: goes on with the work that the budget did not allow. */
  onTurn(now: number): readonly Effect<P>[] {
    this.beginTurn()
    return this.#run(now)
  }

  /** Does the same for a session that does not rest, which has nothing left to do. */
  beginTurn(): void {
    this.#turn.begin()
    this.#resting = false
  }

  /** Takes a chunk, and overwrites it before the call returns. */
  onChunk(chunk: Uint8Array, now: number): readonly Effect<P>[] {
    if (this.#state !== 'open') {
      chunk.fill(0)
      return NO_EFFECTS
    }
    this.#regime.onBytes(now)
    this.#source.push(chunk)
    const effects = this.#run(now)
    this.#source.giveBack()
    return effects
  }

  /** The peer sends no more. It still gets the answers to its requests. */
  onFinish(now: number): readonly Effect<P>[] {
    this.#finished = true
    return this.#run(now)
  }

  /** The door read so many frames that completed no packet: they cost the peer a part of its turn. */
  onIdleFrames(count: number): readonly Effect<P>[] {
    this.#turn.onIdleFrames(count)
    return NO_EFFECTS
  }

  /** The peer announced a packet over every limit, after the bytes that came before. */
  onTooLarge(now: number): readonly Effect<P>[] {
    this.#tooLarge = true
    return this.#run(now)
  }

  /** Whether `flush` would return bytes. */
  get hasOutput(): boolean {
    return !this.#regime.isWriting && this.#output.length > 0
  }

  /**
   * Returns the output of the turn, to be written now; `onWritten` or `onWriting` must follow. Returns undefined if
   * there is no output, or if the write before is not done.
   */
  flush(now: number): Uint8Array | undefined {
    if (!this.hasOutput) return undefined
    this.#regime.onWriting(now)
    this.#mail.onWriting()
    return this.#output.take()
  }

  /** The system did not take all bytes of `flush` yet. There is room for new output, so reading may go on. */
  onWriting(now: number): readonly Effect<P>[] {
    return this.#run(now)
  }

  /** The system took the bytes of `flush`. Overwrites them. */
  onWritten(now: number): readonly Effect<P>[] {
    this.#progress++
    this.#regime.onWritten()
    this.#output.written()
    this.#mail.onWritten()
    return this.#run(now)
  }

  /** The relay made the challenge of a `challenge` effect, or refused to. */
  onChallenged(result: Challenged<P>, now: number): readonly Effect<P>[] {
    if (this.#state === 'open') this.#attempt(() => this.#login.onChallenged(result, now))
    else this.#login.settle()
    return this.#run(now)
  }

  /** The relay checked the answer of a `verify` effect. */
  onVerified(good: boolean, now: number): readonly Effect<P>[] {
    if (this.#state === 'open') {
      this.#attempt(() => {
        const { proof, audience, label } = this.#login.onVerified(good)
        this.#grant({ mailbox: proof.mailbox, method: proof.method, audience, label }, now)
      })
      this.#noteProof()
    } else {
      this.#login.settle()
    }
    return this.#run(now)
  }

  /** The relay checked the key of a `receiver` effect, or has no time for it (`busy`). */
  onReceiver(outcome: 'sound' | 'bad-key' | 'busy', now: number): readonly Effect<P>[] {
    this.#mail.onReceiver(outcome === 'sound')
    // The SEND or FETCH was put back. If its receiver is good, it is read again.
    if (this.#state === 'open' && outcome !== 'sound') {
      this.#source.find(this.#regime.packetLimit)
      if (outcome === 'busy') this.#refuse('rate-limited', 1)
      else this.#refuse('bad-key')
    }
    return this.#run(now)
  }

  /** A mailbox called a subscription: there may be messages, or a newer subscriber has taken over. */
  onNews(now: number): readonly Effect<P>[] {
    return this.#run(now)
  }

  /** The relay goes down, and expects to be back in `seconds`. */
  onRestarting(seconds: number, now: number): readonly Effect<P>[] {
    if (this.#state !== 'open') return NO_EFFECTS
    if (!this.#mail.hasBatch) this.#output.packet(encodeNotice('restarting', seconds))
    this.#close()
    return this.#run(now)
  }

  /**
   * The list of admitted keys has changed: ends the connection if it has proven a key that is no longer admitted, or
   * reads a mailbox that no longer exists.
   */
  onAdmission(now: number): readonly Effect<P>[] {
    if (this.#state !== 'open') return NO_EFFECTS
    const isAdmitted = ({ mailbox }: Proven): boolean => this.#ports.admits(mailbox)
    if (this.#proofs.every(isAdmitted) && this.#mail.mailboxes.every((mailbox) => this.#ports.receives(mailbox))) return NO_EFFECTS
    // Inside a batch an ERROR would be taken for one of its messages.
    if (this.#mail.hasBatch) this.#close()
    else {
      this.#refuse('denied')
      this.#close()
    }
    return this.#run(now)
  }

  /** `due` has passed. */
  onTime(now: number): readonly Effect<P>[] {
    this.#login.expire(now)
    if (this.#state === 'over' || now < this.#regime.deadline) return NO_EFFECTS
    if (this.#state === 'open') this.#refuse('timeout')
    // A peer that does not read cannot get an ERROR either.
    if (this.#regime.isWriting) this.#effect({ kind: 'destroy' })
    return this.#run(now)
  }

  /** The stream is gone: returns all leases, and overwrites everything held. */
  onEnd(): void {
    this.#state = 'over'
    this.#mail.leave()
    this.#login.clear()
    this.#proofs.clear()
    this.#source.clear()
    this.#output.clear()
  }

  /** Does everything that can be done now, and returns the effects. */
  #run(now: number): readonly Effect<P>[] {
    if (this.#state === 'over') return NO_EFFECTS
    this.#gather(now)
    const written = !this.#regime.isWriting && this.#output.length === 0
    if (written && (this.#state === 'closing' || (this.#finished && !this.#resting && !this.#login.isProving && !this.#mail.isChecking))) {
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

  /**
   * Delivers and answers until nothing is left to do, or the output is full. Delivery comes before the next request.
   */
  #gather(now: number): void {
    while (this.#state === 'open' && !this.#isFull) {
      this.#resting = this.#turn.isOver
      if (this.#resting) break
      const before = this.#output.length
      const gathered = this.#mail.gather(now)
      if (gathered === 'broken') this.#close()
      else if (gathered === 'none' && !(this.#mayRead && this.#readPacket(now))) break
      this.#turn.onBytes(this.#output.length - before)
    }
  }

  /** Reads and answers one packet. Returns false if no packet is complete. */
  #readPacket(now: number): boolean {
    const outcome = this.#source.find(this.#regime.packetLimit) ?? (this.#tooLarge ? 'too-large' : undefined)
    if (outcome === undefined) return false
    this.#progress++
    this.#regime.onPacket()
    if (outcome === 'too-large') {
      this.#refuse('too-large')
      return true
    }
    const { found } = this.#source
    this.#turn.onBytes(found.end - found.start)
    try {
      request.read(found)
      this.#turn.onRequest(request.name, request.count)
      this.#answer(now)
    } catch (error) {
      this.#onError(error)
    }
    this.#noteProof()
    return true
  }

  /** @throws {ProtocolError} any code that a request can be refused with */
  #answer(now: number): void {
    switch (request.name) {
      case 'AUTH':
        return this.#effect(this.#login.onAuth(request, this.#name, now))
      case 'VERIFY':
        return this.#effect(this.#login.onVerify(request, this.#beginProof(2), now))
      case 'CLAIM':
        return this.#onClaim(now)
      case 'SEND':
        return this.#onNamed(this.#mail.onSend(request, this.#proofs.find(request, now), now))
      case 'GET': {
        const lease = request.count === 1 ? 'plain' : 'lease'
        if (lease === 'lease' && !isWord(request.field(1), 'lease')) throw new ProtocolError('wrong-usage')
        return this.#mail.onGet(this.#authorizeReader(now), lease, now)
      }
      case 'ACK':
        for (let n = 1; n < request.count; n++) if (request.length(n) === 0) throw new ProtocolError('wrong-usage')
        return this.#mail.onAck(request, this.#authorizeReader(now))
      case 'SUBSCRIBE':
        return this.#mail.onSubscribe(this.#proofs.labelIn(request), this.#authorizeReader(now), now)
      case 'PING':
        return this.#output.packet(`${PACKETS.PONG.no}`)
      case 'HELLO':
        return this.#onHello()
      case 'WIPE':
        // An empty field may be a variable that was not set.
        if (request.length(0) === 0) throw new ProtocolError('bad-token')
        return this.#mail.onWipe(this.#authorizeReader(now))
      case 'PUBLISH':
        return this.#onPublish(now)
      case 'FETCH':
        return this.#onNamed(this.#mail.onFetch(request, this.#proofs.find(request, now), now))
    }
  }

  /** Ends the label in the field `n` of a VERIFY or CLAIM, and returns it. @throws {ProtocolError} `wrong-usage` */
  #beginProof(n: number): string {
    return this.#proofs.begin(request, n, (label) => this.#mail.onLabelEnded(label))
  }

  #onClaim(now: number): void {
    const label = this.#beginProof(1)
    const mailbox = this.#ports.claim(request.field(0))
    if (mailbox === undefined) throw new ProtocolError('wrong-usage')
    const audience = this.#name ?? this.#ports.names()[0]
    if (audience === undefined) throw new ProtocolError('not-ready')
    const wait = this.#rates.loginWait(now)
    if (wait > 0) throw new ProtocolError('rate-limited', wait)
    this.#grant({ mailbox, method: 'claim', audience, label }, now)
  }

  /** Answers a good proof with TOKEN. @throws {ProtocolError} `denied`, `relay-full` */
  #grant(
    proof: { readonly mailbox: string; readonly method: Proof['method'] | 'claim'; readonly audience: string; readonly label: string },
    now: number,
  ): void {
    const { mailbox, method, audience, label } = proof
    // Only a peer that proved the key may learn whether the relay admits it.
    if (!this.#ports.admits(mailbox)) throw new ProtocolError('denied')
    this.#proofs.reserve(label)
    const isClaim = method === 'claim'
    const token = this.#ports.issueToken({ mailbox, isClaim }, audience, now)
    const { tokenSeconds } = this.#ports.limits
    this.#output.packet(`${PACKETS.TOKEN.no};${token};${tokenSeconds}`)
    this.#ports.count(method)
    this.#proofs.add(token, label, { mailbox, isClaim, expires: now + tokenSeconds * 1_000 }, now)
  }

  /** Ends the regime of strangers, if the connection has its first proof. */
  #noteProof(): void {
    if (this.#regime.isProven || !this.#proofs.hasAny) return
    this.#regime.onProven()
    this.#effect({ kind: 'proven' })
  }

  #onPublish(now: number): void {
    if (request.count === 2) {
      if (request.length(1) > this.#ports.limits.bundle) throw new ProtocolError('too-large')
      if (!request.isBase64(1)) throw new ProtocolError('wrong-usage')
    }
    if (request.length(0) === 0) throw new ProtocolError('bad-token')
    const publisher = this.#proofs.find(request, now)
    if (!this.#ports.receives(publisher.mailbox)) throw new ProtocolError('denied')
    this.#mail.onPublish(request, publisher, now)
  }

  /** Ends a SEND or FETCH, or puts it back until the key of its receiver is checked. */
  #onNamed(key: UncheckedKey | undefined): void {
    if (key === undefined) return
    this.#source.putBack()
    this.#effect({ kind: 'receiver', key })
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
    this.#output.packet(`${PACKETS.WELCOME.no};${VERSION};${encodeLimits(this.#ports.limits)}`)
    const moved = name === undefined ? undefined : this.#ports.movedTo(this.#name!)
    if (moved !== undefined) this.#output.packet(encodeNotice('moved', moved))
  }

  /** Returns the mailbox of the request's token, which must have one. @throws {ProtocolError} `bad-token`, `denied` */
  #authorizeReader(now: number): string {
    const { mailbox } = this.#proofs.find(request, now)
    if (!this.#ports.receives(mailbox)) throw new ProtocolError('denied')
    return mailbox
  }

  #attempt(answer: () => void): void {
    try {
      answer()
    } catch (error) {
      this.#onError(error)
    }
  }

  /** Answers a mistake of the peer with ERROR; throws any other error on. */
  #onError(error: unknown): void {
    if (!(error instanceof ProtocolError)) throw error
    this.#refuse(error.code, error.detail)
  }

  #refuse(code: ErrorCode, detail?: number): void {
    this.#ports.count({ refused: code })
    this.#turn.onRefusal()
    this.#output.packet(encodeError(code, detail))
    const row: ErrorRow = ERRORS[code]
    const connection = this.#regime.isProven ? row.connection : (row.unproven ?? row.connection)
    if (connection === 'stays') return
    if (connection === 'closes') return this.#close()
    this.#strikes ??= {}
    const strikes = (this.#strikes[code] ?? 0) + 1
    this.#strikes[code] = strikes
    if (strikes >= connection) this.#close()
  }

  #close(): void {
    this.#state = 'closing'
    this.#mail.dropBatch()
    this.#source.clear()
  }
}
