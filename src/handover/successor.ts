/**
 * The side that takes over: asks the running relay for everything that it holds. If that relay dies during the handover,
 * this one keeps the messages that have arrived. If it lives, this one keeps nothing, so that no message is in two relays.
 * The kernel decides which of the two holds: no process listens at the path of a dead one.
 */
import { connect, type Socket } from 'node:net'
import type { HeldMessage } from '../mailbox/mailbox.ts'
import type { Spent } from '../relay/senders.ts'
import type { Address } from '../transport/address.ts'
import { Channel, ChannelError } from './channel.ts'
import { MessageReader } from './message.ts'
import { PATIENCE_MS } from './predecessor.ts'
import { decodeRecord, decodeSpent, encodeRecord, type HandoverRecord, type Refusal, VERSION } from './record.ts'

/** A dying process may stop listening a moment after its connections end. */
const DYING_MS = 1_000
const LOOK_MS = 25

/**
 * Why the takeover failed. `proof`: the secrets differ, or no relay listens there. `broken`: the other relay broke
 * off or stalled, and continues. `interrupted`: the caller aborted. `unreachable`: this user may not connect to the path.
 * The other words are refusals of the other relay.
 */
export type HandoverProblem = Refusal | 'proof' | 'broken' | 'interrupted' | 'unreachable'

export class HandoverError extends Error {
  readonly problem: HandoverProblem

  constructor(problem: HandoverProblem) {
    super(problem)
    this.name = 'HandoverError'
    this.problem = problem
  }
}

export interface SuccessorOptions {
  readonly address: Address & { kind: 'unix' }
  readonly psk: Uint8Array
  /** The memory for messages, bytes. */
  readonly memory: number
  /** Aborts the takeover; the other relay then continues. */
  readonly signal: AbortSignal
  readonly patience?: number
  /** For how long a dead process may still seem to listen, ms. */
  readonly dying?: number
}

/** A takeover under way. The caller uses the members in this order, each once. */
export interface Succession {
  /** 32 bytes each; the caller overwrites them. */
  readonly secrets: { readonly boot: Buffer; readonly token: Buffer }
  /**
   * Receives the budgets and every message. Afterwards the addresses of the doors are free.
   * @returns the percentage of the messages that arrived: less than 100 if the other relay died
   * @throws HandoverError
   */
  fill(onMessage: (message: HeldMessage) => void, onSpent: (spent: Spent) => void): Promise<number>
  /** Reports that every door is open; resolves when the other relay serves no client any more. @throws HandoverError */
  opened(): Promise<void>
  /** Gives up; the other relay continues. */
  abandon(): void
}

/** Begins a takeover. @returns undefined if no relay listens. @throws HandoverError */
export async function findPredecessor(options: SuccessorOptions): Promise<Succession | undefined> {
  const {
    address: { path },
    psk,
    memory,
    signal,
    patience = PATIENCE_MS,
    dying = DYING_MS,
  } = options
  const socket = await reach(path)
  if (socket === undefined) return undefined
  const onAbort = (): void => void socket.destroy()
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  socket.on('close', () => signal.removeEventListener('abort', onAbort))

  /** Returns if the other relay is dead. @throws HandoverError if it lives */
  const died = async (error: unknown, problem: HandoverProblem): Promise<undefined> => {
    socket.destroy()
    if (!(error instanceof ChannelError)) throw error
    if (signal.aborted) throw new HandoverError('interrupted')
    if (await listens(path, dying)) throw new HandoverError(problem)
    return undefined
  }
  let channel: Channel
  try {
    channel = await Channel.open(socket, { psk, patience })
  } catch (error) {
    return died(error, 'proof')
  }
  try {
    await channel.send(encodeRecord({ kind: 'take', version: VERSION, memory }))
    const answer = await channel.receive()
    const record = decodeRecord(answer)
    if (record.kind === 'refused') throw new HandoverError(record.reason)
    if (record.kind !== 'give') throw new ChannelError('forged')
    const secrets = { boot: Buffer.from(record.boot), token: Buffer.from(record.token) }
    answer.fill(0)
    return createSuccession(channel, secrets, record.messages, died)
  } catch (error) {
    if (error instanceof HandoverError) {
      channel.close()
      throw error
    }
    return died(error, 'broken')
  }
}

function createSuccession(
  channel: Channel,
  secrets: Succession['secrets'],
  messages: number,
  died: (error: unknown, problem: HandoverProblem) => Promise<undefined>,
): Succession {
  let isDead = false
  return {
    secrets,
    async fill(onMessage, onSpent) {
      const reader = new MessageReader(onMessage)
      try {
        await receiveAll(channel, reader, onSpent)
        await channel.send(encodeRecord({ kind: 'held' }))
        expect(decodeRecord(await channel.receive()), 'released')
        return 100
      } catch (error) {
        await died(error, 'broken')
        isDead = true
        return messages === 0 ? 100 : Math.min(100, Math.floor((reader.count / messages) * 100))
      } finally {
        reader.clear()
      }
    },
    async opened() {
      if (isDead) return
      try {
        await channel.send(encodeRecord({ kind: 'opened' }))
        expect(decodeRecord(await channel.receive()), 'done')
        channel.close()
      } catch (error) {
        await died(error, 'broken')
      }
    },
    abandon: () => channel.close(),
  }
}

async function receiveAll(channel: Channel, reader: MessageReader, onSpent: (spent: Spent) => void): Promise<void> {
  for (;;) {
    const bytes = await channel.receive()
    const record = decodeRecord(bytes)
    if (record.kind === 'messages' || record.kind === 'spent') {
      if (record.kind === 'messages') reader.push(record.bytes)
      else for (const spent of decodeSpent(record.bytes)) onSpent(spent)
      bytes.fill(0)
      await channel.send(encodeRecord({ kind: 'read' }))
      continue
    }
    expect(record, 'end')
    if (record.kind === 'end' && (!reader.isWhole || record.messages !== reader.count)) throw new ChannelError('forged')
    return
  }
}

/** @throws HandoverError if the other relay broke off, ChannelError if another record came */
function expect(record: HandoverRecord, kind: HandoverRecord['kind']): void {
  if (record.kind === 'abort') throw new HandoverError('broken')
  if (record.kind !== kind) throw new ChannelError('forged')
}

/** Connects. @returns undefined if no process listens */
function reach(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path })
    socket.once('connect', () => resolve(socket))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve(undefined)
      else reject(new HandoverError('unreachable'))
    })
  })
}

/** Returns whether a process still listens there after a moment. @param ms for how long it may seem so after a death */
async function listens(path: string, ms: number): Promise<boolean> {
  const until = performance.now() + ms
  for (;;) {
    const socket = await reach(path)
    if (socket === undefined) return false
    socket.destroy()
    if (performance.now() >= until) return true
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}
