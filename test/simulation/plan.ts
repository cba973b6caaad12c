/**
 * A scenario: who takes part, and what happens when. A seed gives the whole plan; a plan is plain data, so that a failing
 * one can be made smaller (shrink.ts), told as a story, and kept in a file (plans/).
 */
import type { DiskFault } from './disk.ts'
import { NETWORK_FAULTS, type NetworkFault } from './network.ts'
import { Random } from './random.ts'

export interface Cast {
  readonly people: readonly {
    readonly name: string
    /** The relays that the person receives from. */
    readonly relays: readonly string[]
    readonly keeps: boolean
    /** Another device with the same key. */
    readonly second?: string
    /** People whom they do not have as contacts at first. */
    readonly strangers?: readonly string[]
    /** How the client hides them from relays; without it, they have an earlier version of the program. */
    readonly secrecy?: Hiding
  }[]
  readonly relays: readonly {
    readonly name: string
    /** Undefined for an open relay. */
    readonly admits?: readonly string[] | undefined
    /** For how long it holds a message, seconds, if not for the usual time. */
    readonly hold?: number
  }[]
  readonly isPerfect: boolean
}

/** How a client hides its user from relays. */
export interface Hiding {
  /** Whether it receives from the mailbox of the user's own key, too: people with an earlier version write to it. */
  readonly isPublic: boolean
  readonly copies?: 1 | 2
  /** They have an earlier version at first. */
  readonly isLater?: true
}

export type Action =
  /**
   * @param within seconds after which their writer gives them up, if not after the usual time
   * @param hurry whether the writer waits for them
   */
  | {
      readonly do: 'write'
      readonly who: string
      readonly to: string
      readonly count: number
      readonly within?: number
      readonly hurry?: true
    }
  | { readonly do: 'reply' | 'edit' | 'remove'; readonly who: string; readonly to: string }
  /** Writes a text to all others of a group. @param spread whether each leaves at a random moment, as in the program */
  | { readonly do: 'group'; readonly who: string; readonly group: readonly string[]; readonly spread?: true }
  | { readonly do: 'file'; readonly who: string; readonly to: string; readonly bytes: number }
  /** Makes a stranger a contact. */
  | { readonly do: 'meet'; readonly who: string; readonly whom: string }
  /** Takes a device into use: the mailboxes are there from now on. */
  | { readonly do: 'take'; readonly who: string }
  | { readonly do: 'close' | 'start' | 'kill' | 'lose power'; readonly who: string }
  /** Starts the client, gets what waits, and closes it, as `asfaleia get` does. */
  | { readonly do: 'get'; readonly who: string }
  /** Closes the client, and starts a version with or without secrecy. */
  | { readonly do: 'upgrade' | 'downgrade'; readonly who: string }
  /** Removes a contact, and adds it again: the keys and addresses for it are lost. */
  | { readonly do: 'forget'; readonly who: string; readonly whom: string }
  /** A contact gets a new address with the next message. */
  | { readonly do: 'renew'; readonly who: string; readonly for: string }
  | { readonly do: 'network'; readonly who: string; readonly relay: string; readonly fault: NetworkFault; readonly for: number }
  | { readonly do: 'disk'; readonly who: string; readonly fault: DiskFault; readonly for: number }
  /** The clock of a machine jumps. */
  | { readonly do: 'clock'; readonly machine: string; readonly by: number }
  | { readonly do: 'sleep'; readonly machine: string; readonly for: number }
  /** The operator removes a key from the list, or puts it back. */
  | { readonly do: 'shut out' | 'admit'; readonly relay: string; readonly who: string }
  | { readonly do: 'relay'; readonly relay: string; readonly how: RelayStep }

export type RelayStep =
  | 'kill'
  | 'stop'
  | 'start'
  | 'wipe'
  | 'upgrade'
  /** A new process takes over, loses every message, and no client can notice. */
  | 'lose messages'
  | 'kill the new process'
  /** The new process dies once the one before has closed its doors. */
  | 'kill the new process at the doors'
  | 'rotate'
  | 'retire'

export type Step = Action & {
  /** ms after the start. */
  readonly at: number
}

export interface Plan {
  readonly seed: string
  readonly cast: Cast
  readonly steps: readonly Step[]
  /** When the faults stop, ms after the start. */
  readonly length: number
  /** Texts that were written then, ms after the start, must be shown exactly once before the faults stop (copies.ts). */
  readonly arrives?: { readonly from: number; readonly to: number }
}

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
const NAMES = ['Ada', 'Bob', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gus', 'Hal', 'Ida', 'Jo'] as const
const nameOf = (number: number): string => NAMES[number % 10]! + ['', ' II', ' III', ' IV'][Math.floor(number / 10)]!
/** The names of the people of a village. */
export const namesOf = (count: number): string[] => Array.from({ length: count }, (_, at) => nameOf(at))

/** How often each kind of fault comes, against the others. */
export const FAULTS = {
  network: 12,
  'kill client': 3,
  'power failure': 2,
  disk: 3,
  'kill relay': 2,
  'restart relay': 2,
  'wipe relay': 1,
  'upgrade relay': 2,
  'relay lies': 1,
  'rotate address': 0.5,
  'shut out': 1,
  'small clock jump': 1,
  'large clock jump': 0.5,
  'client sleeps': 2,
  'relay sleeps': 1,
} as const
/** The same for the things that people do. */
export const WORK = { write: 20, burst: 1, reply: 3, edit: 1, remove: 0.5, group: 2, file: 0.5, take: 1, renew: 0.3 } as const
/** How often a person has each version of the program. */
const VERSIONS = { hides: 14, upgrades: 2, downgrades: 1, old: 3 } as const
const DISK_FAULTS = { full: 3, 'read-only': 2, failing: 1 } as const
/** Faults in a day of one person, about. */
const FAULTS_A_DAY = 4

/** How long something lasts: mostly short, seldom long. */
export function lasting(random: Random, least: number, most: number): number {
  return Math.round(least * (most / least) ** random.next())
}

export interface Size {
  readonly people: number
  readonly days: number
}

/** Makes the plan of a seed. @param size of a village; 2 to 5 people for some days by default */
export function planOf(seed: string, size?: Size): Plan {
  const random = new Random(`plan ${seed}`)
  // Sometimes long enough that messages expire.
  const isLong = size === undefined && random.chance(0.15)
  const count = size?.people ?? (isLong ? 2 : random.between(2, 5))
  const names = namesOf(count)
  const relays = Array.from({ length: random.between(1, 3) }, (_, at) => `Relay-${at + 1}`)
  const length = size === undefined ? (isLong ? 10 : Math.ceil(random.between(10, 20) / count / 2)) * DAY : size.days * DAY
  const isPerfect = random.chance(0.05)
  const versions = names.map(() => random.weighted(VERSIONS))
  const isMixed = versions.some((each) => each !== 'hides')
  const people = names.map((name, at) => {
    const strangers = names.filter((other) => other !== name && random.chance(0.1))
    const version = versions[at]!
    const own = relays.toSorted(() => random.next() - 0.5).slice(0, random.between(1, relays.length))
    return {
      name,
      relays: own,
      keeps: random.chance(0.85),
      ...(random.chance(0.15) && version === 'old' && { second: `${name}'s phone` }),
      ...(strangers.length > 0 && { strangers }),
      ...(version !== 'old' && {
        secrecy: {
          isPublic: isMixed || random.chance(0.3),
          ...(own.length === 2 && random.chance(0.5) && { copies: 2 as const }),
          ...(version === 'upgrades' && { isLater: true as const }),
        },
      }),
    }
  })
  const cast: Cast = {
    people,
    relays: relays.map((name) => ({
      name,
      admits: random.chance(0.7)
        ? undefined
        : people.filter(({ relays }) => relays.includes(name) || random.chance(0.8)).map(({ name }) => name),
      ...(random.chance(0.15) && { hold: Math.round(lasting(random, 2 * HOUR, DAY) / SECOND) }),
    })),
    isPerfect,
  }
  const steps: Step[] = []
  for (const [at, person] of people.entries()) {
    live(random, person, names, { length, isAway: isLong && at === 0 }, steps)
    const version = versions[at]
    const time = random.between(0, length)
    if (version === 'upgrades') steps.push({ at: time, do: 'upgrade', who: person.name })
    if (version !== 'downgrades') continue
    steps.push({ at: time, do: 'downgrade', who: person.name })
    steps.push({ at: time + lasting(random, HOUR, 3 * DAY), do: 'upgrade', who: person.name })
  }
  const faults = isPerfect ? 0 : Math.round((FAULTS_A_DAY * random.next() * 2 * names.length * length) / DAY)
  for (let i = 0; i < faults; i++) strike(random, cast, random.between(MINUTE, length - DAY / 24), steps)
  return { seed, cast, steps: steps.toSorted((one, other) => one.at - other.at), length }
}

/**
 * When a person has the client open, and what they do meanwhile.
 * @param time.isAway whether they are away at first for longer than relays hold messages
 */
function live(
  random: Random,
  person: Cast['people'][number],
  names: readonly string[],
  { length, isAway }: { readonly length: number; readonly isAway: boolean },
  steps: Step[],
): void {
  const who = person.name
  const others = names.filter((each) => each !== who)
  const isAlways = !isAway && random.chance(0.1)
  for (const whom of person.strangers ?? []) steps.push({ at: random.between(0, length), do: 'meet', who, whom })
  let at = 0
  while (at < length) {
    const end = isAlways ? length : Math.min(length, at + lasting(random, 2 * MINUTE, 4 * HOUR))
    const count = random.between(0, isAlways ? 20 * (length / DAY) : 6)
    for (let i = 0; i < count; i++) act(random, person, others, random.between(at, end), steps)
    if (isAlways || end === length) return
    steps.push({ at: end, do: 'close', who })
    // Mostly some hours, sometimes days.
    const pause = isAway && at === 0 ? random.between(7 * DAY, 9 * DAY) : random.chance(0.1) ? random.between(DAY, 3 * DAY) : undefined
    at = end + (pause ?? lasting(random, 10 * MINUTE, 12 * HOUR))
    if (random.chance(0.2)) steps.push({ at: random.between(end, at), do: 'get', who })
    if (at < length) steps.push({ at, do: 'start', who })
  }
}

/** Sometimes more texts than a relay gives at once. */
const burst = (random: Random): number => (random.chance(0.2) ? random.between(70, 120) : random.between(5, 40))

function act(random: Random, { name: who, second }: Cast['people'][number], others: readonly string[], at: number, steps: Step[]): void {
  const to = random.pick(others)
  const kind = random.weighted(WORK)
  switch (kind) {
    case 'write':
    case 'burst':
      steps.push({
        at,
        do: 'write',
        who,
        to,
        count: kind === 'write' ? 1 : burst(random),
        ...(random.chance(0.1) && { within: Math.round(lasting(random, MINUTE, DAY) / SECOND) }),
        ...(random.chance(0.1) && { hurry: true as const }),
      })
      return
    case 'reply':
    case 'edit':
    case 'remove':
      steps.push({ at, do: kind, who, to })
      return
    case 'group':
      steps.push({ at, do: 'group', who, group: others.slice(0, 8).filter((each) => each === to || random.chance(0.7)), spread: true })
      return
    case 'file':
      steps.push({ at, do: 'file', who, to, bytes: lasting(random, 1, 400_000) })
      return
    case 'renew':
      steps.push({ at, do: 'renew', who, for: to })
      return
    case 'take':
      if (second === undefined) return
      steps.push({ at, do: 'take', who: second })
      if (random.chance(0.5)) steps.push({ at: at + lasting(random, SECOND, HOUR), do: 'write', who: second, to, count: 1 })
      steps.push({ at: at + lasting(random, MINUTE, 6 * HOUR), do: random.chance(0.5) ? 'take' : 'start', who })
  }
}

/** Some people write, to one of them or to each other. */
function meanwhile(random: Random, { people }: Cast, to: string | undefined, at: number, length: number, steps: Step[]): void {
  for (const { name: who } of people) {
    if (who === to || random.chance(0.3)) continue
    const others = people.map(({ name }) => name).filter((name) => name !== who)
    steps.push({ at: at + random.between(0, length), do: 'write', who, to: to ?? random.pick(others), count: 1 })
  }
}

function strike(random: Random, cast: Cast, at: number, steps: Step[]): void {
  const who = random.pick(cast.people).name
  const relay = random.pick(cast.relays).name
  const kind = random.weighted(FAULTS)
  switch (kind) {
    case 'network':
      const fault = random.pick(NETWORK_FAULTS)
      const length = lasting(random, 5 * SECOND, 3 * HOUR)
      steps.push({ at, do: 'network', who, relay, fault, for: length })
      // What comes to a client that does not notice yet that its connection is dead.
      if (fault === 'half-open' || fault === 'no-requests') meanwhile(random, cast, who, at, Math.min(length, MINUTE), steps)
      return
    case 'kill client':
    case 'power failure':
      steps.push({ at, do: kind === 'kill client' ? 'kill' : 'lose power', who })
      steps.push({ at: at + lasting(random, SECOND, HOUR), do: 'start', who })
      return
    case 'disk':
      steps.push({ at, do: 'disk', who, fault: random.weighted(DISK_FAULTS), for: lasting(random, SECOND, HOUR) })
      return
    case 'kill relay':
    case 'restart relay':
      steps.push({ at, do: 'relay', relay, how: kind === 'kill relay' ? 'kill' : 'stop' })
      steps.push({ at: at + lasting(random, 3 * SECOND, HOUR), do: 'relay', relay, how: 'start' })
      return
    case 'upgrade relay': {
      steps.push({ at, do: 'relay', relay, how: 'upgrade' })
      meanwhile(random, cast, undefined, at, 3 * SECOND, steps)
      const end = random.weighted({ none: 3, kill: 1, 'kill the new process': 1, 'kill the new process at the doors': 1 })
      if (end === 'none') return
      if (end === 'kill the new process at the doors') {
        steps.push({ at, do: 'relay', relay, how: end })
        return
      }
      const killed = at + lasting(random, 1, 5 * SECOND)
      steps.push({ at: killed, do: 'relay', relay, how: end })
      if (end === 'kill') steps.push({ at: killed + lasting(random, 10 * SECOND, HOUR), do: 'relay', relay, how: 'start' })
      return
    }
    case 'relay lies':
      steps.push({ at, do: 'relay', relay, how: 'lose messages' })
      return
    case 'wipe relay':
      steps.push({ at, do: 'relay', relay, how: 'wipe' })
      return
    case 'rotate address':
      // A person whose first relay admits a list of keys has no inbox. Once the relay of their address is at another name,
      // contacts reach them only after they write something new.
      const hasInbox = ({ secrecy, relays }: Cast['people'][number]): boolean =>
        secrecy === undefined || cast.relays.find(({ name }) => name === relays[0])?.admits === undefined
      if (cast.people.some((person) => person.relays.includes(relay) && !hasInbox(person))) return
      steps.push({ at, do: 'relay', relay, how: 'rotate' })
      steps.push({ at: at + lasting(random, HOUR, 3 * DAY), do: 'relay', relay, how: 'retire' })
      return
    case 'shut out': {
      const closed = cast.relays.filter(({ admits }) => admits?.includes(who) === true)
      if (closed.length === 0) return
      const from = random.pick(closed).name
      steps.push({ at, do: 'shut out', relay: from, who })
      steps.push({ at: at + lasting(random, MINUTE, DAY), do: 'admit', relay: from, who })
      return
    }
    case 'small clock jump':
    case 'large clock jump': {
      const most = kind === 'small clock jump' ? 5 * MINUTE : 9 * DAY
      const by = lasting(random, SECOND, most) * (random.chance(0.5) ? 1 : -1)
      const machine = random.chance(0.8) ? who : relay
      steps.push({ at, do: 'clock', machine, by })
      steps.push({ at: at + lasting(random, MINUTE, DAY), do: 'clock', machine, by: -by })
      return
    }
    case 'client sleeps':
      steps.push({ at, do: 'sleep', machine: who, for: lasting(random, SECOND, HOUR) })
      return
    case 'relay sleeps':
      steps.push({ at, do: 'sleep', machine: relay, for: lasting(random, SECOND, 10 * MINUTE) })
  }
}
