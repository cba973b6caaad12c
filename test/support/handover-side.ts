/**
 * One side of a handover, in this thread or as a worker, whose event loop a test can stop at a step. A step is the kind of
 * a record, and whether the side is about to send it, has sent it or has read it.
 */
import { randomBytes } from 'node:crypto'
import { isMainThread, parentPort } from 'node:worker_threads'
import { Channel } from '../../src/handover/channel.ts'
import { listenForSuccessor, type Predecessor } from '../../src/handover/predecessor.ts'
import { decodeRecord, type HandoverRecord } from '../../src/handover/record.ts'
import { findPredecessor, HandoverError } from '../../src/handover/successor.ts'
import { createMessages, createOwner } from './handover.ts'

export type Step = `${'sending' | 'sent' | 'read'} ${HandoverRecord['kind']}`

export const MESSAGES = createMessages(300)

export interface Start {
  readonly side: 'predecessor' | 'successor'
  readonly path: string
  readonly patience: number
}

/** How a side ended. */
export interface End {
  /** Whether it holds the messages, and will serve them or goes on serving them. */
  readonly holds: boolean
  /** How many. */
  readonly count: number
  /** The successor's problem, or the predecessor's log. */
  readonly told: string
}

export interface Side {
  /** Resolves when the predecessor listens. */
  readonly ready: Promise<void>
  readonly end: Promise<End>
  /** Tells the side to stop, as a signal does. */
  stop(): void
  /** Ends the process, as far as the other side can see it. */
  leave(): Promise<void>
}

let onStep: (step: Step) => void = () => {}

/** Calls `listener` at each step of the sides in this thread. */
export function watchSteps(listener: (step: Step) => void): void {
  onStep = listener
}

const { send, receive } = Channel.prototype
Channel.prototype.send = async function (this: Channel, record) {
  const { kind } = decodeRecord(Buffer.from(record))
  onStep(`sending ${kind}`)
  await send.call(this, record)
  onStep(`sent ${kind}`)
}
Channel.prototype.receive = async function (this: Channel) {
  const bytes = await receive.call(this)
  onStep(`read ${decodeRecord(Buffer.from(bytes)).kind}`)
  return bytes
}

const PSK = Buffer.alloc(32)

export function begin({ side, path, patience }: Start): Side {
  const address = { kind: 'unix', path } as const
  if (side === 'predecessor') return beginPredecessor(address, patience)
  const stop = new AbortController()
  let leave = (): void => {}
  const end = (async (): Promise<End> => {
    let count = 0
    try {
      const succession = await findPredecessor({ address, psk: PSK, memory: 1e9, signal: stop.signal, times: { patience, dying: 30 } })
      if (succession === undefined) return { holds: false, count: 0, told: 'no relay' }
      leave = () => succession.abandon()
      await succession.fill(
        () => count++,
        () => {},
      )
      await succession.opened()
      return { holds: succession.owns, count, told: '' }
    } catch (error) {
      if (!(error instanceof HandoverError)) throw error
      return { holds: false, count: 0, told: error.problem }
    }
  })()
  return { ready: Promise.resolve(), end, stop: () => stop.abort(), leave: async () => leave() }
}

function beginPredecessor(address: { readonly kind: 'unix'; readonly path: string }, patience: number): Side {
  const logged: string[] = []
  const { promise: end, resolve } = Promise.withResolvers<End>()
  const owner = createOwner(MESSAGES)
  const { resume } = owner
  const goOn = (): void => {
    resume()
    resolve({ holds: !stopped, count: MESSAGES.length, told: logged.join(', ') })
  }
  let stopped = false
  let predecessor: Predecessor | undefined
  const ready = (async () => {
    predecessor = await listenForSuccessor({
      address,
      psk: PSK,
      handing: { ...owner, resume: goOn },
      log: { event: (name, fields = {}) => void logged.push([name, ...Object.values(fields)].join(' ')) },
      times: { patience },
    })
    void predecessor.handedOver.then(() => resolve({ holds: false, count: 0, told: logged.join(', ') }))
  })()
  const close = async (): Promise<void> => {
    await ready
    await predecessor?.close()
  }
  return {
    ready,
    end,
    stop() {
      stopped = true
      void close()
    },
    leave: close,
  }
}

type Order = { readonly begin: Start; readonly stopAt: Step; readonly gate: Int32Array } | { readonly leave: true }

if (!isMainThread) {
  // A worker may not set it; the folder of these sockets is the test's own.
  process.umask = () => 0o077
  let side: Side | undefined
  parentPort?.on('message', async (order: Order) => {
    if ('leave' in order) {
      await side?.leave()
      return parentPort!.postMessage('left', [])
    }
    let reached = false
    watchSteps((step) => {
      if (step !== order.stopAt || reached) return
      reached = true
      parentPort!.postMessage('stopped', [])
      // Neither timers nor sockets move until the test opens the gate: to the system, the process is stopped.
      Atomics.wait(order.gate, 0, 0)
    })
    side = begin(order.begin)
    await side.ready
    parentPort!.postMessage('ready', [])
    parentPort!.postMessage(await side.end, [])
  })
}

/** A path that no other test uses. */
export function drawName(): string {
  return randomBytes(8).toString('hex')
}
