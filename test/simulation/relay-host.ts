/** A relay's machine: starts, kills and restarts the process that runs a {@link Relay} at one onion address. */
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { Relay } from '../../src/relay/relay.ts'
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
    const { kernel, network, truth } = this.#world
    const process = kernel.spawn(this.name, this.machine, () => {
      const relay = new Relay({
        limits: DEFAULT_LIMITS,
        memory: RELAY_MEMORY,
        connections: 200,
        unproven: 50,
        perCircuit: 64,
        perKey: 16,
        perSender: 2 ** 26,
        names: [this.address],
        admit: this.admits,
        onFault: (error) => truth.violate(0, `${this.name} reports an internal error: ${String(error)}`),
      })
      this.relay = relay
      network.listen(this.address, process, (stream) => relay.accept(stream, 'tcp'))
    })
    this.process = process
  }

  /** Kills the process. Its messages are lost. */
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
}
