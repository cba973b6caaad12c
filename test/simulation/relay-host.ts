/** A relay's machine: starts, kills, restarts and upgrades the process that runs a {@link Relay} at one onion address. */
import { createSecretKey } from 'node:crypto'
import { type Handing, listenForSuccessor } from '../../src/handover/predecessor.ts'
import { findPredecessor, HandoverError } from '../../src/handover/successor.ts'
import type { Log } from '../../src/log.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { Relay, type RelaySecrets } from '../../src/relay/relay.ts'
import type { Member } from '../../src/relay/roster.ts'
import type { ByteStream, Receiver } from '../../src/relay/stream.ts'
import { Machine, type Process } from './kernel.ts'
import type { Person } from './person.ts'
import type { World } from './world.ts'

/** Bytes for messages. */
export const RELAY_MEMORY = 8 * 2 ** 20

export class RelayHost {
  readonly name: string
  /** Its onion address, and the one that it is leaving. */
  address: string
  leaving: string | undefined
  /** The addresses that it had before, with the one that it is leaving. */
  readonly former: string[] = []
  readonly machine: Machine
  readonly #world: World
  /** The keys that it admits; undefined if it is open. */
  admits: readonly Member[] | undefined
  /** Since when it runs, and does so under the same conditions. */
  steadySince = 0
  /** When it lost all messages last, or may have. */
  lostAt = 0
  /** The same for a loss that no client can notice, or that may be none. */
  liedAt = 0
  /** For how long it holds a message, seconds. */
  readonly hold: number
  process: Process | undefined
  relay: Relay | undefined
  /** Messages that the present process took over from another. */
  restored = 0
  /** The process that takes over, or wants to. */
  #next: Process | undefined
  #killsAtDoors = false
  /** Messages that the relay gave away when it was suspended last. */
  #given = 0

  /** @param options.hold seconds for which it holds a message, if not the usual ones */
  constructor(
    world: World,
    name: string,
    address: string,
    { admits, hold = DEFAULT_LIMITS.holdSeconds }: { readonly admits: readonly Member[] | undefined; readonly hold?: number | undefined },
  ) {
    this.#world = world
    this.name = name
    this.address = address
    this.admits = admits
    this.hold = hold
    this.machine = new Machine(world.kernel, name)
  }

  start(): void {
    if (this.process !== undefined) return
    this.restored = 0
    this.#changed()
    this.lostAt = this.#world.kernel.now
    const process: Process = this.#world.kernel.spawn(this.name, this.machine, () => {
      this.relay = this.#open(process, undefined)
      this.#listen(process, this.relay)
      void this.#awaitSuccessor(process, this.relay)
    })
    this.process = process
  }

  /**
   * Upgrades the relay: a new process takes over everything that the present one holds.
   * @param loses it loses every message instead. Tokens stay valid, so no client can notice
   */
  handOver(loses = false): void {
    if (this.process === undefined || this.relay === undefined || this.#next !== undefined) return
    this.#changed()
    const next: Process = this.#world.kernel.spawn(`${this.name}'`, this.machine, () => void this.#takeOver(next, loses))
    this.#next = next
    next.onDeath(() => {
      if (this.#next !== next) return
      this.#next = undefined
      this.#checkDeath()
    })
  }

  /** The relay gets another address, and keeps the old one for a while. */
  rotate(address: string): void {
    const { kernel } = this.#world
    if (this.leaving !== undefined) return
    this.leaving = this.address
    this.former.push(this.address)
    this.address = address
    this.#changed()
    const { process, relay } = this
    if (process === undefined || relay === undefined) return
    kernel.at(kernel.now, process, () => {
      relay.addName(address, undefined, [this.leaving!])
      this.#listen(process, relay)
    })
  }

  /** The old address ends. */
  retire(): void {
    if (this.leaving === undefined) return
    if (this.process !== undefined) this.#world.network.deafen(this.leaving, this.process)
    this.leaving = undefined
    this.#changed()
  }

  /** The operator changes the list of keys. */
  admit(members: readonly Member[]): void {
    const { kernel } = this.#world
    this.admits = members
    this.#changed()
    this.lostAt = this.liedAt = kernel.now
    if (this.process !== undefined) kernel.at(kernel.now, this.process, () => this.relay?.admit(members))
  }

  /** Whether a person has a mailbox here. */
  receives({ identity }: Person): boolean {
    const { fingerprint } = identity.key
    return this.admits === undefined || this.admits.some((member) => Buffer.compare(member.fingerprint, fingerprint) === 0)
  }

  #changed(): void {
    this.steadySince = this.#world.kernel.now
  }

  /** Kills the process that takes over. */
  killNext(): void {
    this.#next?.kill()
  }

  /** Kills the process that takes over, if there is one, once the one before has closed its doors. */
  killNextAtDoors(): void {
    this.#killsAtDoors = this.#next !== undefined
  }

  /** Kills the process. Its messages are lost, unless another one has taken over. */
  kill(): void {
    this.#changed()
    this.lostAt = this.#world.kernel.now
    this.process?.kill()
    this.process = undefined
    this.relay = undefined
  }

  /** Ends the relay as an operator does. Its messages are lost. */
  stop(): void {
    const { kernel } = this.#world
    this.#changed()
    const { process, relay } = this
    if (process === undefined || relay === undefined) return
    kernel.at(kernel.now, process, () => {
      this.#deafen(process)
      void relay.close().then(() => {
        process.kill()
        if (this.process === process) this.kill()
      })
    })
  }

  /** The operator wipes all messages in a panic. */
  wipe(): void {
    const { kernel, truth } = this.#world
    this.#changed()
    this.lostAt = kernel.now
    if (this.process === undefined) return
    kernel.at(kernel.now, this.process, () => {
      this.relay?.wipe()
      const left = this.relay?.snapshot().messages ?? 0
      if (left > 0) truth.violate(4, `${this.name} was wiped, and holds ${left} messages`)
    })
  }

  #open(process: Process, inherited: RelaySecrets | undefined): Relay {
    const { truth } = this.#world
    return new Relay({
      limits: { ...DEFAULT_LIMITS, holdSeconds: this.hold },
      memory: RELAY_MEMORY,
      connections: 200,
      unproven: 50,
      perCircuit: 64,
      perKey: 16,
      perSender: 2 ** 26,
      names: [this.address],
      movedFrom: this.leaving === undefined ? [] : [this.leaving],
      admit: this.admits,
      inherited,
      onFault: (error) => truth.violate(0, `${process.name} reports an internal error: ${String(error)}`),
    })
  }

  #listen(process: Process, relay: Relay): void {
    const accept = (stream: ByteStream): Receiver => {
      const { accepting, connections } = relay.snapshot()
      const receiver = relay.accept(stream, 'tcp')
      if (!accepting && relay.snapshot().connections > connections)
        this.#world.truth.violate(1, `${this.name} takes a connection while it hands over`)
      return receiver
    }
    for (const address of this.addresses) this.#world.network.listen(address, process, accept)
  }

  /** Those at which it takes connections. */
  get addresses(): readonly string[] {
    return this.leaving === undefined ? [this.address] : [this.address, this.leaving]
  }

  #deafen(process: Process): void {
    for (const address of this.addresses) this.#world.network.deafen(address, process)
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
    const { kernel } = this.#world
    const handing: Handing = {
      bytes: () => relay.heldBytes,
      suspend: async () => {
        const estate = await relay.suspend()
        this.#given = estate.messages
        return estate
      },
      resume: () => relay.resume(),
      release: async () => {
        this.#deafen(process)
        if (this.#killsAtDoors) kernel.at(kernel.now, undefined, () => this.killNext())
        this.#killsAtDoors = false
      },
      reopen: async () => this.#listen(process, relay),
    }
    try {
      const predecessor = await listenForSuccessor({ address: this.#socket, psk: PSK, handing, log: this.#log })
      await predecessor.handedOver
      await predecessor.close()
      await relay.close()
      process.kill()
      if (this.process === process) this.#checkDeath()
    } catch (error) {
      kernel.fail(error)
    }
  }

  /** A process that took everything over may die at once: then the relay is down. */
  #checkDeath(): void {
    if (this.process?.isAlive === false && this.#next === undefined) this.kill()
  }

  async #takeOver(process: Process, loses: boolean): Promise<void> {
    const { kernel, truth } = this.#world
    const since = kernel.now
    let restored = 0
    try {
      const { signal } = new AbortController()
      const succession = await findPredecessor({ address: this.#socket, psk: PSK, memory: RELAY_MEMORY, signal })
      if (succession === undefined) return process.kill()
      const { secrets } = succession
      const { address, admits } = this
      const relay = this.#open(process, { boot: createSecretKey(secrets.boot), token: createSecretKey(secrets.token) })
      const percent = await succession.fill(
        (message) => {
          if (loses) return
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
      if (loses) {
        truth.count('fault: relay lied')
        this.lostAt = this.liedAt = kernel.now
      }
      // The relay before died: tokens stay valid here, too, so no client can notice.
      else if (percent < 100) this.lostAt = this.liedAt = kernel.now
      else if (restored !== this.#given) truth.violate(1, `${this.name} gave ${this.#given} messages, and its successor has ${restored}`)
      // The relay before was killed meanwhile: what counts as lost may be here.
      if (this.lostAt >= since) this.liedAt = kernel.now
      this.restored = restored
      this.relay = relay
      this.process = process
      this.#next = undefined
      this.#changed()
      relay.resume()
      // The operator may have changed the names and the list since the process began.
      if (this.address !== address) relay.addName(this.address, undefined, this.leaving === undefined ? [] : [this.leaving])
      if (this.admits !== admits) relay.admit(this.admits)
      await this.#awaitFree()
      void this.#awaitSuccessor(process, relay)
    } catch (error) {
      if (!(error instanceof HandoverError)) return kernel.fail(error)
      truth.tell(this.name, `does not take over: ${error.problem}`)
      truth.count(`handover: ${error.problem}`)
      if (this.process?.isAlive === true && this.steadySince <= since && this.machine.awakeSince < since)
        truth.violate(1, `${this.name} cannot be upgraded, and nothing hinders it: ${error.problem}`)
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
