/**
 * Stops the event loop of each side, and sends each side a signal, at every step of a handover. A stopped side is a worker
 * whose thread waits, so its timers and its sockets stand still as they do under SIGSTOP; the other side comes to its end
 * meanwhile. At the end exactly one relay holds all messages. An outcome of two copies needs a stop between two
 * statements, which no step here is.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { begin, drawName, type End, MESSAGES, type Side, type Start, type Step, watchSteps } from '../support/handover-side.ts'

/** Long enough for each step on a busy machine, since the outcome of most tests depends on it. */
const PATIENCE = 400
const COUNT = MESSAGES.length

const PREDECESSOR_STEPS = [
  'read take',
  'sending give',
  'sent give',
  'sending messages',
  'sent messages',
  'read read',
  'sending end',
  'sent end',
  'read held',
  'sending released',
  'sent released',
  'read opened',
  'sending done',
  'sent done',
  'read owned',
] as const satisfies readonly Step[]

const SUCCESSOR_STEPS = [
  'sending take',
  'sent take',
  'read give',
  'read messages',
  'sending read',
  'sent read',
  'read end',
  'sending held',
  'sent held',
  'read released',
  'sending opened',
  'sent opened',
  'read done',
  'sending owned',
  'sent owned',
] as const satisfies readonly Step[]

const folder = mkdtempSync(join(tmpdir(), 'asfaleia-interruption-'))
let worker: Worker
beforeAll(() => {
  worker = new Worker(new URL('../support/handover-side.ts', import.meta.url))
})
afterAll(async () => {
  await worker.terminate()
  rmSync(folder, { recursive: true })
})

const sides: Side[] = []
afterEach(async () => {
  watchSteps(() => {})
  for (const side of sides.splice(0)) await side.leave()
})

function beginHere(side: Start['side'], path: string): Side {
  const begun = begin({ side, path, patience: PATIENCE })
  sides.push(begun)
  return begun
}

/** A side in the worker, which stops at a step until `go`. */
class Stopped {
  readonly #gate = new Int32Array(new SharedArrayBuffer(4))
  readonly ready: Promise<unknown>
  readonly stopped: Promise<unknown>
  readonly end: Promise<End>

  constructor(start: Start, stopAt: Step) {
    const hear = (wanted: (message: unknown) => boolean): Promise<unknown> =>
      new Promise((resolve) => {
        const listener = (message: unknown): void => {
          if (!wanted(message)) return
          worker.off('message', listener)
          resolve(message)
        }
        worker.on('message', listener)
      })
    this.ready = hear((message) => message === 'ready')
    this.stopped = hear((message) => message === 'stopped')
    this.end = hear((message) => typeof message === 'object') as Promise<End>
    worker.postMessage({ begin: start, stopAt, gate: this.#gate }, [])
  }

  go(): void {
    Atomics.store(this.#gate, 0, 1)
    Atomics.notify(this.#gate, 0)
  }

  async leave(): Promise<void> {
    worker.postMessage({ leave: true }, [])
    await once(worker, 'message')
  }
}

const path = (): string => join(folder, drawName())

interface Outcome {
  readonly predecessor: End
  readonly successor: End
}

/** Returns the sides that hold every message. */
function holders({ predecessor, successor }: Outcome): string[] {
  return [
    ...(predecessor.holds && predecessor.count === COUNT ? ['predecessor'] : []),
    ...(successor.holds && successor.count === COUNT ? ['successor'] : []),
  ]
}

/** Stops a predecessor at a step. `meanwhile` runs once it stands still; then the successor ends, then it goes on. */
async function stopPredecessor(step: Step, meanwhile: (successor: Side) => void = () => {}): Promise<Outcome> {
  const at = path()
  const stopped = new Stopped({ side: 'predecessor', path: at, patience: PATIENCE }, step)
  await stopped.ready
  const here = beginHere('successor', at)
  await stopped.stopped
  meanwhile(here)
  const successor = await here.end
  stopped.go()
  const predecessor = await stopped.end
  await stopped.leave()
  return { predecessor, successor }
}

/** Stops a successor at a step. `meanwhile` runs once it stands still; then the predecessor ends, then it goes on. */
async function stopSuccessor(step: Step, meanwhile: (predecessor: Side) => void = () => {}): Promise<Outcome> {
  const at = path()
  const here = beginHere('predecessor', at)
  await here.ready
  const stopped = new Stopped({ side: 'successor', path: at, patience: PATIENCE }, step)
  await stopped.stopped
  meanwhile(here)
  const predecessor = await here.end
  stopped.go()
  const successor = await stopped.end
  await stopped.leave()
  return { predecessor, successor }
}

const NEVER_ASKED: End = { holds: true, count: COUNT, told: '' }

describe('a predecessor that is stopped', () => {
  it.each(PREDECESSOR_STEPS)('at the step "%s"', async (step) => {
    const outcome = await stopPredecessor(step)
    const last = step === 'sent done' || step === 'read owned'
    expect(holders(outcome)).toEqual([last ? 'successor' : 'predecessor'])
    if (!last) expect(outcome.successor.told).toBe('stalled')
  })

  it.each(PREDECESSOR_STEPS)('at the step "%s", while its successor gets a signal', async (step) => {
    const outcome = await stopPredecessor(step, (successor) => successor.stop())
    const last = step === 'sent done' || step === 'read owned'
    // The signal and `done` cross.
    expect(holders(outcome)).toHaveLength(1)
    if (!last) expect([holders(outcome), outcome.successor.told]).toEqual([['predecessor'], 'interrupted'])
  })

  it('after `done`, while its successor serves and then ends: it has every message', async () => {
    const at = path()
    const stopped = new Stopped({ side: 'predecessor', path: at, patience: PATIENCE }, 'sent done')
    await stopped.ready
    const here = beginHere('successor', at)
    await stopped.stopped
    expect(await here.end).toMatchObject({ holds: true, count: COUNT })
    await here.leave()
    stopped.go()
    expect(await stopped.end).toMatchObject({ holds: true, count: COUNT })
    await stopped.leave()
  })
})

describe('a successor that is stopped', () => {
  it.each(SUCCESSOR_STEPS.slice(1))('at the step "%s"', async (step) => {
    const outcome = await stopSuccessor(step)
    expect(holders(outcome)).toEqual([step === 'sent owned' ? 'successor' : 'predecessor'])
  })

  it.each(SUCCESSOR_STEPS.slice(SUCCESSOR_STEPS.indexOf('read end')))(
    'at the step "%s", while its predecessor gets a signal: it keeps every message',
    async (step) => {
      expect(holders(await stopSuccessor(step, (predecessor) => predecessor.stop()))).toEqual(['successor'])
    },
  )
})

describe('a signal', () => {
  async function signal(side: Start['side'], at: Step): Promise<Outcome> {
    const where = path()
    const predecessor = beginHere('predecessor', where)
    await predecessor.ready
    let sent = false
    watchSteps((step) => {
      if (step !== at || sent) return
      sent = true
      if (side === 'predecessor') predecessor.stop()
      else successor.stop()
    })
    const successor = beginHere('successor', where)
    const ends = { successor: await successor.end, predecessor: at === 'sending take' ? NEVER_ASKED : await predecessor.end }
    expect(sent).toBe(true)
    return ends
  }

  it.each(SUCCESSOR_STEPS)('to a successor at the step "%s"', async (step) => {
    const outcome = await signal('successor', step)
    if (step === 'sending owned' || step === 'sent owned') expect(holders(outcome)).toEqual(['successor'])
    else expect([holders(outcome), outcome.successor.told]).toEqual([['predecessor'], 'interrupted'])
  })

  it.each(PREDECESSOR_STEPS)('to a predecessor at the step "%s"', async (step) => {
    expect(holders(await signal('predecessor', step))).toEqual(['successor'])
  })
})
