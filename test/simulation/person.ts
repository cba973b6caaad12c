/** A person's device with a machine, a disk and a client: the real messenger over the profile's real state files. */
import { sha256 } from '../../src/auth/crypto.ts'
import { seedKey } from '../../src/auth/seed.ts'
import { openRings } from '../../src/cli/profile/rings.ts'
import { openSecrets } from '../../src/cli/profile/secrets.ts'
import { openOutbox, openSeen } from '../../src/cli/profile/state.ts'
import { OUTBOX, type OutboxEntry } from '../../src/client/delivery/entry.ts'
import { makeCard } from '../../src/client/format/card.ts'
import { Seen } from '../../src/client/delivery/seen.ts'
import type { Content } from '../../src/client/format/content.ts'
import { fingerprintOf } from '../../src/client/format/field.ts'
import { introductionOf } from '../../src/client/format/introduction.ts'
import type { Envelope } from '../../src/client/format/message.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'
import { rolesOf } from '../../src/client/messenger/connections.ts'
import type { Contact } from '../../src/client/messenger/contact.ts'
import type { MessengerEvent } from '../../src/client/messenger/event.ts'
import type { Received } from '../../src/client/messenger/inbox.ts'
import { type Messenger, openMessenger } from '../../src/client/messenger/messenger.ts'
import type { OutboxStore, Secrecy } from '../../src/client/messenger/options.ts'
import type { FileDelivery } from '../../src/client/messenger/transfers.ts'
import { connectClaimsThrough, connectThrough } from '../../src/client/wire/connect.ts'
import type { dial } from '../../src/client/wire/dial.ts'
import { RelayError } from '../../src/client/wire/error.ts'
import { type CardFacts, factsOf } from '../../src/profile/facts.ts'
import { type Disk, makeHome } from './disk.ts'
import { FileBox, sourceOf } from './file-box.ts'
import { Machine, type Process } from './kernel.ts'
import { Keys } from './keys.ts'
import type { Hiding } from './plan.ts'
import type { RelayHost } from './relay-host.ts'
import type { Sent } from './sends.ts'
import { usesReal } from './stand-in.ts'
import { NO_OUTBOX, type Text } from './truth.ts'
import type { World } from './world.ts'

/** Timers of a client that is well: those of its connections, and one of the messenger. */
const MOST_TIMERS = 64
/**
 * Files on the disk of a client that is well: its state, a lock, and temporary files of crashes that the next write
 * removes; and the ring of each contact.
 */
const MOST_NAMES = 8
/** Within this time of quiet, a client is connected to a relay that it can reach, ms. The longest pause is a minute. */
const CONNECTS_MS = 600_000
/** Within this time a client notices that a connection is dead, ms: 75 s of silence, 15 s for an answer, and a late tick. */
const NOTICES_MS = 180_000
const HOUR = 3_600_000
/** For so long a client that closes waits for its relays, ms. */
const FLUSH_MS = 10_000
/** A text is given up after a week, if its writer says nothing else. */
const DEADLINE_MS = 7 * 24 * HOUR
/** Within this time a sender notices that a relay forgot its messages, ms: the longest pause between two looks is 32 minutes. */
const LOOKS_MS = 2_700_000
/** How late a text is sent again because no receipt came, ms. */
const AGAIN_MS = 600_000
/** Within this time a receipt arrives, ms. */
const RECEIPT_MS = 600_000
/** Within this time after a relay moved, messages to the old name go to an inbox, ms: ten minutes of failures. */
export const MOVES_MS = 1_200_000

/** Refusals for which a text may wait although everything works. */
const REFUSALS: ReadonlySet<string> = new Set(['mailbox-full', 'relay-full', 'rate-limited', 'denied', 'no-bundle'])

export interface PersonOptions {
  readonly name: string
  readonly relays: readonly string[]
  /** Whether the client keeps its outbox on the disk. */
  readonly keeps: boolean
  readonly seed: Uint8Array
  readonly secrecy: Hiding | undefined
  /** The person whose other device this is. */
  readonly of?: Person
}

interface WriteOptions {
  readonly group?: string
  /** Seconds after which the writer gives it up. */
  readonly within?: number | undefined
  readonly hurry?: true | undefined
  readonly spread?: true | undefined
}

export class Person {
  readonly name: string
  /** The first device of the same person, or this one. */
  readonly owner: Person
  readonly identity: Identity
  readonly inbox: Identity
  readonly secrecy: Hiding | undefined
  /** Whether the client has secrecy now: it is not of an earlier version. */
  hides: boolean
  /** Since when the person has the card of another one with the inbox. */
  readonly inboxes = new Map<Person, number>()
  readonly keys: Keys
  contact: Contact
  readonly machine: Machine
  readonly keeps: boolean
  disk!: Disk
  process: Process | undefined
  messenger: Messenger | undefined
  /** People who are no contacts. */
  readonly strangers = new Set<Person>()
  /** The last texts that this device wrote to, and saw of, each person. */
  readonly #wrote = new Map<string, string>()
  readonly #saw = new Map<string, string>()
  /** Texts of strangers that were shown here, and wait for a receipt. */
  readonly #unconfirmed = new Map<Person, string[]>()
  /** What the user sees of their relays, and since when. */
  readonly #status = new Map<string, { state: string; since: number }>()
  readonly files: FileBox
  /** The texts that the outbox on the disk may have. */
  #stored = new Set<string>()
  #sending: { readonly delivery: FileDelivery; readonly process: Process }[] = []
  #readyAt = 0
  /** The process that only gets what waits. */
  #gets: Process | undefined
  #isShowing = false
  /** When the last fault of the disk or of a clock ended. */
  steadySince = 0
  /** When the person got another address of a relay last. */
  movedAt = 0
  readonly #world: World

  constructor(world: World, { name, relays, keeps, seed, secrecy, of }: PersonOptions) {
    this.#world = world
    this.name = name
    this.owner = of ?? this
    this.keeps = keeps
    this.identity = identityOf(seedKey(seed))
    this.inbox = identityOf(seedKey(sha256(seed)))
    this.secrecy = secrecy
    this.hides = secrecy !== undefined && secrecy.isLater !== true
    this.keys = new Keys(world, this)
    this.contact = of?.contact ?? { name, key: this.identity.key, relays }
    this.machine = new Machine(world.kernel, name)
    this.files = new FileBox(this)
  }

  get isRunning(): boolean {
    return this.process !== undefined
  }

  /** Starts the client. */
  start(): void {
    this.#gets = undefined
    if (this.process !== undefined) return
    const { kernel, truth } = this.#world
    truth.tell(this.name, 'starts the client')
    this.#status.clear()
    const process: Process = kernel.spawn(this.name, this.machine, () => void this.#run(process))
    this.process = process
  }

  /** Starts the client, gets what waits, sends what is left within 10 s, and closes it. */
  get(): void {
    if (this.process !== undefined) return
    this.start()
    this.#gets = this.process
  }

  async #get(process: Process, messenger: Messenger): Promise<void> {
    await messenger.fetched()
    const controller = new AbortController()
    setTimeout(() => controller.abort(), FLUSH_MS)
    await messenger.flush({ signal: controller.signal }).catch(() => {})
    // It ends once all that came is shown and stored.
    do await new Promise((resolve) => setTimeout(resolve, 1_000))
    while (this.#isShowing)
    if (this.#gets === process) this.close()
  }

  /** The user takes this device into use: its client receives, and that of the other device stops to. */
  take(): void {
    const { kernel, truth } = this.#world
    const { process, messenger } = this
    this.#gets = undefined
    if (process === undefined || messenger === undefined) return this.start()
    truth.tell(this.name, 'is taken into use')
    kernel.at(kernel.now, process, () => {
      for (const relay of this.owner.contact.relays) messenger.receiveFrom(relay)
    })
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

  /** Closes the client as its user does. @param then called once it has ended */
  close(then: () => void = () => {}): void {
    const { kernel, truth } = this.#world
    const { process, messenger } = this
    if (process === undefined || messenger === undefined) return
    truth.tell(this.name, 'closes the client')
    kernel.at(kernel.now, process, () => {
      void messenger.close().then(
        () => {
          this.#exit(process)
          then()
        },
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
    this.#sending = []
    const { truth } = this.#world
    for (const text of truth.openTexts(this.name))
      if (!text.isKept) text.excuse ??= this.keeps ? 'its writer ended before the outbox was on the disk' : NO_OUTBOX
  }

  /** Returns the contact that the user's book has of another person: that of the card with the inbox, once the book has it. */
  contactOf(person: Person): Contact {
    const known = this.#world.people.get(person.name)!
    if (!this.hides || !this.owner.inboxes.has(known)) return person.contact
    const { relays, inbox } = person.cardFacts
    return { ...person.contact, relays, ...(inbox !== undefined && { inbox }) }
  }

  /** What the person's card says: an inbox is read at the first relay only, so the card names that one alone. */
  get cardFacts(): CardFacts {
    const { name, contact } = this.owner
    const isPublic = this.secrecy?.isPublic !== false
    return factsOf({ name, relays: contact.relays, isPublic, memberAt: this.#world.closedAddresses }, 2, this.inbox.key)
  }

  /** The client is closed, and one of another version starts. */
  change(hides: boolean): void {
    if (this.secrecy === undefined || this.hides === hides) return
    this.#world.truth.tell(this.name, `gets a version ${hides ? 'with' : 'without'} secrecy`)
    this.hides = hides
    this.wasDowngraded ||= !hides
    if (this.process === undefined) return
    if (this.messenger === undefined) {
      this.kill('killed')
      this.start()
    } else this.close(() => this.start())
  }

  /** A contact gets a new address. */
  renew(to: Person): void {
    if (this.owner.strangers.has(to) || !this.hides) return
    this.#do((_, messenger) => void messenger.renewAddress(this.contactOf(to)).catch(() => {}))
  }

  /** Removes a contact, and adds it again. */
  forget(contact: Person): void {
    if (!this.hides) return
    this.#world.truth.tell(this.name, `removes the contact ${contact.name}, and adds it again`)
    this.#do((_, messenger) => void messenger.forget(this.contactOf(contact)).catch(() => {}))
  }

  /** Makes a stranger a contact. */
  meet(stranger: Person): void {
    const { kernel, truth } = this.#world
    if (!this.strangers.delete(stranger)) return
    if (stranger.hides) this.owner.inboxes.set(stranger, kernel.now)
    truth.tell(this.name, `makes ${stranger.name} a contact`)
    const ids = this.#unconfirmed.get(stranger) ?? []
    this.#unconfirmed.delete(stranger)
    const { process, messenger } = this
    if (process !== undefined && messenger !== undefined && ids.length > 0)
      kernel.at(kernel.now, process, () => messenger.confirm(this.contactOf(stranger), ids))
  }

  /** Writes a text, or a reply to the last text of the receiver, or changes the last text to them. */
  write(
    to: Person,
    what: 'text' | 'reply' | 'edit' | 'remove' | 'group text' = 'text',
    { group, within, hurry, spread }: WriteOptions = {},
  ): void {
    if (this.owner.strangers.has(to)) return
    const before = what === 'reply' ? this.#saw.get(to.name) : this.#wrote.get(to.name)
    if ((what === 'reply' || what === 'edit' || what === 'remove') && before === undefined) return
    const text = `from ${this.name} to ${to.name}`
    const content: Content =
      what === 'edit'
        ? { type: 'edit', of: before!, text }
        : what === 'remove'
          ? { type: 'remove', of: before! }
          : { type: 'text', text, ...(what === 'reply' && { replyTo: before! }) }
    this.#do((process, messenger) => {
      const { id } = messenger.send(this.contactOf(to), content, {
        ...(group !== undefined && { group }),
        ...(within !== undefined && { deadline: within }),
        ...(hurry === true && { hurry }),
        ...(spread === true && { spread }),
      })
      this.#wrote.set(to.name, id)
      const limit = within === undefined ? DEADLINE_MS : within * 1_000
      this.#world.truth.onSent({ number: this.#world.texts++, from: this.name, to: to.name, what, id, by: process, within: limit })
    })
  }

  sendFile(to: Person, bytes: number): void {
    const { truth, kernel } = this.#world
    if (this.owner.strangers.has(to)) return
    this.#do((process, messenger) => {
      truth.count('files')
      truth.tell(this.name, `sends a file of ${bytes} bytes to ${to.name}`)
      void messenger.sendFile(this.contactOf(to), sourceOf(`${this.name}-${kernel.random.word()}`, bytes)).then(
        (delivery) => this.#sending.push({ delivery, process }),
        (error: unknown) => truth.tell(this.name, `cannot send a file: ${String(error)}`),
      )
    })
  }

  #do(work: (process: Process, messenger: Messenger) => void): void {
    const { kernel } = this.#world
    const { process, messenger } = this
    if (process !== undefined && messenger !== undefined) kernel.at(kernel.now, process, () => work(process, messenger))
  }

  get isReady(): boolean {
    return this.messenger !== undefined
  }

  /** The person's relay has another address from now on. They learn it from the notice, or another way. */
  follow(address: string, instead: string): void {
    const { owner } = this
    const { relays } = owner.contact
    if (relays.includes(instead)) {
      owner.contact = { ...owner.contact, relays: relays.map((each) => (each === instead ? address : each)) }
      owner.movedAt = this.#world.kernel.now
    }
    this.#do((_, messenger) => {
      messenger.receiveFrom(address)
      messenger.leaveRelay(instead)
      this.#status.delete(instead)
    })
  }

  /** Checks that the user sees a connection to each relay of theirs. */
  checkAtEnd(): void {
    const { truth } = this.#world
    if (this.process === undefined) return truth.violate(7, `the client of ${this.name} has ended`)
    for (const relay of this.contact.relays) {
      const state = this.#status.get(relay)?.state
      // A contact gets an address there with the next message.
      const isUnused = this.hides && !rolesOf(this.contact.relays).inbox.includes(relay) && !this.keys.readsAt(relay)
      if (state !== 'up' && !(state === undefined && isUnused)) truth.violate(7, `${this.name} sees that a relay of theirs is ${state}`)
    }
    for (const { delivery, process } of this.#sending) {
      // The parts of a file do not go to an inbox: they wait until the contact writes, and names the new address.
      const { hides, owner } = this.#world.people.get(delivery.to.name)!
      if (hides && owner.movedAt > 0) continue
      if (
        process === this.process &&
        (delivery.state === 'sending' || delivery.state === 'offered') &&
        // Otherwise the receiver cannot say which parts came.
        this.#world.admits(delivery.to.name, this.name)
      )
        truth.violate(1, `${this.name} is still sending a file of ${delivery.total} bytes to ${delivery.to.name}`)
    }
  }

  /** Checks what can be seen of the client from outside. */
  check(): void {
    const { truth, kernel } = this.#world
    this.keys.check()
    const timers = this.process?.timers ?? 0
    if (timers > MOST_TIMERS) truth.violate(5, `the client of ${this.name} has ${timers} timers`)
    const names = this.disk.names.length
    if (names > MOST_NAMES + this.#world.people.size) truth.violate(5, `the disk of ${this.name} has ${names} files`)
    truth.most('files on a disk', names)
    truth.most('bytes on a disk', this.disk.bytes)
    const { process, messenger } = this
    if (process === undefined || messenger === undefined || this.machine.isAsleep || this.disk.fault !== undefined) return
    const since = Math.max(this.#readyAt, this.steadySince, this.machine.awakeSince)
    for (const relay of this.owner.contact.relays) this.#checkStatus(relay, since, kernel.now)
  }

  /** What the user sees of a relay agrees with the truth, within a stated time. */
  #checkStatus(relay: string, steady: number, now: number): void {
    const { truth, network } = this.#world
    const host = this.#world.relayAt(relay)
    const status = this.#status.get(relay)
    if (status === undefined || host === undefined) return
    if (!host.receives(this.owner)) {
      if (status.state === 'up' && now - Math.max(host.steadySince, status.since) > NOTICES_MS)
        truth.violate(7, `${this.name} sees that ${host.name} is up, and is shut out`)
      return
    }
    const since = Math.max(steady, network.troubleUntil(this.name, relay), host.steadySince, status.since)
    if (status.state === 'over') return
    if (host.relay === undefined || !network.hears(relay)) {
      if (status.state === 'up' && now - since > NOTICES_MS) truth.violate(7, `${this.name} sees that ${host.name} is up, and it is down`)
    } else if (status.state !== 'up' && now - since > CONNECTS_MS)
      truth.violate(7, `${this.name} sees that ${host.name} is ${status.state} for ${Math.round((now - since) / 60_000)} minutes of quiet`)
    else if (status.state === 'up' && now - since > NOTICES_MS) {
      const open = [...network.connections].filter((each) => each.client === this.process && each.relay === relay)
      if (open.every((each) => each.isDead && !each.isFreshlyCut))
        truth.violate(7, `${this.name} sees that ${host.name} is up, and has no connection to it`)
    }
  }

  /** Whether the client was of an earlier version after it had one-time keys: that one erased messages that it could not read. */
  wasDowngraded = false

  /** The processes of a version with one-time keys. */
  readonly hiding = new WeakSet<Process>()

  /** Whether contacts encrypt to one-time keys that the present version does not know. */
  get isDowngraded(): boolean {
    return this.secrecy !== undefined && !this.hides
  }

  /** Whether the disk says that a text came. */
  hasStored(id: string, from: Person): boolean {
    const seen = this.disk.find('/state/seen')
    // An earlier version has a message erased that it cannot read.
    if (this.keys.hasRead(id) || this.isDowngraded) return true
    return seen !== undefined && Seen.decode(seen.bytes, this.machine.wall / 1_000)?.has(from.identity.key, id) === true
  }

  /** Says which of the user's mailboxes it is. @param mailbox its fingerprint */
  nameOf(mailbox: string): string {
    if (mailbox === fingerprintOf(this.identity.key)) return 'the mailbox of their key'
    return mailbox === fingerprintOf(this.inbox.key) ? 'their inbox' : 'an address'
  }

  /** Whether the client reads a mailbox by an address of the user's relay. @param mailbox its fingerprint */
  reads(mailbox: string, relay: string, { address, leaving, admits }: RelayHost): boolean {
    const { relays } = this.owner.contact
    if (mailbox === fingerprintOf(this.identity.key)) return !this.hides || admits !== undefined || this.secrecy?.isPublic === true
    if (!this.hides || admits !== undefined) return false
    if (mailbox !== fingerprintOf(this.inbox.key)) return this.keys.relayOf(mailbox) === relay
    const { inbox } = rolesOf(relays, this.secrecy?.copies)
    return inbox.includes(address) || (leaving !== undefined && inbox.includes(leaving))
  }

  /**
   * Whether a message is for a one-time key, and came to a mailbox whose messages the client tries no one-time key on (R1):
   * that of a key, unless the relay knows its members.
   * @param mailbox its fingerprint
   */
  isClosed(seed: Buffer, mailbox: string, relay: string): boolean {
    const isOfKey = mailbox === fingerprintOf(this.identity.key) && this.#world.relayAt(relay)?.admits === undefined
    return (isOfKey || mailbox === fingerprintOf(this.inbox.key)) && this.keys.has(seed)
  }

  /** Since when everything works between this device and a relay of its owner, and the user sees it as up. */
  quietSince(relay: string): number {
    const { network } = this.#world
    const host = this.#world.relayAt(relay)
    const status = this.#status.get(relay)
    const { messenger, machine, disk } = this
    if (messenger === undefined || machine.isAsleep || disk.fault !== undefined || host?.relay === undefined)
      return Number.POSITIVE_INFINITY
    if (status?.state !== 'up' || !network.hears(relay)) return Number.POSITIVE_INFINITY
    return Math.max(this.#steadyAt, status.since, host.steadySince, host.machine.awakeSince, network.troubleUntil(this.name, relay))
  }

  get #steadyAt(): number {
    return Math.max(this.#readyAt, this.steadySince, this.machine.awakeSince)
  }

  /** Checks that texts come on while nothing hinders them. */
  checkOpen(): void {
    const { truth, kernel, people } = this.#world
    const { now } = kernel
    if (this.messenger === undefined || this.machine.isAsleep || this.disk.fault !== undefined) return
    const steady = this.#steadyAt
    // A client that reaches no relay of its user cannot tell whether an address is gone, and keeps texts for it (S4).
    const online = this.hides ? Math.min(...this.owner.contact.relays.map((relay) => this.#sendingSince(relay))) : 0
    // While one text waits for a reason, as a full mailbox is, the others to the same receiver wait, too.
    const blocked = new Set<string>()
    for (const { error, to } of truth.openTexts(this.name)) if (error instanceof RelayError && REFUSALS.has(error.code)) blocked.add(to)
    for (const text of truth.openTexts(this.name)) {
      const { number, state, excuse } = text
      if (excuse !== undefined) continue
      if (this.machine.wall - text.wall > text.within + NOTICES_MS && now - steady > HOUR)
        truth.violate(1, `${this.name} sees text ${number} as ${state} after its deadline`)
      // After a fault of the disk the messenger stores its outbox with the next change.
      if (this.keeps && text.by === this.process && !text.isKept && text.sentAt > steady && now - text.sentAt > NOTICES_MS)
        truth.violate(1, `text ${number} of ${this.name} is not in the outbox on the disk`)
      if (blocked.has(text.to)) continue
      const to = people.get(text.to)!
      // For so long everything works for the writer.
      const sending = to.contact.relays.map((relay) => this.#sendingSince(relay))
      // After another text was denied, perhaps for the last time, the relay is not tried for an hour.
      const quiet = now - Math.max(steady, online, text.sentAt, to.movedAt, truth.deniedAt(this.name, text.to), ...sending)
      if (state === 'waiting' && text.by === this.process && quiet > HOUR + NOTICES_MS && !this.#mustHear(to))
        truth.violate(7, `${this.name} sees that text ${number} waits, without a reason`)
      if (state === 'held' && quiet > LOOKS_MS && !usesReal() && !to.wasDowngraded) this.#checkHeld(text, quiet)
      if (text.doneBy.size > 0) this.#checkReceipt(text, to)
    }
  }

  /**
   * Whether texts and receipts for a contact may wait until that contact writes: the relay of their address is at another
   * name, and this person has no card of theirs with the inbox yet.
   */
  #mustHear(to: Person): boolean {
    return this.hides && to.secrecy !== undefined && to.owner.movedAt > 0 && this.contactOf(to).inbox === undefined
  }

  /** A text that a relay forgot is sent again once its writer can know that, and one without a receipt in any case. */
  #checkHeld(text: Text, quiet: number): void {
    const { truth, kernel } = this.#world
    const { id, number, to } = text
    const receiver = this.#world.people.get(to)!
    const { relays } = receiver.contact
    if (this.#mustHear(receiver)) return
    // An earlier version sends a copy where its receiver cannot read it, and has it erased (isClosed).
    const mayLack = this.wasDowngraded || relays.some((relay) => this.#world.relayAt(relay)!.liedAt > text.sentAt)
    // A relay that has shut the writer out since takes nothing.
    if (!this.#world.admits(this.name, to)) return
    const sent = truth.wire.sends.of(id)
    if (text.doneBy.size === 0 && !mayLack && !this.#seemsHeld(sent) && !this.#world.isStored(id))
      truth.violate(1, `text ${number} of ${this.name} to ${to} is at no relay, and is not sent again`)
    if (sent === undefined || sent.at < Math.max(this.steadySince, this.machine.awakeSince) || quiet < HOUR) return
    const again = sent.at + OUTBOX.again[Math.min(sent.count, OUTBOX.again.length) - 1]!
    if (kernel.now > Math.max(again, this.#readyAt) + AGAIN_MS)
      truth.violate(1, `text ${number} of ${this.name} to ${to} has no receipt, and is not sent again`)
  }

  /** Whether the last copy of a text expired, and the client cannot know: its clock was set back. */
  #seemsHeld(sent: Sent | undefined): boolean {
    if (sent === undefined) return false
    const hold = this.#world.relays.get(sent.relay)!.hold * 1_000
    return this.#world.kernel.now - sent.at >= hold && this.machine.wall - sent.wall < hold
  }

  /** Since when the device can send to a relay. */
  #sendingSince(relay: string): number {
    const { network } = this.#world
    const host = this.#world.relayAt(relay)
    if (host?.relay === undefined || !network.hears(relay)) return Number.POSITIVE_INFINITY
    return Math.max(host.steadySince, host.machine.awakeSince, network.troubleUntil(this.name, relay))
  }

  /** A receiver who is there and has a text confirms it, and its writer learns it. */
  #checkReceipt(text: Text, receiver: Person): void {
    const { truth, kernel } = this.#world
    const { relays } = this.owner.contact
    if (!this.#world.admits(text.to, this.name) || !this.#world.knows(text.to, this.name)) return
    // An earlier version does not read the addresses to which receipts go.
    if (this.isDowngraded || receiver.isDowngraded || receiver.#mustHear(this)) return
    if (receiver.messenger === undefined || !text.doneBy.has(receiver.name) || text.by !== this.process) return
    const since = Math.max(
      receiver.#steadyAt,
      this.owner.movedAt + MOVES_MS,
      ...relays.flatMap((relay) => {
        // A relay that denied the receiver something, as after one of both was shut out, is not tried for an hour.
        const deniedAt = truth.wire.deniedAt(receiver.name, this.#world.relayAt(relay)?.name ?? relay)
        return [this.quietSince(relay), receiver.#sendingSince(relay), deniedAt + HOUR]
      }),
      receiver.disk.fault === undefined ? 0 : Number.POSITIVE_INFINITY,
    )
    if (since < text.doneAt && kernel.now - text.doneAt > RECEIPT_MS)
      truth.violate(7, `${receiver.name} has text ${text.number} for long, and ${this.name} does not see it`)
  }

  async #run(process: Process): Promise<void> {
    const { kernel, truth, network } = this.#world
    const folder = `${makeHome(process)}/state`
    try {
      const outbox = this.keeps ? this.#watch(await openOutbox(folder, this.identity)) : undefined
      const secrecy = this.hides ? this.#secrecyIn(folder) : undefined
      if (this.hides) this.hiding.add(process)
      const link = secrecy === undefined ? undefined : await this.#makeLink()
      const dialHere: typeof dial = ({ kind, name }, { timeout, early }) => {
        if (kind !== 'name') throw new Error('a simulated client dials onion addresses only')
        return network.dial(name, timeout, early ?? [])
      }
      const { relays } = this.owner.contact
      const messenger = openMessenger({
        identity: this.identity,
        relays,
        contacts: {
          find: (fingerprint) => {
            const person = this.#world.findPerson(fingerprint)
            return person === undefined || this.owner.strangers.has(person) ? undefined : this.contactOf(person)
          },
        },
        receipts: { delivered: true, read: true },
        ...(outbox !== undefined && { outbox }),
        seen: openSeen(folder),
        files: this.files,
        ...(secrecy !== undefined && { secrecy, introducer: { cardFor: (_, mayLackInbox) => (mayLackInbox ? link : undefined) } }),
        signal: new AbortController().signal,
        connect: (options) => connectThrough(dialHere, options),
        connectClaims: (options) => connectClaimsThrough(dialHere, options),
      })
      const listening = this.#listen(process, messenger.events())
      await messenger.ready
      this.#catchUp(messenger, relays)
      this.messenger = messenger
      this.#readyAt = kernel.now
      if (this.#gets === process) void this.#get(process, messenger)
      await this.#receive(process, messenger)
      await listening
    } catch (error) {
      // A client that cannot read its files ends, and its user starts it again later.
      const said = error instanceof Error ? error.message : String(error)
      // The number of the run differs if the same seed runs twice.
      truth.tell(this.name, `sees the client end: ${said.replaceAll(folder, 'state')}`)
      if (this.disk.fault === undefined) kernel.fail(error)
      this.#exit(process)
    }
  }

  /** The person may have followed a relay while the client started. @param relays those with which it started */
  #catchUp(messenger: Messenger, relays: readonly string[]): void {
    const now = this.owner.contact.relays
    for (const relay of now) if (!relays.includes(relay)) messenger.receiveFrom(relay)
    for (const relay of relays) {
      if (now.includes(relay)) continue
      messenger.leaveRelay(relay)
      this.#status.delete(relay)
    }
  }

  /** As src/cli/owner/secrecy.ts does. */
  #secrecyIn(folder: string): Secrecy {
    const { isPublic, copies } = this.secrecy!
    const world = this.#world
    return {
      inbox: this.inbox,
      rings: this.keys.watchRings(openRings(folder, this.identity)),
      secrets: this.keys.watchSecrets(openSecrets(folder, this.identity)),
      relays: () => this.owner.contact.relays,
      isPublic,
      copies,
      get members() {
        return world.closedAddresses
      },
    }
  }

  async #makeLink(): Promise<string> {
    const time = Math.floor(Date.now() / 1_000)
    return (await makeCard(this.identity, { ...this.cardFacts, time })).link
  }

  /** A contact without an inbox in the book gets one by the card in a message, as src/cli/profile/sent-card.ts does. */
  async #takeCard(from: Person, envelope: Envelope): Promise<void> {
    const { owner } = this
    if (owner.inboxes.has(from) || envelope.card === undefined) return
    const card = await introductionOf(envelope)
    if (card?.inbox !== undefined) owner.inboxes.set(from, this.#world.kernel.now)
  }

  /** Notes which texts the outbox on the disk has. */
  #watch(store: OutboxStore): OutboxStore {
    const { truth, kernel } = this.#world
    return {
      load: async () => {
        const entries = await store.load()
        for (const { id } of entries)
          if (!this.#stored.has(id)) truth.violate(5, `text ${truth.findText(id)?.number} is back in the outbox of ${this.name}`)
        return entries
      },
      save: async (entries: readonly OutboxEntry[]) => {
        // If it ends now, the disk has the former texts or these.
        for (const { id } of entries) this.#stored.add(id)
        await store.save(entries)
        this.#stored = new Set(entries.map(({ id }) => id))
        truth.most('texts in an outbox', entries.length)
        const kept = new Set(entries.map(({ id }) => id))
        for (const text of truth.openTexts(this.name)) {
          if (text.isKept && !kept.has(text.id)) truth.violate(1, `text ${text.number} left the outbox of ${this.name} as ${text.state}`)
          text.isKept = kept.has(text.id)
        }
        for (const { id } of entries) {
          const { settledAt = 0, number } = truth.findText(id) ?? {}
          if (settledAt > this.#readyAt && settledAt < kernel.now - NOTICES_MS)
            truth.violate(5, `text ${number} stays in the outbox of ${this.name}`)
        }
      },
    }
  }

  async #listen(process: Process, events: AsyncIterable<MessengerEvent>): Promise<void> {
    const { truth, kernel } = this.#world
    for await (const event of events) {
      switch (event.kind) {
        case 'delivery':
          truth.onState(event.delivery.id, event.delivery.state, event.delivery.error)
          break
        case 'relay':
          if (event.purpose === 'receive') this.#status.set(event.relay, { state: event.state, since: kernel.now })
          truth.note(`${this.name} sees ${event.purpose} ${event.relay} ${event.state}`)
          break
        case 'file-received':
          if (event.state === 'done' && !this.files.has(event.offer)) truth.violate(3, `${this.name} sees a file that is not there`)
          truth.count(`file ${event.state}`)
          break
        case 'file-sent':
          if (event.file.state === 'done' && !this.#world.hasFile(event.file))
            truth.violate(3, `${this.name} sees a file as received, and ${event.file.to.name} has not got it`)
          truth.count(`file sent: ${event.file.state}`)
          break
        case 'moved':
          // The user reads it, asks the operator, and follows.
          truth.count('moved')
          kernel.at(kernel.now + 300_000, process, () => this.#world.follow(this, event.relay, event.name))
          break
        case 'taken-over':
          this.#status.set(event.relay, { state: 'over', since: kernel.now })
          truth.count('taken over')
          break
        case 'ring':
          truth.count(`ring: ${event.event}`)
          truth.tell(this.name, `sees of the keys of ${event.contact.name}: ${event.event}`)
          break
        case 'published':
          truth.count(event.error === undefined ? 'published' : 'not published')
          break
        case 'other-bundle':
        case 'forgotten':
        case 'not-kept':
        case 'not-said':
        case 'clock':
        case 'duplicate':
          truth.count(event.kind)
          truth.note(`${this.name} sees ${event.kind}`)
      }
    }
  }

  async #receive(process: Process, messenger: Messenger): Promise<void> {
    this.#isShowing = false
    for await (const received of messenger.received()) {
      this.#isShowing = true
      await this.#show(process, messenger, received)
      this.#isShowing = false
    }
  }

  /**
   * Whether a message may be one that no key opens. An earlier version cannot read what is encrypted to one-time keys, and
   * sends what it finds in its outbox to the mailbox of the receiver's own key. There, also at a relay that knows its members,
   * a copy of a text that was read already may come: no key opens it, and it names no contact to ask.
   */
  #mayBeUnreadable({ relay, verdict }: Received): boolean {
    if (verdict !== 'unreadable') return false
    const isMember = this.#world.relayAt(relay)?.admits !== undefined
    return this.isDowngraded || (this.hides && (isMember || [...this.#world.people.values()].some(({ wasDowngraded }) => wasDowngraded)))
  }

  async #show(process: Process, messenger: Messenger, received: Received): Promise<void> {
    const { truth, kernel } = this.#world
    const { envelope, from } = received
    if (envelope === undefined && this.#mayBeUnreadable(received)) {
      truth.count('unreadable')
      return received.done()
    }
    if (envelope === undefined) return truth.violate(2, `${this.name} gets a message that is ${received.verdict} from ${received.relay}`)
    // A stranger's file is no file yet.
    if (envelope.content.type === 'file') return received.done()
    const { id } = envelope
    truth.onShown(this.name, this.owner.name, process, id, received)
    // The eye, or a slow disk.
    if (kernel.random.chance(0.2)) await new Promise((resolve) => setTimeout(resolve, 3_000 * kernel.random.next()))
    await received.done()
    truth.onDone(this.name, id)
    const sender = this.#world.personOf(envelope.from)
    if (sender !== undefined) this.#saw.set(sender.name, id)
    if (sender !== undefined && from !== undefined && received.verdict === 'genuine') await this.#takeCard(sender, envelope)
    if (from !== undefined) {
      if (kernel.random.chance(0.5)) messenger.read(from, [id])
    } else if (sender !== undefined && this.owner.strangers.has(sender)) {
      const ids = this.owner.#unconfirmed.get(sender)
      if (ids === undefined) this.owner.#unconfirmed.set(sender, [id])
      else ids.push(id)
    }
  }
}
