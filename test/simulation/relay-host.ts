/** A relay's machine: starts, kills, restarts and upgrades the process that runs a {@link Relay} at one onion address. */
import { createSecretKey } from 'node:crypto'
import { type Handing, listenForSuccessor } from '../../src/handover/predecessor.ts'
import { findPredecessor, HandoverError } from '../../src/handover/successor.ts'
import type { Log } from '../../src/log.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { Relay, type RelaySecrets } from '../../src/relay/relay.ts'
import type { Member } from '../../src/relay/roster.ts'
import { Machine, type Process } from './kernel.ts'
import type { World } from './world.ts'

/** Bytes for messages. */
export const RELAY_MEMORY = 8 * 2 ** 20

export class RelayHost {
  readonly name: string
  /** Its onion address. */
  readonly address: string
  readonly machine: Machine
  readonly #world: World
  /** The keys that it admits; undefined if it is open. */
  readonly admits: readonly Member[] | undefined
  process: Process | undefined
  relay: Relay | undefined
  /** Messages that the present process took over from another. */
  restored = 0
  /** The process that takes over, or wants to. */
  #next: Process | undefined
  /** Messages that the relay gave away when it was suspended last. */
  #given = 0

  constructor(world: World, name: string, address: string, admits: readonly Member[] | undefined) {
    this.#world = world
    this.name = name
    this.address = address
    this.admits = admits
    this.machine = new Machine(world.kernel, name)
  }

  start(): void {
    if (this.process !== undefined) return
    this.restored = 0
    const process: Process = this.#world.kernel.spawn(this.name, this.machine, () => {
      this.relay = this.#open(process, undefined)
      this.#listen(process, this.relay)
      void this.#awaitSuccessor(process, this.relay)
    })
    this.process = process
  }

  /** Upgrades the relay: a new process takes over everything that the present one holds. */
  handOver(): void {
    if (this.process === undefined || this.relay === undefined || this.#next !== undefined) return
    const next: Process = this.#world.kernel.spawn(`${this.name}'`, this.machine, () => void this.#takeOver(next))
    this.#next = next
    next.onDeath(() => {
      if (this.#next === next) this.#next = undefined
    })
  }

  /** Kills the process that takes over. */
  killNext(): void {
    this.#next?.kill()
  }

  /** Kills the process. Its messages are lost, unless another one has taken over. */
  kill(): void {
    this.process?.kill()
    this.process = undefined
    this.relay = undefined
  }

  /** Ends the relay as an operator does. Its messages are lost. */
  stop(): void {
    const { kernel, network } = this.#world
    const { process, relay } = this
    if (process === undefined || relay === undefined) return
    kernel.at(kernel.now, process, () => {
      network.deafen(this.address, process)
      void relay.close().then(() => {
        process.kill()
        if (this.process === process) this.kill()
      })
    })
  }

  /** The operator wipes all messages in a panic. */
  wipe(): void {
    const { kernel } = this.#world
    if (this.process !== undefined) kernel.at(kernel.now, this.process, () => this.relay?.wipe())
  }

  #open(process: Process, inherited: RelaySecrets | undefined): Relay {
    const { truth } = this.#world
    return new Relay({
      limits: DEFAULT_LIMITS,
      memory: RELAY_MEMORY,
      connections: 200,
      unproven: 50,
      perCircuit: 64,
      perKey: 16,
      perSender: 2 ** 26,
      names: [this.address],
      admit: this.admits,
      inherited,
      onFault: (error) => truth.violate(0, `${process.name} reports an internal error: ${String(error)}`),
    })
  }

  #listen(process: Process, relay: Relay): void {
    this.#world.network.listen(this.address, process, (stream) => relay.accept(stream, 'tcp'))
  }

  get #socket(): { readonly kind: 'unix'; readonly path: string } {
    return { kind: 'unix', path: `/run/${this.name}` }
  }

  get #log(): Log {
    const { truth } = this.#world
    return {
      event: (name) => {
        truth.count(`log: ${name}`)
        truth.tell(this.name, `logs ${name}`)
        if (name === 'internal-error') truth.violate(0, `${this.name} logs an internal error`)
      },
    }
  }

  /** As src/server/server.ts does. */
  async #awaitSuccessor(process: Process, relay: Relay): Promise<void> {
    const { network, kernel } = this.#world
    const handing: Handing = {
      bytes: () => relay.heldBytes,
      suspend: async () => {
        const estate = await relay.suspend()
        this.#given = estate.messages
        return estate
      },
      resume: () => relay.resume(),
      release: async () => network.deafen(this.address, process),
      reopen: async () => this.#listen(process, relay),
    }
    try {
      const predecessor = await listenForSuccessor({ address: this.#socket, psk: PSK, handing, log: this.#log })
      await predecessor.handedOver
      await predecessor.close()
      await relay.close()
      process.kill()
    } catch (error) {
      kernel.fail(error)
    }
  }

  async #takeOver(process: Process): Promise<void> {
    const { kernel, truth } = this.#world
    let restored = 0
    try {
      const { signal } = new AbortController()
      const succession = await findPredecessor({ address: this.#socket, psk: PSK, memory: RELAY_MEMORY, signal })
      if (succession === undefined) return process.kill()
      const { secrets } = succession
      const relay = this.#open(process, { boot: createSecretKey(secrets.boot), token: createSecretKey(secrets.token) })
      const percent = await succession.fill(
        (message) => {
          if (!relay.restore(message)) throw new HandoverError('memory')
          restored++
        },
        (spent) => relay.spend(spent),
        (bundle) => relay.restoreBundle(bundle),
      )
      this.#listen(process, relay)
      await succession.opened()
      truth.count('handovers')
      truth.tell(this.name, `takes over ${restored} messages`)
      if (percent === 100 && restored !== this.#given)
        truth.violate(1, `${this.name} gave ${this.#given} messages, and its successor has ${restored}`)
      this.restored = restored
      this.relay = relay
      this.process = process
      this.#next = undefined
      relay.resume()
      await this.#awaitFree()
      void this.#awaitSuccessor(process, relay)
    } catch (error) {
      if (!(error instanceof HandoverError)) return kernel.fail(error)
      truth.tell(this.name, `does not take over: ${error.problem}`)
      truth.count(`handover: ${error.problem}`)
      process.kill()
    }
  }

  /** The path of the socket becomes free when the process before has ended. */
  #awaitFree(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 5_000))
  }
}

/** The secret that both processes read from a file. */
const PSK = Buffer.alloc(32, 7)
