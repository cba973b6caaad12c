/** One simulation: the system, the network, the disks, and everyone in it. */
import { sha256 } from '../../src/auth/crypto.ts'
import type { SshKey } from '../../src/auth/ssh-key.ts'
import { fingerprintOf } from '../../src/client/format/field.ts'
import type { FileDelivery } from '../../src/client/messenger/transfers.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { encodeOnion } from '../../src/onion/address.ts'
import { Disk, mount } from './disk.ts'
import { connectAll } from './local-net.ts'
import { Kernel, type Machine } from './kernel.ts'
import { type Connection, Network } from './network.ts'
import { Person, type PersonOptions } from './person.ts'
import type { Cast } from './plan.ts'
import { enter } from './platform.ts'
import { Random } from './random.ts'
import { RelayHost } from './relay-host.ts'
import { forgetKeys, usesReal } from './stand-in.ts'
import { Truth } from './truth.ts'
import { LATE_MS } from './wire.ts'

/** Within this time a relay gives a message to a receiver who is there, ms. */
const ARRIVES_MS = 300_000
/** Within this time a relay opens its doors again after a handover that failed, ms. */
const DOORS_MS = 120_000
/** Within this time a relay ends the connections of a key that it shut out: a write may be under way, ms. */
const SHUT_OUT_MS = 2 * DEFAULT_LIMITS.writeSeconds * 1_000

/** A device that receives, with its connections to one address. */
interface Reader {
  readonly device: Person
  readonly relay: string
  readonly open: readonly Connection[]
}

export class World {
  readonly kernel: Kernel
  readonly network: Network
  readonly truth: Truth
  readonly people = new Map<string, Person>()
  readonly relays = new Map<string, RelayHost>()
  /** The simulated people write this many texts so far. */
  texts = 0

  readonly #byFingerprint = new Map<string, Person>()
  readonly #seed: string
  /** The addresses that relays had, each with the next one. */
  readonly #moved = new Map<string, string>()

  constructor(seed: string, cast: Cast) {
    this.#seed = seed
    forgetKeys()
    const random = new Random(seed)
    this.kernel = new Kernel(random)
    this.kernel.waits = usesReal()
    this.truth = new Truth(this.kernel)
    this.truth.people = cast.people.length
    this.truth.wire.isClosed = (device, ...copy) => this.people.get(device)?.isClosed(...copy) === true
    this.truth.wire.onLasting = (process, text) => this.people.get(process.machine.name)?.keys.onLasting(process, text)
    this.truth.wire.onErased = (device, seed) => this.people.get(device)?.keys.onAcked(seed)
    this.truth.wire.isRead = (device, { id, from }) => this.people.get(device)?.hasStored(id, this.people.get(from)!) === true
    this.truth.wire.isLeft = (device, seed, text, message) =>
      this.people.get(device)?.keys.has(seed) === false && this.isStored(text, message)
    this.kernel.onSpin = (process) => this.truth.violate(5, `${process.name} is busy: it runs timer after timer`)
    this.network = new Network(this.kernel, this.truth)
    this.network.isPerfect = cast.isPerfect
    const disks = mount(this.kernel)
    enter(this.kernel)
    connectAll(this.kernel)
    const addresses = new Map(cast.relays.map(({ name }) => [name, encodeOnion(sha256(Buffer.from(`relay ${seed} ${name}`)))]))
    const add = (options: PersonOptions): Person => {
      const { name } = options
      const person = new Person(this, options)
      const disk = new Disk(this.kernel)
      disk.onWrite = (path, bytes) => {
        if (this.truth.record !== undefined) this.truth.note(`${name} writes ${path}`, bytes)
      }
      disks.set(name, disk)
      person.disk = disk
      this.people.set(name, person)
      if (person.owner === person) this.#byFingerprint.set(fingerprintOf(person.identity.key), person)
      return person
    }
    for (const { name, relays, keeps, second, secrecy } of cast.people) {
      const options = {
        keeps,
        secrecy,
        relays: relays.map((relay) => addresses.get(relay)!),
        seed: sha256(Buffer.from(`person ${seed} ${name}`)),
      }
      const of = add({ name, ...options })
      if (second !== undefined) add({ name: second, ...options, of })
    }
    for (const { name, strangers = [] } of cast.people)
      for (const stranger of strangers) this.people.get(name)!.strangers.add(this.people.get(stranger)!)
    this.#giveCards()
    for (const { name, admits, hold } of cast.relays) {
      const members = admits?.map((member) => ({ fingerprint: this.people.get(member)!.identity.key.fingerprint }))
      const host = new RelayHost(this, name, addresses.get(name)!, { admits: members, hold })
      this.relays.set(name, host)
      this.truth.wire.holds.set(name, host.hold * 1_000)
    }
  }

  /** Everyone gets the cards of all people with an inbox. */
  #giveCards(): void {
    for (const person of this.people.values())
      for (const other of this.people.values())
        if (other.owner === other && other !== person.owner && other.hides) person.inboxes.set(other, this.kernel.now)
  }

  machine(name: string): Machine {
    return (this.people.get(name) ?? this.relays.get(name)!).machine
  }

  /** The addresses that the relays that admit a list of keys have, or had: a user who has not followed still names the old one. */
  get closedAddresses(): string[] {
    return [...this.relays.values()].flatMap(({ admits, address, former }) => (admits === undefined ? [] : [address, ...former]))
  }

  /** Whether a relay of `to` lets `from` send there. */
  admits(from: string, to: string): boolean {
    const { owner } = this.people.get(from)!
    const { contact, secrecy } = this.people.get(to)!.owner
    const isIn = (relay: string): boolean => this.relayAt(relay)?.receives(owner) === true
    // With secrecy each relay has a part of its own: the first one has the inbox, and the others the addresses.
    return secrecy === undefined ? contact.relays.some(isIn) : contact.relays.every(isIn)
  }

  /** Whether `to` has `from` as a contact, so that receipts come. */
  knows(to: string, from: string): boolean {
    return !this.people.get(to)!.owner.strangers.has(this.people.get(from)!.owner)
  }

  /** Finds the relay that has an address. */
  relayAt(address: string): RelayHost | undefined {
    for (const host of this.relays.values()) if (host.address === address || host.leaving === address) return host
    return undefined
  }

  personOf(key: SshKey): Person | undefined {
    return this.findPerson(fingerprintOf(key))
  }

  /** Finds the first device of the person with a key. */
  findPerson(fingerprint: string): Person | undefined {
    return this.#byFingerprint.get(fingerprint)
  }

  /** Whether a device of the receiver has the whole file. */
  hasFile({ to, name, total }: FileDelivery): boolean {
    return [...this.people.values()].some(({ owner, files }) => owner.name === to.name && files.has({ name, total }))
  }

  /** A relay gets another address. */
  rotate(name: string): void {
    const host = this.relays.get(name)!
    if (host.leaving !== undefined) return
    const address = encodeOnion(sha256(Buffer.from(`relay ${this.#seed} ${name} ${this.#moved.size + 2}`)))
    this.#moved.set(host.address, address)
    host.rotate(address)
  }

  /** A person goes to the address that a relay announced. */
  follow(person: Person, from: string, to: string): void {
    if (this.#moved.get(from) !== to) return this.truth.violate(7, `${person.name} sees that a relay moved to an address that it has not`)
    person.follow(to, from)
  }

  /** The operator removes a key from the list of a relay, or puts it there. */
  admit(name: string, who: string, isIn: boolean): void {
    const host = this.relays.get(name)!
    const { fingerprint } = this.people.get(who)!.identity.key
    const others = host.admits?.filter((member) => Buffer.compare(member.fingerprint, fingerprint) !== 0)
    if (others !== undefined && (isIn || others.length < host.admits!.length)) host.admit(isIn ? [...others, { fingerprint }] : others)
  }

  /** The clock of a machine was changed. */
  onClock(name: string): void {
    const { now } = this.kernel
    const person = this.people.get(name)
    if (person !== undefined) person.steadySince = now
    else this.relays.get(name)!.steadySince = now
  }

  /** All faults stop: everything that is down starts, clocks are right, and disks work. */
  calm(): void {
    this.network.calm()
    for (const relay of this.relays.values()) {
      relay.machine.skew = 0
      relay.start()
    }
    for (const person of this.people.values()) {
      person.machine.skew = 0
      person.steadySince = this.kernel.now
      person.disk.fault = undefined
      for (const [from, to] of this.#moved) if (person.contact.relays.includes(from)) person.follow(to, from)
      for (const stranger of person.strangers) person.meet(stranger)
      person.change(true)
      // Without the card of a person who gave no more keys, their contacts would wait for the next message.
      this.#giveCards()
      if (person.owner === person) person.take()
      // The texts of a device that is put away wait there.
      else {
        person.kill('killed')
        for (const text of this.truth.openTexts(person.name)) text.excuse ??= 'its device was put away'
      }
    }
  }

  /** Checks what must be so once all faults are over for a while. */
  checkAtEnd(): void {
    for (const person of this.people.values()) if (person.owner === person) person.checkAtEnd()
  }

  /** Ends it: no code of it runs any more. */
  close(): void {
    for (const { process } of this.people.values()) process?.kill()
    for (const relay of this.relays.values()) relay.kill()
    enter(undefined)
    connectAll(undefined)
    mount(undefined)
  }

  /** Whether a relay holds a text. @param except a message that does not count */
  isStored(text: string, except?: string): boolean {
    return [...this.relays.values()].some(({ name, lostAt }) => {
      const shelf = this.truth.wire.storedAt(name, lostAt)
      if (except === undefined) return shelf.holds(text)
      return [...shelf.messages].some(([message, stored]) => stored.text === text && message !== except)
    })
  }

  /** What a relay holds reaches a receiver who is there. */
  #checkStored(): void {
    const { truth, kernel } = this
    for (const host of this.relays.values()) {
      const readers = new Map<string, Reader[]>()
      for (const [message, { text, at, mailbox }] of truth.wire.storedAt(host.name, host.lostAt).messages) {
        // All that follow are younger.
        if (kernel.now - at < ARRIVES_MS) break
        const known = truth.findText(text)
        if (known === undefined) continue
        let there = readers.get(known.to)
        if (there === undefined) readers.set(known.to, (there = this.#readersAt(host, this.people.get(known.to)!)))
        for (const { device, relay, open } of there)
          if (device.reads(mailbox, relay, host) && !open.some((each) => truth.wire.hasGiven(each, message)))
            truth.violate(1, `${host.name} has text ${known.number} in ${device.nameOf(mailbox)}, and does not give it to ${device.name}`)
      }
    }
  }

  /** The devices of a person that a relay must have given every message, by each of its addresses. */
  #readersAt(host: RelayHost, owner: Person): Reader[] {
    if (!host.receives(owner)) return []
    const addresses = host.leaving === undefined ? [host.address] : [host.address, host.leaving]
    const devices = [...this.people.values()].filter((person) => person.owner === owner)
    return addresses.flatMap((relay) =>
      devices
        .filter((device) => this.kernel.now - device.quietSince(relay) >= ARRIVES_MS)
        .map((device) => ({
          device,
          relay,
          open: [...this.network.connections].filter((each) => each.client === device.process && each.relay === relay),
        })),
    )
  }

  /** A relay that is well takes connections, keeps none of a key that it shut out, and holds no message for too long. */
  #checkHost(host: RelayHost, messages: number): void {
    const { name, process, machine, hold, steadySince, addresses } = host
    const { truth, kernel, network } = this
    if (process?.isAlive !== true || machine.isAsleep) return
    const steady = kernel.now - Math.max(steadySince, machine.awakeSince)
    if (steady > SHUT_OUT_MS)
      for (const connection of network.served) {
        const key = connection.server === process ? truth.wire.keyOf(connection) : undefined
        const person = key === undefined ? undefined : this.findPerson(key)
        if (person !== undefined && !host.receives(person)) truth.violate(6, `${name} shut ${person.name} out, and keeps a connection`)
      }
    if (steady > DOORS_MS && !addresses.every((address) => network.hears(address)))
      truth.violate(1, `${name} runs, and its doors are closed`)
    const sent = truth.wire.sends.countSince(name, kernel.now - hold * 1_000 - LATE_MS)
    if (!usesReal() && messages > sent)
      truth.violate(1, `${name} holds ${messages} messages, and got ${sent} within the time for which it holds one`)
  }

  /** Two devices do not both receive from a relay. */
  #checkDevices(): void {
    for (const one of this.people.values())
      for (const other of this.people.values()) {
        if (one.owner !== other || one === other) continue
        for (const relay of other.contact.relays)
          if (this.kernel.now - Math.max(one.quietSince(relay), other.quietSince(relay)) > ARRIVES_MS)
            this.truth.violate(7, `${one.name} and ${other.name} both see that they receive from ${this.relayAt(relay)?.name}`)
      }
  }

  /** Checks everything that can be seen from outside at this moment. */
  check(): void {
    const { truth, network } = this
    truth.checkConnections(network.connections)
    for (const host of this.relays.values()) {
      const { name, relay, restored } = host
      if (relay === undefined) continue
      const { counters, messages, messageBytes, messageBudget, connections, subscribers, accepting } = relay.snapshot()
      // While it hands over, another process may have its messages.
      if (!accepting) continue
      const erased = Object.values(counters.erased).reduce((sum, count) => sum + count, 0)
      if (counters.stored + restored !== messages + erased)
        truth.violate(1, `${name} stored ${counters.stored} and took over ${restored}, holds ${messages} and erased ${erased}`)
      if (messageBytes > messageBudget) truth.violate(5, `${name} holds ${messageBytes} bytes of ${messageBudget}`)
      if (subscribers > connections * (1 + DEFAULT_LIMITS.labels))
        truth.violate(5, `${name} has ${subscribers} subscribers on ${connections} connections`)
      if (connections > 200) truth.violate(5, `${name} has ${connections} connections`)
      this.#checkHost(host, messages)
    }
    if (!this.kernel.waits) this.#checkStored()
    this.#checkDevices()
    for (const person of this.people.values()) {
      person.check()
      person.checkOpen()
    }
  }
}
