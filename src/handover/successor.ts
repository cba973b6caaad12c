/**
 * The side that takes over: asks the relay that listens there for all that it holds. Where that relay dies in the
 * middle, what has come is kept; where it lives, nothing is kept, so that no message is in two relays. Which of
 * the two it is, the system says: nobody listens any more at the path of a process that is dead.
 */
import { connect, type Socket } from 'node:net'
import type { HeldMessage } from '../mailbox/mailbox.ts'
import type { Spent } from '../relay/admission.ts'
import type { Address } from '../transport/address.ts'
import { Channel, ChannelError } from './channel.ts'
import { MessageReader } from './message.ts'
import { PATIENCE_MS } from './predecessor.ts'
import { decodeRecord, decodeSpent, encodeRecord, type HandoverRecord, type Refusal, VERSION } from './record.ts'

/** A dying process ends its connections moments before it listens no more, or after. */
const DYING_MS = 1_000
const LOOK_MS = 25

/**
 * Nothing was taken over. `proof`: the secrets differ, or no relay listens there. `broken`: the other relay broke
 * it off, or does not move, and goes on. `interrupted`: we were told to stop. `unreachable`: the path is not ours to
 * connect to. The rest as the other relay says.
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
  /** Bytes for messages. */
  readonly memory: number
  /** Ends it; the other relay goes on then. */
  readonly signal: AbortSignal
  readonly patience?: number
  /** For how long a process that died may seem to listen still, ms. */
  readonly dying?: number
}

/** What a relay that listens there gives; in this order, each once. */
export interface Succession {
  /** 32 bytes each; the caller overwrites them. */
  readonly secrets: { readonly boot: Buffer; readonly token: Buffer }
  /**
   * Hands on who has spent what, and every message; the doors are free then. Gives how much of all messages came,
   * percent: less than 100 where the other relay died. @throws HandoverError
   */
  fill(onMessage: (message: HeldMessage) => void, onSpent: (spent: Spent) => void): Promise<number>
  /** We listen at every door: resolves when the other relay will serve nobody any more. @throws HandoverError */
  opened(): Promise<void>
  /** Takes nothing over; the other relay goes on. */
  abandon(): void
}

/** @returns undefined where no relay listens. @throws HandoverError */
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

  /** Undefined if the other relay is dead; what is wrong, if it is not. */
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

/** @throws HandoverError where the other relay breaks off, ChannelError for what does not belong here */
function expect(record: HandoverRecord, kind: HandoverRecord['kind']): void {
  if (record.kind === 'abort') throw new HandoverError('broken')
  if (record.kind !== kind) throw new ChannelError('forged')
}

/** A connection; undefined where nobody listens. */
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

/** Whether somebody listens there still, a moment from now. */
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
