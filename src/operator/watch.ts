/**
 * Looks at the relay and at tor every few seconds, and logs changes that matter to an operator: memory or connections
 * nearly used up or free again, and tor's state. A value must fall by a margin before its state changes back, so that a
 * client cannot fill the log by moving it around a limit.
 */
import type { Log } from '../log.ts'
import type { Snapshot } from '../relay/counters.ts'
import type { TorState } from '../tor/state.ts'

export interface WatchSources {
  snapshot(): Snapshot
  /** The most connections at once. */
  readonly connections: number
  /** Resolves to undefined as long as tor's state is unknown. */
  readonly tor?: () => Promise<TorState | undefined>
}

const EVERY_MS = 5_000
const HIGH_PERCENT = 90
const OK_PERCENT = 75

export class Watch {
  readonly #sources: WatchSources
  readonly #log: Log
  readonly #memory = new Pressure()
  readonly #connections = new Pressure()
  #tor: TorState | undefined

  constructor(sources: WatchSources, log: Log) {
    this.#sources = sources
    this.#log = log
  }

  /** Looks once. */
  async look(): Promise<void> {
    const { connections, messageBytes, messageBudget } = this.#sources.snapshot()
    const memory = this.#memory.look(messageBytes, messageBudget)
    if (memory !== undefined) this.#log.event(`memory-${memory.state}`, { percent: memory.percent })
    const places = this.#connections.look(connections, this.#sources.connections)
    if (places !== undefined) this.#log.event(`connections-${places.state}`, { percent: places.percent })
    const tor = await this.#sources.tor?.()
    if (tor === undefined) return
    const known = this.#tor
    this.#tor = tor
    if (known?.summary === tor.summary && known.bootstrap === tor.bootstrap) return
    const { summary, bootstrap } = tor
    this.#log.event('tor-state', bootstrap === undefined ? { summary } : { summary, bootstrap })
  }
}

/** Looks every few seconds until it is stopped. */
export function startWatch(sources: WatchSources, log: Log): { stop(): void } {
  const watch = new Watch(sources, log)
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const turn = async (): Promise<void> => {
    await watch.look()
    if (!stopped) timer = setTimeout(() => void turn(), EVERY_MS).unref()
  }
  void turn()
  return {
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}

class Pressure {
  #isHigh = false

  look(used: number, most: number): { state: 'high' | 'ok'; percent: number } | undefined {
    const percent = Math.min(100, Math.floor((used / most) * 100))
    if (this.#isHigh ? percent > OK_PERCENT : percent < HIGH_PERCENT) return undefined
    this.#isHigh = !this.#isHigh
    return { state: this.#isHigh ? 'high' : 'ok', percent }
  }
}
