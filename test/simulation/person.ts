/** A person with a machine, a disk and a client: the real messenger over the profile's real state files. */
import { seedKey } from '../../src/auth/seed.ts'
import { openOutbox, openSeen } from '../../src/cli/profile/state.ts'
import type { OutboxEntry } from '../../src/client/delivery/entry.ts'
import { fingerprintOf } from '../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'
import type { Contact } from '../../src/client/messenger/contact.ts'
import type { MessengerEvent } from '../../src/client/messenger/event.ts'
import type { Received } from '../../src/client/messenger/inbox.ts'
import { type Messenger, openMessenger } from '../../src/client/messenger/messenger.ts'
import type { OutboxStore } from '../../src/client/messenger/options.ts'
import { connectThrough } from '../../src/client/wire/connect.ts'
import { type Disk, makeHome } from './disk.ts'
import { Machine, type Process } from './kernel.ts'
import type { World } from './world.ts'

/** Timers of a client that is well: those of its connections, and one of the messenger. */
const MOST_TIMERS = 64

export interface PersonOptions {
  readonly name: string
  readonly relays: readonly string[]
  /** Whether the client keeps its outbox on the disk. */
  readonly keeps: boolean
  readonly seed: Uint8Array
}

export class Person {
  readonly name: string
  readonly identity: Identity
  readonly contact: Contact
  readonly machine: Machine
  readonly keeps: boolean
  disk!: Disk
  process: Process | undefined
  messenger: Messenger | undefined
  /** What the user sees of their relays. */
  readonly #status = new Map<string, string>()
  readonly #world: World

  constructor(world: World, { name, relays, keeps, seed }: PersonOptions) {
    this.#world = world
    this.name = name
    this.keeps = keeps
    this.identity = identityOf(seedKey(seed))
    this.contact = { name, key: this.identity.key, relays }
    this.machine = new Machine(world.kernel, name)
  }

  get isRunning(): boolean {
    return this.process !== undefined
  }

  /** Starts the client. */
  start(): void {
    if (this.process !== undefined) return
    const { kernel, truth } = this.#world
    truth.tell(this.name, 'starts the client')
    this.#status.clear()
    const process: Process = kernel.spawn(this.name, this.machine, () => void this.#run(process))
    this.process = process
  }

  /** Kills the client. Without power, the disk also loses all that was not synced. */
  kill(how: 'killed' | 'power lost'): void {
    if (this.process === undefined) return
    const { truth } = this.#world
    truth.tell(this.name, how === 'killed' ? 'has the client killed' : 'has a power failure')
    this.process.kill()
    if (how === 'power lost') this.disk.losePower()
    this.#end()
  }

  /** Closes the client as its user does. */
  close(): void {
    const { kernel, truth } = this.#world
    const { process, messenger } = this
    if (process === undefined || messenger === undefined) return
    truth.tell(this.name, 'closes the client')
    kernel.at(kernel.now, process, () => {
      void messenger.close().then(
        () => this.#exit(process),
        (error: unknown) => kernel.fail(error),
      )
    })
  }

  #exit(process: Process): void {
    if (this.process !== process) return
    process.kill()
    this.#end()
  }

  /** The process is over: what only its memory held is lost. */
  #end(): void {
    this.process = undefined
    this.messenger = undefined
    const { truth } = this.#world
    for (const text of truth.openTexts(this.name)) if (!text.isKept) text.excuse ??= 'its writer ended before the outbox was on the disk'
  }

  /** Writes a text. */
  write(to: Person): void {
    const { kernel } = this.#world
    const { process } = this
    if (process === undefined || !this.isReady) return
    kernel.at(kernel.now, process, () => this.#write(process, to))
  }

  #write(process: Process, to: Person): void {
    const { truth } = this.#world
    if (this.messenger === undefined) return
    const number = this.#world.texts++
    const delivery = this.messenger.send(to.contact, { type: 'text', text: `#${number} from ${this.name} to ${to.name}` })
    truth.onSent({ number, from: this.name, to: to.name, id: delivery.id, by: process })
  }

  get isReady(): boolean {
    return this.messenger !== undefined
  }

  /** Checks that the user sees a connection to each relay of theirs. */
  checkAtEnd(): void {
    const { truth } = this.#world
    if (this.process === undefined) return truth.violate(7, `the client of ${this.name} has ended`)
    for (const relay of this.contact.relays)
      if (this.#status.get(relay) !== 'up') truth.violate(7, `${this.name} sees that a relay of theirs is ${this.#status.get(relay)}`)
  }

  /** Checks what can be seen of the client from outside. */
  check(): void {
    const timers = this.process?.timers ?? 0
    if (timers > MOST_TIMERS) this.#world.truth.violate(5, `the client of ${this.name} has ${timers} timers`)
  }

  async #run(process: Process): Promise<void> {
    const { kernel, truth, network, people } = this.#world
    const folder = `${makeHome(process)}/state`
    try {
      const outbox = this.keeps ? this.#watch(await openOutbox(folder, this.identity)) : undefined
      const messenger = openMessenger({
        identity: this.identity,
        relays: this.contact.relays,
        contacts: {
          find(fingerprint) {
            for (const { contact } of people.values()) if (fingerprintOf(contact.key) === fingerprint) return contact
            return undefined
          },
        },
        receipts: { delivered: true, read: true },
        ...(outbox !== undefined && { outbox }),
        seen: openSeen(folder),
        connect: (options) =>
          connectThrough(({ kind, name }, { timeout }) => {
            if (kind !== 'name') throw new Error('a simulated client dials onion addresses only')
            return network.dial(name, timeout)
          }, options),
      })
      const listening = this.#listen(messenger.events())
      await messenger.ready
      this.messenger = messenger
      await this.#receive(process, messenger)
      await listening
    } catch (error) {
      // A client that cannot read its files ends, and its user starts it again later.
      truth.tell(this.name, `sees the client end: ${error instanceof Error ? error.message : String(error)}`)
      if (this.disk.fault === undefined) kernel.fail(error)
      this.#exit(process)
    }
  }

  /** Notes which texts the outbox on the disk has. */
  #watch(store: OutboxStore): OutboxStore {
    const { truth } = this.#world
    return {
      load: () => store.load(),
      save: async (entries: readonly OutboxEntry[]) => {
        await store.save(entries)
        const kept = new Set(entries.map(({ id }) => id))
        for (const text of truth.openTexts(this.name)) text.isKept = kept.has(text.id)
      },
    }
  }

  async #listen(events: AsyncIterable<MessengerEvent>): Promise<void> {
    const { truth } = this.#world
    for await (const event of events) {
      switch (event.kind) {
        case 'delivery':
          truth.onState(event.delivery.id, event.delivery.state, event.delivery.error)
          break
        case 'relay':
          if (event.purpose === 'receive') this.#status.set(event.relay, event.state)
          truth.note(`${this.name} sees ${event.purpose} ${event.relay} ${event.state}`)
          break
        case 'taken-over':
        case 'forgotten':
        case 'moved':
        case 'not-kept':
        case 'not-said':
        case 'duplicate':
          truth.count(event.kind)
          truth.note(`${this.name} sees ${event.kind}`)
          break
        case 'file-sent':
        case 'file-received':
      }
    }
  }

  async #receive(process: Process, messenger: Messenger): Promise<void> {
    for await (const received of messenger.received()) await this.#show(process, messenger, received)
  }

  async #show(process: Process, messenger: Messenger, received: Received): Promise<void> {
    const { truth, kernel } = this.#world
    const { envelope } = received
    if (envelope === undefined) return truth.violate(2, `${this.name} gets a message that is ${received.verdict}`)
    if (envelope.content.type !== 'text') return
    const number = Number(/^#(\d+) /.exec(envelope.content.text)?.[1])
    truth.onShown(this.name, process, number, received)
    // The eye, or a slow disk.
    if (kernel.random.chance(0.2)) await new Promise((resolve) => setTimeout(resolve, 3_000 * kernel.random.next()))
    await received.done()
    truth.onDone(number)
    if (received.from !== undefined && kernel.random.chance(0.5)) messenger.read(received.from, [envelope.id])
  }
}
