/**
 * Two people who write to each other through relays that lose, repeat and reorder messages, with the real rules of
 * src/client/ring. Encryption is a name: a payload opens if its receiver still has the seed of its recipient. One step
 * is a minute, and every choice comes from one seed.
 */
import { onTick } from '../../../src/client/ring/ageing.ts'
import { onRead, onReport, onUnopened, recognise, takeReport, type RingEvent } from '../../../src/client/ring/receiving.ts'
import { countFresh, isGivenUp, onRenew, onSend, type Way } from '../../../src/client/ring/sending.ts'
import { EMPTY, findErased, type Place, RING, type Ring, without } from '../../../src/client/ring/state.ts'

const MINUTE = 60
const HOUR = 3_600
const DAY = 86_400
export const START = 1_795_000_000

/** Rules that can be switched, to show what each is for. */
export interface Rules {
  /** False: whoever can sign as the contact can begin anew. */
  readonly checksBegin: boolean
  /** `never`, or at every message for a recipient of the day, or so that it kills all older keys at once. */
  readonly anew: 'as written' | 'never' | 'always' | 'kills older keys'
  /** Whether a resend is the same ciphertext. */
  readonly resends: 'the same' | 'anew'
  /** Whether a report drops the keys that were given before it. */
  readonly reportDrops: boolean
  /** Whether a payload that comes again is reported again. */
  readonly reportsAgain: boolean
  /** Whether a text that is reported again goes to the bundle. */
  readonly renewsToBundle: boolean
  /** Whether the beginning is repeated until the contact has used a key. */
  readonly repeatsBegin: boolean
}

export const RULES: Rules = {
  checksBegin: true,
  anew: 'as written',
  resends: 'the same',
  reportDrops: true,
  reportsAgain: true,
  renewsToBundle: true,
  repeatsBegin: true,
}

export interface Setting {
  readonly seed: number
  readonly days: number
  /** Of the time, in sessions. */
  readonly online: number
  /** Of the messages. */
  readonly loss: number
  /** Of the messages that a relay delivers twice. */
  readonly repeats: number
  /** Most minutes that a message is under way. */
  readonly latency: number
  /** Hours between two restarts of the relays, which lose what they hold; 0 for none. */
  readonly restarts: number
  /** Mean minutes between two texts of a person who is online. */
  readonly pause: number
  /** Hours from the start of one session to the start of the next. */
  readonly cycle: number
  readonly disasters: readonly Disaster[]
  readonly rules: Rules
}

export interface Disaster {
  /** Hours after the start. */
  readonly at: number
  readonly who: 0 | 1
  readonly kind:
    /** The ring is gone. */
    | 'state'
    /** The ring, the outbox and the recipients of the day are gone. */
    | 'everything'
    /** The folder is as it was a week before. */
    | 'restored'
    /** The clock is wrong for an hour, by so many hours. */
    | 'clock'
    /** The person is away for ten days. */
    | 'away'
    /** The process is killed after it has written the ring, and before it confirms the next payload. */
    | 'crash'
    /** Another person signs with this person's SSH key. */
    | 'thief'
  readonly hours?: number
}

export const SETTING: Setting = {
  seed: 1,
  days: 30,
  online: 0.5,
  loss: 0,
  repeats: 0,
  latency: 0,
  restarts: 0,
  pause: 30,
  cycle: 4,
  disasters: [],
  rules: RULES,
}

interface Text {
  readonly id: string
  readonly time: number
  readonly kind: 'text' | 'receipt' | 'report'
  /** Ids, or tags. */
  readonly body: readonly string[]
  readonly after?: string
  readonly chained: boolean
  readonly left?: number
  readonly keys: readonly string[]
  readonly begin: boolean
  readonly thief?: true
}

interface Payload {
  readonly tag: string
  readonly to: string
  readonly text: Text
  readonly from: number
  readonly way: Way
}

interface Entry {
  readonly text: Text
  payload: Payload | undefined
  tags: string[]
  resends: number
  renewals: number
  next: number
  /** When it was encrypted. */
  sealed: number
}

interface Day {
  readonly recipient: string
  readonly seed: number
  readonly published: number
  replaced?: number
}

interface Disk {
  ring: Ring
  outbox: Entry[]
  seen: Set<string>
  last: string | undefined
}

interface Person extends Disk {
  readonly index: 0 | 1
  online: boolean
  until: number
  days: Day[]
  /** Whether the relay has this person's bundle. */
  published: boolean
  backups: Disk[]
  offset: number
  offsetUntil: number
  awayUntil: number
  crashes: boolean
  receipts: string[]
  told: RingEvent[]
}

export interface Outcome {
  /** Texts that were written, and those that never arrived although their sender did not lose them. */
  readonly written: number
  readonly lost: readonly string[]
  /** Texts whose sender lost its outbox before they arrived: of those that a relay held then. */
  readonly heldAtLoss: number
  readonly heldAndLost: number
  readonly sent: number
  readonly ways: Readonly<Record<Way, number>>
  readonly reports: number
  readonly renewals: number
  readonly told: readonly (readonly RingEvent[])[]
  /** By hour: how many read texts the state of both people opens. */
  readonly open: readonly number[]
  /** The same if nothing was ever erased. */
  readonly openForEver: number
  /** Texts and receipts that were encrypted to a key of the thief. */
  readonly stolen: number
  readonly largest: { readonly given: number; readonly held: number; readonly unread: number }
}

/** Marsaglia's xorshift32: enough for a simulation, and the same everywhere. */
function createRandom(seed: number): () => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1
  for (let n = 0; n < 8; n++) step()
  function step(): number {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state
  }
  return () => step() / 2 ** 32
}

export function simulate(setting: Setting): Outcome {
  const { rules } = setting
  const random = createRandom(setting.seed)
  let counter = 0
  const makeId = (): string => `m${String(++counter).padStart(9, '0')}`
  const seeds = new Map<string, Uint8Array>()
  const nameOf = (seed: Uint8Array): string => `k${new DataView(seed.buffer).getUint32(0)}`
  function makeSeed(): Uint8Array {
    const seed = new Uint8Array(32)
    new DataView(seed.buffer).setUint32(0, ++counter)
    seeds.set(nameOf(seed), seed)
    return seed
  }

  const people = ([0, 1] as const).map((index): Person => {
    const empty = { ring: EMPTY, outbox: [], seen: new Set<string>(), last: undefined }
    const zero = { online: false, until: 0, days: [], published: false, backups: [], offset: 0, offsetUntil: 0, awayUntil: 0 }
    return { index, ...empty, ...zero, crashes: false, receipts: [], told: [] }
  }) as [Person, Person]

  /** At the relays, for each person: when it can be delivered. */
  const mailboxes: { at: number; payload: Payload }[][] = [[], []]
  const written = new Map<string, { from: number; excused: boolean; held: boolean }>()
  const arrived = new Set<string>()
  /** Every read message, by recipient. */
  const readTo = new Map<string, number>()
  const ways: Record<Way, number> = { 'one-time': 0, again: 0, daily: 0 }
  let [sent, reports, renewals, stolen] = [0, 0, 0, 0]
  const open: number[] = []
  const largest = { given: 0, held: 0, unread: 0 }
  let now = START
  let isQuiet = false

  const clockOf = (person: Person): number => now + (now < person.offsetUntil ? person.offset : 0)
  const other = (person: Person): Person => people[1 - person.index]!
  /** A sender uses a bundle until 14 days after its day. */
  function bundleOf(person: Person): string | undefined {
    const day = person.days.at(-1)
    return person.published && day !== undefined && now - day.published < 14 * DAY ? day.recipient : undefined
  }

  function post(from: Person, payload: Payload): void {
    sent++
    ways[payload.way]++
    if (payload.to.startsWith('thief')) stolen++
    if (!isQuiet && random() < setting.loss) return
    const at = now + Math.floor(random() * (setting.latency + 1)) * MINUTE
    mailboxes[1 - from.index]!.push({ at, payload })
    if (!isQuiet && random() < setting.repeats) mailboxes[1 - from.index]!.push({ at: at + Math.floor(random() * 5) * HOUR, payload })
  }

  /** Writes a message. @returns undefined if there is no key for it */
  function compose(
    person: Person,
    kind: Text['kind'],
    body: readonly string[],
    way?: 'daily',
  ): { text: Text; payload: Payload } | undefined {
    const time = clockOf(person)
    const id = makeId()
    const fresh = Array.from({ length: countFresh(person.ring, time) }, makeSeed)
    const bundle = bundleOf(other(person))
    const options = { id, time, ...(bundle === undefined ? {} : { bundle }), ...(way === undefined ? {} : { way }) }
    const made = onSend(person.ring, options, fresh)
    if (made === undefined) return undefined
    const began = person.ring.known || person.ring.given.length > 0 || person.ring.held.length > 0
    const left = made.left ?? (rules.repeatsBegin || !began ? undefined : 0)
    person.ring = made.ring
    const text: Text = {
      id,
      time,
      kind,
      body,
      chained: true,
      ...(person.last === undefined ? {} : { after: person.last }),
      ...(left === undefined ? {} : { left }),
      keys: fresh.map(nameOf),
      begin: made.begin,
    }
    if (kind === 'text') person.last = id
    return { text: { ...text, chained: kind === 'text' }, payload: { tag: makeId(), to: made.to, text, from: person.index, way: made.way } }
  }

  function write(person: Person): void {
    const made = compose(person, 'text', [])
    if (made === undefined) {
      // It waits for a bundle, unsigned.
      return
    }
    const { text, payload } = made
    written.set(text.id, { from: person.index, excused: false, held: false })
    person.outbox.push({ text, payload: { ...payload, text }, tags: [payload.tag], resends: 0, renewals: 0, next: now + HOUR, sealed: now })
    post(person, { ...payload, text })
  }

  function renew(person: Person, entry: Entry, way?: 'daily'): void {
    const bundle = bundleOf(other(person))
    const options = {
      id: entry.text.id,
      time: clockOf(person),
      ...(bundle === undefined ? {} : { bundle }),
      ...(way === undefined ? {} : { way }),
    }
    const chosen = onRenew(person.ring, options, entry.text.left)
    if (chosen === undefined) return
    renewals++
    person.ring = chosen.ring
    entry.payload = { tag: makeId(), to: chosen.to, text: entry.text, from: person.index, way: chosen.way }
    entry.tags.push(entry.payload.tag)
    entry.sealed = now
    post(person, entry.payload)
  }

  const PAUSES = [HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR]

  function work(person: Person): void {
    const time = clockOf(person)
    // The bundle, once a day and after a restart of the relay.
    const day = person.days.at(-1)
    if (day === undefined || now - day.published >= DAY) {
      if (day !== undefined) day.replaced = now
      const seed = ++counter
      person.days.push({ recipient: `d${seed}`, seed, published: now })
      person.published = true
    }
    person.published = true
    person.days = person.days.filter(
      ({ replaced, published }) => (replaced === undefined || now - replaced < 8 * DAY) && now - published < 22 * DAY,
    )
    if (Math.floor(now / MINUTE) % 60 === 0) person.ring = onTick(person.ring, time).ring

    receive(person)
    if (person.receipts.length > 0) {
      const made = compose(person, 'receipt', person.receipts)
      if (made !== undefined) {
        person.receipts = []
        post(person, { ...made.payload, text: made.text })
      }
    }
    const report = takeReport(person.ring, { now: time, random: random() })
    if (report !== undefined) {
      const before = person.ring
      person.ring = report.ring
      const made = compose(person, 'report', report.tags, report.way)
      if (made === undefined) person.ring = before
      else {
        reports++
        post(person, { ...made.payload, text: made.text })
      }
    }
    for (const entry of person.outbox) {
      if (entry.next > now && entry.next <= now + DAY) continue
      entry.resends++
      entry.next = now + PAUSES[Math.min(entry.resends, PAUSES.length - 1)]!
      if (
        isGivenUp(person.ring, { resends: entry.resends, now: time }) &&
        (entry.payload!.way !== 'daily' || now - entry.sealed >= 7 * DAY)
      )
        renew(person, entry, 'daily')
      else if (rules.resends === 'anew') renew(person, entry)
      else post(person, entry.payload!)
    }
    if (!isQuiet && random() < MINUTE / (setting.pause * MINUTE)) write(person)
    largest.given = Math.max(largest.given, person.ring.given.length)
    largest.held = Math.max(largest.held, person.ring.held.length)
    largest.unread = Math.max(largest.unread, person.ring.unread.size)
  }

  function receive(person: Person): void {
    const waiting = mailboxes[person.index]!
    mailboxes[person.index] = []
    // The relay delivers again what was not confirmed.
    for (const [n, each] of waiting.entries()) {
      if (each.at > now) {
        mailboxes[person.index]!.push(each)
        continue
      }
      const wasKilled = take(person, each.payload)
      if (!wasKilled) continue
      mailboxes[person.index]!.push(each, ...waiting.slice(n + 1))
      return
    }
  }

  /** @returns whether the process was killed before it confirmed the payload */
  function take(person: Person, payload: Payload): boolean {
    const time = clockOf(person)
    const { tag, text } = payload
    const came = recognise(person.ring, tag)
    if (came === 'read') {
      if (text.kind === 'text') person.receipts.push(text.id)
      return false
    }
    const own = person.ring.given.find(({ seed }) => nameOf(seed) === payload.to)
    const isDaily = person.days.some(({ recipient }) => recipient === payload.to)
    if (own === undefined && !isDaily) {
      if (came === 'unread' && !rules.reportsAgain) return false
      person.ring = onUnopened(person.ring, { tag, now: time, random: random() })
      return false
    }
    const isRepeated = person.seen.has(text.id)
    const isGenuine = text.time <= time + 600 && text.time >= time - 14 * DAY
    if (!isGenuine && !isRepeated) {
      // Shown and marked, and it changes nothing.
      person.seen.add(text.id)
      if (text.kind === 'text') {
        arrived.add(text.id)
        person.receipts.push(text.id)
      }
      return false
    }
    read(person, payload, own?.place ?? 'daily', isRepeated)
    if (!isRepeated) {
      person.seen.add(text.id)
      arrived.add(text.id)
      if (text.kind === 'text') readTo.set(payload.to, (readTo.get(payload.to) ?? 0) + 1)
    }
    if (person.crashes) {
      person.crashes = false
      return true
    }
    if (text.kind === 'text') person.receipts.push(text.id)
    return false
  }

  function read(person: Person, payload: Payload, key: Place | 'daily', isRepeated: boolean): void {
    const { text, tag } = payload
    const isForced = rules.anew === 'always' && key === 'daily'
    const isProven = (text.begin && text.thief !== true) || !rules.checksBegin || isForced
    const left = isForced ? undefined : (text.left ?? (rules.anew === 'never' ? 0 : undefined))
    const { ring, events } = onRead(person.ring, {
      now: clockOf(person),
      id: text.id,
      time: text.time,
      tag,
      key,
      begin: isProven ? 'proven' : 'unproven',
      ...(text.chained ? { chained: text.after === undefined ? {} : { after: text.after } } : {}),
      ...(left === undefined ? {} : { left }),
      keys: text.keys,
      ...(isRepeated ? { repeated: true } : {}),
    })
    person.ring = ring
    person.told.push(...events)
    if (isRepeated || events.includes('unproven')) return
    if (text.kind === 'receipt') {
      const confirmed = new Set(text.body)
      person.outbox = person.outbox.filter((entry) => !confirmed.has(entry.text.id))
    }
    if (text.kind === 'report') {
      const named = new Set(text.body)
      const entries = person.outbox.filter(({ tags }) => tags.some((each) => named.has(each)))
      if (entries.length > 0 && rules.reportDrops) person.ring = onReport(person.ring, text)
      for (const entry of entries) {
        // Only the latest encryption counts: an earlier one was given up.
        if (entry.renewals >= RING.renewals || !named.has(entry.tags.at(-1)!)) continue
        entry.renewals++
        // The key of the report first; then the bundle, which the contact can always open.
        renew(person, entry, entry.renewals > 1 && rules.renewsToBundle ? 'daily' : undefined)
      }
    }
    if (!events.includes('anew')) return
    if (rules.anew === 'kills older keys') person.ring = { ...person.ring, given: person.ring.given.filter(({ use }) => use !== 'former') }
    for (const entry of person.outbox) renew(person, entry)
  }

  function strike({ who, kind, hours = 0 }: Disaster): void {
    const person = people[who]!
    switch (kind) {
      case 'state':
        person.ring = EMPTY
        break
      case 'everything':
        person.ring = EMPTY
        person.days = []
        for (const { text, tags } of person.outbox) {
          const isHeld = mailboxes[1 - who]!.some(({ payload }) => tags.includes(payload.tag))
          written.set(text.id, { from: who, excused: !isHeld, held: isHeld })
        }
        person.outbox = []
        person.last = undefined
        person.receipts = []
        break
      case 'restored': {
        const disk = person.backups.at(-8) ?? person.backups[0]
        if (disk === undefined) break
        const kept = new Set(disk.outbox.map(({ text }) => text.id))
        for (const { text } of person.outbox) if (!kept.has(text.id)) written.set(text.id, { from: who, excused: true, held: false })
        Object.assign(person, copy(disk))
        break
      }
      case 'clock':
        person.offset = hours * HOUR
        person.offsetUntil = now + HOUR
        break
      case 'away':
        person.awayUntil = now + 10 * DAY
        break
      case 'crash':
        person.crashes = true
        break
      case 'thief': {
        const victim = other(person)
        for (const left of [undefined, 0]) {
          const bundle = bundleOf(victim)
          if (bundle === undefined) continue
          const text: Text = {
            id: makeId(),
            time: now,
            kind: 'text',
            body: [],
            chained: true,
            keys: [`thief${++counter}`, `thief${++counter}`, `thief${++counter}`],
            begin: true,
            thief: true,
            ...(left === undefined ? {} : { left }),
          }
          mailboxes[victim.index]!.push({ at: now, payload: { tag: makeId(), to: bundle, text, from: who, way: 'daily' } })
        }
      }
    }
  }

  const copy = ({ ring, outbox, seen, last }: Disk): Disk => ({
    ring,
    outbox: outbox.map((entry) => ({ ...entry, tags: [...entry.tags] })),
    seen: new Set(seen),
    last,
  })

  const end = START + setting.days * DAY
  const disasters = setting.disasters.toSorted((one, two) => one.at - two.at)
  // Then two weeks without trouble, for what is still under way.
  for (; now < end + 20 * DAY; now += MINUTE) {
    isQuiet = now >= end
    while (disasters.length > 0 && now >= START + disasters[0]!.at * HOUR) strike(disasters.shift()!)
    const minute = Math.floor((now - START) / MINUTE)
    if (!isQuiet && setting.restarts > 0 && minute > 0 && minute % (setting.restarts * 60) === 0) {
      mailboxes[0] = []
      mailboxes[1] = []
      for (const person of people) person.published = false
    }
    for (const person of people) {
      if (minute % (24 * 60) === 0) person.backups.push(copy(person))
      if (now >= person.until) {
        person.online = isQuiet || !person.online
        const share = person.online ? setting.online : 1 - setting.online
        person.until = now + Math.max(1, Math.round(-Math.log(1 - random()) * share * setting.cycle * 60)) * MINUTE
      }
      if (isQuiet) person.awayUntil = 0
      if ((person.online || isQuiet) && now >= person.awayUntil) work(person)
    }
    if (!isQuiet && minute % 60 === 0) open.push(countOpen())
    if (isQuiet && now > end + DAY && people.every(({ outbox }) => outbox.length === 0)) break
  }

  function countOpen(): number {
    let count = 0
    for (const person of people) {
      for (const { seed } of person.ring.given) count += readTo.get(nameOf(seed)) ?? 0
      for (const { recipient } of person.days) count += readTo.get(recipient) ?? 0
    }
    return count
  }

  const mine = [...written].filter(([, { excused }]) => !excused)
  const held = [...written].filter((each) => each[1].held)
  return {
    written: written.size,
    lost: mine.filter(([id, { held: wasHeld }]) => !wasHeld && !arrived.has(id)).map(([id]) => id),
    heldAtLoss: held.length,
    heldAndLost: held.filter(([id]) => !arrived.has(id)).length,
    sent,
    ways,
    reports,
    renewals,
    told: people.map(({ told }) => told),
    open,
    openForEver: [...readTo.values()].reduce((sum, count) => sum + count, 0),
    stolen,
    largest,
  }
}

/** @returns the value below which this part of the values lies */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0
}

export { findErased, without }
