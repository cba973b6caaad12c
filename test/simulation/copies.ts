/**
 * A scenario for `copies: 2`: all receivers have addresses at two relays. While they are away, others write to them and go
 * offline. Then one relay loses its memory, and the receivers come back. Each text must be shown exactly once, before any
 * writer is online again.
 */
import { EPOCH } from './kernel.ts'
import { DAY, lasting, namesOf, type Plan, type RelayStep, type Step } from './plan.ts'
import { Random } from './random.ts'
import type { Text } from './truth.ts'
import type { World } from './world.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** A writer stays for at least so long after the last text: a client that closes at once may have sent one copy only. */
const STAYS = 5 * MINUTE
/** The receivers come back within this time. */
const RETURN = 10 * MINUTE
/** For so long they read. A client waits a minute for a text that is missing. */
const READS = 15 * MINUTE
/** How a relay loses all messages. */
const DEATHS = ['kill', 'stop', 'wipe', 'lose messages'] as const satisfies readonly RelayStep[]

/** Makes the plan of a seed. */
export function planOfCopies(seed: string): Plan {
  const random = new Random(`copies ${seed}`)
  const names = namesOf(random.between(2, 5))
  const relays = Array.from({ length: random.between(2, 3) }, (_, at) => ({ name: `Relay-${at + 1}` }))
  const people = names.map((name) => ({
    name,
    relays: relays
      .map((relay) => relay.name)
      .toSorted(() => random.next() - 0.5)
      .slice(0, 2),
    keeps: random.chance(0.85),
    secrecy: { isPublic: random.chance(0.3), copies: 2 as const },
  }))
  const steps: Step[] = []
  // First everyone writes to each other one, twice: clients learn addresses, and give each other one-time keys.
  for (const who of names)
    for (const to of names)
      for (const hour of [0, 1])
        if (who !== to) steps.push({ at: hour * HOUR + random.between(MINUTE, HOUR), do: 'write', who, to, count: 1 })
  const writers = names.slice(0, random.between(1, names.length - 1))
  const receivers = names.filter((name) => !writers.includes(name))
  for (const who of receivers) steps.push({ at: random.between(3 * HOUR, 4 * HOUR), do: 'close', who })
  // Without a receipt, a client sends a text again after an hour, perhaps to the other relay.
  const [from, to] = [4 * HOUR, 4.5 * HOUR]
  for (const who of writers) {
    for (let left = random.between(1, 5); left > 0; left--)
      steps.push({ at: random.between(from, to), do: 'write', who, to: random.pick(receivers), count: random.chance(0.2) ? 20 : 1 })
    steps.push({ at: to + random.between(STAYS, 25 * MINUTE), do: 'close', who })
  }
  const back = 5 * HOUR + lasting(random, 10 * MINUTE, 2 * DAY)
  for (const who of receivers) steps.push({ at: back + lasting(random, SECOND, RETURN), do: 'start', who })
  // While all are offline, or while the first ones read.
  const at = random.chance(0.5) ? random.between(5 * HOUR, back) : back + lasting(random, SECOND, 2 * MINUTE)
  const relay = random.pick(relays).name
  const how = random.pick(DEATHS)
  steps.push({ at, do: 'relay', relay, how })
  if ((how === 'kill' || how === 'stop') && random.chance(0.5))
    steps.push({ at: at + lasting(random, 3 * SECOND, HOUR), do: 'relay', relay, how: 'start' })
  return {
    seed,
    cast: { people, relays, isPerfect: random.chance(0.2) },
    steps: steps.toSorted((one, other) => one.at - other.at),
    length: back + RETURN + READS,
    arrives: { from, to },
  }
}

/** The texts of a plan that must be shown before the faults stop. */
function textsToArrive({ truth }: World, { arrives }: Plan): Text[] {
  if (arrives === undefined) return []
  const [since, until] = [EPOCH + arrives.from, EPOCH + arrives.to]
  const isAnswer = ({ from, to, sentAt }: Text, text: Text): boolean => from === text.to && to === text.from && sentAt < since
  return truth.texts.filter(
    (text) =>
      text.excuse === undefined &&
      text.sentAt >= since &&
      text.sentAt < until &&
      // Without a text of the receiver, the writer knows no address.
      truth.texts.some((other) => isAnswer(other, text) && other.doneBy.size > 0),
  )
}

/** A relay is about to lose its memory. Counts the copies that this concerns. */
export function countCopies(world: World, plan: Plan, relay: string): void {
  const { truth, relays } = world
  const shelf = truth.wire.storedAt(relay, relays.get(relay)!.lostAt)
  for (const { id, doneBy } of textsToArrive(world, plan))
    if (doneBy.size === 0 && shelf.holds(id)) truth.count('copies that died with a relay')
}

/** Checks that each receiver who is there saw all these texts exactly once. */
export function checkArrived(world: World, plan: Plan): void {
  const { truth, people } = world
  for (const { number, from, to, shown } of textsToArrive(world, plan)) {
    if (shown.length === 0 && people.get(to)!.isReady) truth.violate(1, `text ${number} of ${from} to ${to} should have arrived`)
    if (shown.length > 1) truth.violate(2, `text ${number} of ${from} to ${to} is shown ${shown.length} times`)
  }
  if (truth.violation !== undefined) throw truth.violation
}
