/** One simulation: the system, the network, the disks, and everyone in it. */
import { sha256 } from '../../src/auth/crypto.ts'
import { encodeOnion } from '../../src/onion/address.ts'
import { Disk, mount } from './disk.ts'
import { connectAll } from './local-net.ts'
import { Kernel, type Machine } from './kernel.ts'
import { Network } from './network.ts'
import { Person } from './person.ts'
import type { Cast } from './plan.ts'
import { enter } from './platform.ts'
import { Random } from './random.ts'
import { RelayHost } from './relay-host.ts'
import { usesReal } from './stand-in.ts'
import { Truth } from './truth.ts'

export class World {
  readonly kernel: Kernel
  readonly network: Network
  readonly truth: Truth
  readonly people = new Map<string, Person>()
  readonly relays = new Map<string, RelayHost>()
  /** The simulated people write this many texts so far. */
  texts = 0

  constructor(seed: string, cast: Cast) {
    const random = new Random(seed)
    this.kernel = new Kernel(random)
    this.kernel.waits = usesReal()
    this.truth = new Truth(this.kernel)
    this.kernel.onSpin = (process) => this.truth.violate(5, `${process.name} is busy: it runs timer after timer`)
    this.network = new Network(this.kernel, this.truth)
    this.network.isPerfect = cast.isPerfect
    const disks = mount(this.kernel)
    enter(this.kernel)
    connectAll(this.kernel)
    const addresses = new Map(cast.relays.map(({ name }) => [name, encodeOnion(sha256(Buffer.from(`relay ${seed} ${name}`)))]))
    for (const { name, relays, keeps } of cast.people) {
      const person = new Person(this, {
        name,
        relays: relays.map((relay) => addresses.get(relay)!),
        keeps,
        seed: sha256(Buffer.from(`person ${seed} ${name}`)),
      })
      const disk = new Disk(this.kernel)
      disk.onWrite = (path, bytes) => this.truth.note(`${name} writes ${path}`, bytes)
      disks.set(name, disk)
      person.disk = disk
      this.people.set(name, person)
    }
    for (const { name, admits } of cast.relays) {
      const members = admits?.map((member) => ({ fingerprint: this.people.get(member)!.identity.key.fingerprint }))
      this.relays.set(name, new RelayHost(this, name, addresses.get(name)!, members))
    }
  }

  machine(name: string): Machine {
    return (this.people.get(name) ?? this.relays.get(name)!).machine
  }

  /** Whether a relay of `to` lets `from` send there. */
  admits(from: string, to: string): boolean {
    const { fingerprint } = this.people.get(from)!.identity.key
    const { relays } = this.people.get(to)!.contact
    return [...this.relays.values()].some(
      ({ address, admits }) =>
        relays.includes(address) &&
        (admits === undefined || admits.some((member) => Buffer.compare(member.fingerprint, fingerprint) === 0)),
    )
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
      person.disk.fault = undefined
      person.start()
    }
  }

  /** Checks what must be so once all faults are over for a while. */
  checkAtEnd(): void {
    for (const person of this.people.values()) person.checkAtEnd()
  }

  /** Ends it: no code of it runs any more. */
  close(): void {
    for (const { process } of this.people.values()) process?.kill()
    for (const relay of this.relays.values()) relay.kill()
    enter(undefined)
    connectAll(undefined)
    mount(undefined)
  }

  /** Checks everything that can be seen from outside at this moment. */
  check(): void {
    const { truth, network } = this
    truth.checkConnections(network.connections)
    for (const { name, relay } of this.relays.values()) {
      if (relay === undefined) continue
      const { counters, messages, messageBytes, messageBudget, connections, accepting } = relay.snapshot()
      // While it hands over, another process may have its messages.
      if (!accepting) continue
      const erased = Object.values(counters.erased).reduce((sum, count) => sum + count, 0)
      const { restored } = this.relays.get(name)!
      if (counters.stored + restored !== messages + erased)
        truth.violate(1, `${name} stored ${counters.stored} and took over ${restored}, holds ${messages} and erased ${erased}`)
      if (messageBytes > messageBudget) truth.violate(5, `${name} holds ${messageBytes} bytes of ${messageBudget}`)
      if (connections > 200) truth.violate(5, `${name} has ${connections} connections`)
    }
    for (const person of this.people.values()) person.check()
  }
}
