/**
 * The side that hands over: listens for a successor, and sends it everything that the relay holds. Any failure before
 * the successor listens at its doors leaves the relay as it was (docs/decisions/0009-handover.md). This module erases
 * nothing; its caller does so when `handedOver` resolves.
 */
import type { Server, Socket } from 'node:net'
import type { Log } from '../log.ts'
import type { Estate } from '../relay/relay.ts'
import type { Address } from '../transport/address.ts'
import { createSocketServer, listen } from '../transport/socket.ts'
import { Channel, ChannelError, MAX_RECORD_BYTES } from './channel.ts'
import { MessageWriter } from './message.ts'
import {
  decodeRecord,
  encodeRecord,
  encodeSpent,
  type Failure,
  type HandoverRecord,
  MESSAGES_KIND,
  type Refusal,
  VERSION,
} from './record.ts'

/** The longest time for each step of the other side, ms. */
export const PATIENCE_MS = 30_000
/** Only the relay's user. */
const SOCKET_MODE = 0o600
/** The most records that the successor has not yet read: a megabyte. */
const WINDOW = 16
/** The most sockets at once, with and without a proof. */
const SOCKETS = 8

/** The relay's part in a handover. */
export interface Handing {
  /** How many bytes its messages occupy now. */
  bytes(): number
  /** Ends every connection, accepts no new one, and returns everything to hand over. */
  suspend(): Promise<Estate>
  /** Serves again as before. */
  resume(): void
  /** Frees every address that the successor may need. */
  release(): Promise<void>
  /** Listens at them again; tries until it succeeds, or the relay closes. */
  reopen(): Promise<void>
}

export interface PredecessorOptions {
  readonly address: Address
  readonly psk: Uint8Array
  readonly handing: Handing
  readonly log: Log
  readonly patience?: number
}

export interface Predecessor {
  /** Resolves when a successor serves. */
  readonly handedOver: Promise<void>
  /** Stops listening, after a handover that is under way has ended. */
  close(): Promise<void>
}

class Wiped extends Error {}

/** Starts to listen. @throws ListenError of src/transport/socket.ts */
export async function listenForSuccessor(options: PredecessorOptions): Promise<Predecessor> {
  const { address, psk, handing, log, patience = PATIENCE_MS } = options
  const sockets = new Set<Socket>()
  const { promise: handedOver, resolve: onHandedOver } = Promise.withResolvers<void>()
  let underWay: Promise<void> | undefined

  const serve = async (socket: Socket): Promise<void> => {
    let channel: Channel
    let take: HandoverRecord
    try {
      channel = await Channel.accept(socket, { psk, patience })
      take = decodeRecord(await channel.receive())
      if (take.kind !== 'take') throw new ChannelError('forged')
    } catch (error) {
      socket.destroy()
      if (!(error instanceof ChannelError)) throw error
      // A process that only checked whether we listen is not a successor.
      if (error.problem !== 'silent') log.event('handover-refused', { reason: 'proof' })
      return
    }
    const refusal = refuse(take)
    if (refusal !== undefined) {
      log.event('handover-refused', { reason: refusal })
      await channel.send(encodeRecord({ kind: 'refused', reason: refusal })).catch(() => {})
      channel.close('after sending')
      return
    }
    underWay = handOver(channel, handing, log, stop).then((done) => {
      underWay = undefined
      if (done) onHandedOver()
    })
    await underWay
  }
  const refuse = (take: HandoverRecord & { kind: 'take' }): Refusal | undefined => {
    if (take.version !== VERSION) return 'version'
    if (underWay !== undefined) return 'busy'
    return take.memory < handing.bytes() ? 'memory' : undefined
  }
  const server: Server = createSocketServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    serve(socket).catch(() => {
      socket.destroy()
      log.event('internal-error', { origin: 'handover' })
    })
  })
  server.maxConnections = SOCKETS
  const stop = (): void => void server.close()
  await listen(server, address, SOCKET_MODE)
  return {
    handedOver,
    async close() {
      await underWay
      const closed = new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/**
 * Hands over.
 * @param stop stops listening for successors
 * @returns whether the successor serves now
 */
async function handOver(channel: Channel, handing: Handing, log: Log, stop: () => void): Promise<boolean> {
  let released = false
  log.event('handover-started')
  try {
    await giveAll(channel, await handing.suspend())
    released = true
    await handing.release()
    await channel.send(encodeRecord({ kind: 'released' }))
    await expectRecord(channel, 'opened')
  } catch (error) {
    log.event('handover-failed', { reason: reasonOf(error) })
    await channel.send(encodeRecord({ kind: 'abort' })).catch(() => {})
    channel.close('after sending')
    if (released) await handing.reopen()
    handing.resume()
    return false
  }
  // From here on the successor serves, even if `done` gets lost: it then finds that no process listens here.
  stop()
  log.event('handed-over')
  await channel.send(encodeRecord({ kind: 'done' })).catch(() => {})
  channel.close('after sending')
  return true
}

async function giveAll(channel: Channel, estate: Estate): Promise<void> {
  const boot = estate.secrets.boot.export()
  const token = estate.secrets.token.export()
  const secrets = encodeRecord({ kind: 'give', boot, token, messages: estate.messages })
  await channel.send(secrets)
  for (const secret of [boot, token, secrets]) secret.fill(0)
  const writer = new MessageWriter(estate.held())
  const record = Buffer.alloc(MAX_RECORD_BYTES)
  record[0] = MESSAGES_KIND
  try {
    let unread = 0
    const give = async (part: Uint8Array): Promise<void> => {
      await channel.send(part)
      if (++unread < WINDOW) return
      await expectRecord(channel, 'read')
      unread--
    }
    for (const spent of encodeSpent(estate.spent())) await give(spent)
    for (;;) {
      const length = writer.write(record.subarray(1))
      if (!estate.intact()) throw new Wiped()
      if (length === 0) break
      await give(record.subarray(0, 1 + length))
    }
    await channel.send(encodeRecord({ kind: 'end', messages: writer.count }))
    for (; unread > 0; unread--) await expectRecord(channel, 'read')
  } finally {
    record.fill(0)
  }
  await expectRecord(channel, 'held')
  if (!estate.intact()) throw new Wiped()
}

async function expectRecord(channel: Channel, kind: HandoverRecord['kind']): Promise<void> {
  if (decodeRecord(await channel.receive()).kind !== kind) throw new ChannelError('forged')
}

function reasonOf(error: unknown): Failure {
  if (error instanceof Wiped) return 'wiped'
  return error instanceof ChannelError ? error.problem : 'fault'
}
