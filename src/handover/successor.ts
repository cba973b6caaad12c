/**
 * The side that takes over: asks the relay that listens at the path for everything that it holds. Until this relay owns
 * the messages, any failure leaves them to the other one; once it owns them, only the other relay's own word that it goes
 * on can change that. If the other relay dies in the middle, this one keeps the messages that have arrived. The operating
 * system tells whether it died: no process listens at the path of a dead one. docs/decisions/0009-handover.md gives the reasons.
 */
import type { HeldMessage } from '../mailbox/mailbox.ts'
import type { Spent } from '../relay/senders.ts'
import type { Address } from '../transport/address.ts'
import { Channel, ChannelError } from './channel.ts'
import { MessageReader } from './message.ts'
import { isListening, reach, waitUntil } from './path.ts'
import { PATIENCE_MS, wholeMs } from './predecessor.ts'
import { decodeRecord, decodeSpent, encodeRecord, type HandoverRecord, OLD_VERSION, type Refusal, type Size, VERSION } from './record.ts'

/** A dying process may end its connections a moment before it stops listening. */
const DYING_MS = 1_000
/** Memory for messages that permits one sending limit to be taken over: a limit takes a few hundred bytes itself. */
const BYTES_PER_SENDER = 256

/**
 * Why nothing was taken over. `proof`: the secrets differ, or no relay listens there. `broken`: the other relay broke the
 * handover off, and goes on. `stalled`: the other relay does not answer; it goes on once it can. `interrupted`: this
 * relay was told to stop; the other one goes on. `unreachable`: this user may not connect to the path. For the others,
 * see `REFUSALS`.
 */
export type HandoverProblem = Refusal | 'proof' | 'broken' | 'stalled' | 'interrupted' | 'unreachable'

export class HandoverError extends Error {
  readonly problem: HandoverProblem

  constructor(problem: HandoverProblem) {
    super(problem)
    this.name = 'HandoverError'
    this.problem = problem
  }
}

export interface SuccessorOptions {
  readonly address: Address & { readonly kind: 'unix' }
  readonly psk: Uint8Array
  /** The bytes that this relay has for messages. */
  readonly memory: number
  /** Interrupts the takeover. It has no effect once this relay owns the messages. */
  readonly signal: AbortSignal
  /** The defaults are for relays; tests choose shorter times. All in ms. */
  readonly times?: Partial<Times>
}

interface Times {
  readonly patience: number
  /** How long the path of a dead process may still seem to have a listener. */
  readonly dying: number
  whole(bytes: number): number
}

const TIMES: Times = { patience: PATIENCE_MS, dying: DYING_MS, whole: wholeMs }

/** The estate of the other relay. Call `fill` and `opened` once each, in this order. */
export interface Succession {
  /** 32 bytes each, for the caller to overwrite. */
  readonly secrets: { readonly boot: Buffer; readonly token: Buffer }
  /** Whether this relay owns the messages: it would lose them if it stopped. */
  readonly owns: boolean
  /**
   * Passes on every used sending limit, message and bundle; the doors are free when it resolves.
   * @returns the percentage of all messages that arrived: less than 100 only if the other relay died
   * @throws HandoverError, or the error of a callback
   */
  fill(
    onMessage: (message: HeldMessage) => void,
    onSpent: (spent: Spent) => void,
    onBundle?: (bundle: HeldMessage) => void,
  ): Promise<number>
  /**
   * Reports that this relay listens at every door. It owns the messages when this resolves.
   * @throws HandoverError
   */
  opened(): Promise<void>
  /** Ends the connection. If this relay does not own the messages, the other relay goes on. */
  abandon(): void
}

/** @returns undefined if no relay listens at the path. @throws HandoverError */
export async function findPredecessor(options: SuccessorOptions): Promise<Succession | undefined> {
  try {
    return await ask(options, VERSION)
  } catch (error) {
    if (!(error instanceof HandoverError) || error.problem !== 'version') throw error
    return ask(options, OLD_VERSION)
  }
}

async function ask(options: SuccessorOptions, version: number): Promise<Succession | undefined> {
  const { psk, memory, signal } = options
  const { path } = options.address
  const times = { ...TIMES, ...options.times }
  const socket = await reach(path)
  if (socket === 'gone') return undefined
  if (socket === 'unreachable') throw new HandoverError('unreachable')
  if (socket === 'full') throw new HandoverError('stalled')
  const onAbort = (): void => void socket.destroy()
  const ignoreSignal = (): void => signal.removeEventListener('abort', onAbort)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  socket.on('close', ignoreSignal)

  /** Resolves if the other relay is dead. @throws HandoverError if it lives, with the problem */
  const settle = async (error: unknown, proven = true): Promise<void> => {
    socket.destroy()
    if (!(error instanceof ChannelError)) throw error
    const lives = signal.aborted ? await isListening(path) : !(await waitUntil('gone', path, times.dying))
    if (lives) throw new HandoverError(signal.aborted ? 'interrupted' : problemOf(error, proven))
  }
  let channel: Channel
  try {
    channel = await Channel.open(socket, { psk, patience: times.patience, whole: times.patience })
  } catch (error) {
    return void (await settle(error, false))
  }
  try {
    await channel.send(encodeRecord({ kind: 'take', version, memory }))
    const answer = await channel.receive()
    const record = decodeRecord(answer)
    if (record.kind === 'refused') throw new HandoverError(record.reason)
    if (record.kind !== 'give') throw new ChannelError('forged')
    const { messages, size } = record
    if (size.bytes > memory) throw new HandoverError('memory')
    const secrets = { boot: Buffer.from(record.boot), token: Buffer.from(record.token) }
    answer.fill(0)
    channel.limit(times.whole(size.bytes))
    return new Taking({ channel, secrets, messages, size, memory, signal, settle, ignoreSignal })
  } catch (error) {
    return void (await settle(error))
  }
}

function problemOf({ problem }: ChannelError, proven: boolean): HandoverProblem {
  if (problem === 'busy' || problem === 'stalled') return problem
  return proven || problem === 'ended' ? 'broken' : 'proof'
}

interface TakingOptions {
  readonly channel: Channel
  readonly secrets: Succession['secrets']
  /** The number of messages that the other relay announced. */
  readonly messages: number
  readonly size: Size
  readonly memory: number
  readonly signal: AbortSignal
  settle(error: unknown): Promise<void>
  ignoreSignal(): void
}

class Taking implements Succession {
  readonly #options: TakingOptions
  #owns = false

  constructor(options: TakingOptions) {
    this.#options = options
  }

  get secrets(): Succession['secrets'] {
    return this.#options.secrets
  }

  get owns(): boolean {
    return this.#owns
  }

  async fill(
    onMessage: (message: HeldMessage) => void,
    onSpent: (spent: Spent) => void,
    onBundle: (bundle: HeldMessage) => void = () => {},
  ): Promise<number> {
    const { messages, size } = this.#options
    const { bytes, bundles = 0 } = size
    const reader = new MessageReader(onMessage, { messages, bytes })
    const bundleReader = new MessageReader(onBundle, { messages: bundles, bytes })
    try {
      await this.#receiveAll(reader, bundleReader, onSpent)
      await this.#send('held')
      await this.#expect('released')
      return 100
    } catch (error) {
      await this.#settle(error)
      return messages === 0 ? 100 : Math.min(100, Math.floor((reader.count / messages) * 100))
    } finally {
      reader.clear()
      bundleReader.clear()
    }
  }

  async opened(): Promise<void> {
    if (this.#owns) return
    try {
      await this.#checkQuiet()
      await this.#send('opened')
      await this.#expect('done')
      await this.#checkQuiet()
      await this.#own()
    } catch (error) {
      await this.#settle(error)
      return
    }
    await this.#hearLast()
  }

  abandon(): void {
    this.#options.channel.close()
  }

  /** The other relay may have given up while this process was stopped. @throws HandoverError, ChannelError */
  async #checkQuiet(): Promise<void> {
    const { channel, signal } = this.#options
    if (!(await channel.isQuiet())) {
      const { kind } = decodeRecord(await channel.receive())
      throw kind === 'abort' ? new HandoverError('broken') : new ChannelError('forged')
    }
    if (signal.aborted) throw new ChannelError('ended')
  }

  /** Sends the record after which the other relay may erase its copy. @throws ChannelError if it was not sent */
  async #own(): Promise<void> {
    this.#options.ignoreSignal()
    this.#owns = true
    try {
      await this.#send('owned')
    } catch (error) {
      this.#owns = false
      throw error
    }
  }

  /**
   * Waits for the other relay to end the connection. If it says nothing, this relay serves all the same: the other one
   * may have read the last record, or may read it later. Both may have the messages then, but never neither.
   * @throws HandoverError if the other relay goes on
   */
  async #hearLast(): Promise<void> {
    const { channel } = this.#options
    try {
      const { kind } = decodeRecord(await channel.receive())
      if (kind === 'abort') {
        this.#owns = false
        throw new HandoverError('broken')
      }
    } catch (error) {
      if (!(error instanceof ChannelError)) throw error
      // The old relay erases its copy only while this connection is open, so it stays open until this relay ends.
      if (error.problem === 'stalled') return
    }
    channel.close()
  }

  /** @throws unless the other relay is dead */
  async #settle(error: unknown): Promise<void> {
    const { channel, settle, ignoreSignal } = this.#options
    channel.close()
    await settle(error)
    ignoreSignal()
    this.#owns = true
  }

  async #receiveAll(reader: MessageReader, bundles: MessageReader, onSpent: (spent: Spent) => void): Promise<void> {
    const { channel, messages, size, memory } = this.#options
    const room = Math.floor(memory / BYTES_PER_SENDER)
    let senders = 0
    for (;;) {
      const bytes = await channel.receive()
      try {
        const record = decodeRecord(bytes)
        if (record.kind === 'messages') {
          reader.push(record.bytes)
        } else if (record.kind === 'bundles') {
          bundles.push(record.bytes)
        } else if (record.kind === 'spent') {
          for (const spent of decodeSpent(record.bytes)) {
            if (++senders > size.senders) throw new ChannelError('forged')
            if (senders <= room) onSpent(spent)
          }
        } else {
          expect(record, 'end')
          const isAll = reader.isWhole && bundles.isWhole && reader.count === messages && bundles.count === (size.bundles ?? 0)
          if (!isAll || record.kind !== 'end' || record.messages !== messages) throw new ChannelError('forged')
          return
        }
      } finally {
        bytes.fill(0)
      }
      await this.#send('read')
    }
  }

  async #send(kind: 'read' | 'held' | 'opened' | 'owned'): Promise<void> {
    await this.#options.channel.send(encodeRecord({ kind }))
  }

  async #expect(kind: HandoverRecord['kind']): Promise<void> {
    expect(decodeRecord(await this.#options.channel.receive()), kind)
  }
}

/** @throws HandoverError if the other relay broke it off; ChannelError if the record is not of this kind */
function expect(record: HandoverRecord, kind: HandoverRecord['kind']): void {
  if (record.kind === 'abort') throw new HandoverError('broken')
  if (record.kind !== kind) throw new ChannelError('forged')
}
