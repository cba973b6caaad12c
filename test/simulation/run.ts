/** Runs a plan, and says how it ended. */
import { checkArrived, countCopies } from './copies.ts'
import { EPOCH } from './kernel.ts'
import { MOVES_MS, type Person } from './person.ts'
import type { Plan, Step } from './plan.ts'
import { type Text, type Truth, Violation } from './truth.ts'
import { World } from './world.ts'

export interface Outcome {
  readonly violation: Violation | undefined
  readonly story: readonly string[]
  readonly record: readonly string[]
  /** Simulated days of all people together. */
  readonly personDays: number
  readonly steps: number
  readonly counts: Readonly<Record<string, number>>
}

export interface RunOptions {
  readonly tells?: boolean
  readonly records?: boolean
  /** Asked at each look: whether to give the scenario up, because there is no time left. */
  readonly isOver?: () => boolean
}

class GivenUp extends Error {}

const HOUR = 3_600_000
/** How often everything that can be seen from outside is checked. */
const LOOK = HOUR / 4
/** After the faults stop, every text reaches its end within this time: the longest pause of an outbox is a day. */
const QUIET = 30 * HOUR
/** Within this time a text is delivered, and its writer learns it, if everything works. */
const SOON = 5 * 60_000
/** Within this time a text is shown then: it takes a connection, a login, and a few turns. */
const AT_ONCE = 30_000
/** The id of the one group. */
const GROUP = 'AAAAAAAAAAAAAAAAAAAAAA'

export async function runPlan(plan: Plan, { tells = false, records = false, isOver = () => false }: RunOptions = {}): Promise<Outcome> {
  const world = new World(plan.seed, plan.cast)
  const { kernel, truth, people, relays } = world
  if (tells) truth.story = []
  if (records) truth.record = []
  try {
    for (const relay of relays.values()) relay.start()
    await kernel.run(EPOCH + 1_000)
    for (const person of people.values()) if (person.owner === person) person.start()
    let next = LOOK
    for (const step of plan.steps) {
      for (; next < step.at; next += LOOK) await look(world, next, isOver)
      await kernel.run(EPOCH + step.at)
      if (step.do === 'relay' && step.how !== 'start') countCopies(world, plan, step.relay)
      perform(world, step)
    }
    for (; next < plan.length; next += LOOK) await look(world, next, isOver)
    await kernel.run(EPOCH + plan.length)
    checkArrived(world, plan)
    await calm(world)
    checkArrived(world, plan)
  } catch (error) {
    if (error instanceof GivenUp) truth.count('given up')
    else {
      truth.violation ??=
        error instanceof Violation ? error : new Violation(0, error instanceof Error ? (error.stack ?? error.message) : String(error))
      if (!(error instanceof Violation)) truth.tell('TRUTH', `an error is left: ${truth.violation.message}`)
    }
  } finally {
    world.close()
  }
  return {
    violation: truth.violation,
    story: truth.story ?? [],
    record: truth.record ?? [],
    personDays: (people.size * (kernel.now - EPOCH)) / (24 * HOUR),
    steps: kernel.steps,
    counts: truth.counts,
  }
}

async function look(world: World, time: number, isOver: () => boolean): Promise<void> {
  if (isOver()) throw new GivenUp()
  await world.kernel.run(EPOCH + time)
  world.check()
}

function perform(world: World, step: Step): void {
  const { people, relays, network, truth, kernel } = world
  switch (step.do) {
    case 'write':
      for (let i = 0; i < step.count; i++) people.get(step.who)?.write(people.get(step.to)!, 'text', step)
      return
    case 'reply':
    case 'edit':
    case 'remove':
      return people.get(step.who)!.write(people.get(step.to)!, step.do)
    case 'group':
      for (const member of step.group) people.get(step.who)!.write(people.get(member)!, 'group text', { group: GROUP, spread: step.spread })
      return
    case 'file':
      return people.get(step.who)!.sendFile(people.get(step.to)!, step.bytes)
    case 'meet':
      return people.get(step.who)!.meet(people.get(step.whom)!)
    case 'upgrade':
    case 'downgrade':
      return people.get(step.who)!.change(step.do === 'upgrade')
    case 'forget':
      return people.get(step.who)!.forget(people.get(step.whom)!)
    case 'renew':
      return people.get(step.who)!.renew(people.get(step.for)!)
    case 'take':
      return people.get(step.who)!.take()
    case 'shut out':
    case 'admit':
      truth.count(`fault: ${step.do}`)
      truth.tell(step.relay, step.do === 'admit' ? `admits ${step.who}` : `shuts ${step.who} out`)
      return world.admit(step.relay, step.who, step.do === 'admit')
    case 'close':
      return people.get(step.who)!.close()
    case 'start':
      return people.get(step.who)!.start()
    case 'get':
      return people.get(step.who)!.get()
    case 'kill':
    case 'lose power':
      truth.count(step.do === 'kill' ? 'fault: client killed' : 'fault: power lost')
      return people.get(step.who)!.kill(step.do === 'kill' ? 'killed' : 'power lost')
    case 'network':
      truth.count(`fault: network ${step.fault}`)
      truth.tell(step.who, `has trouble with ${step.relay} for ${timeOf(step.for)}: ${step.fault}`)
      return network.trouble(step.who, relays.get(step.relay)!.address, step.fault, step.for)
    case 'disk': {
      const { disk } = people.get(step.who)!
      truth.count(`fault: disk ${step.fault}`)
      truth.tell(step.who, `has a disk that is ${step.fault} for ${timeOf(step.for)}`)
      disk.fault = step.fault
      const person = people.get(step.who)!
      kernel.at(kernel.now + step.for, undefined, () => {
        disk.fault = undefined
        person.steadySince = kernel.now
      })
      return
    }
    case 'clock':
      truth.count('fault: clock')
      truth.tell(step.machine, `has its clock moved by ${timeOf(step.by)}`)
      world.machine(step.machine).skew += step.by
      world.onClock(step.machine)
      return
    case 'sleep':
      truth.count('fault: sleep')
      truth.tell(step.machine, `sleeps for ${timeOf(step.for)}`)
      return world.machine(step.machine).sleep(step.for)
    case 'relay': {
      const relay = relays.get(step.relay)!
      if (step.how !== 'start') truth.count(`fault: relay ${step.how}`)
      truth.tell(step.relay, RELAY_STEPS[step.how])
      switch (step.how) {
        case 'kill':
          return relay.kill()
        case 'stop':
          return relay.stop()
        case 'start':
          return relay.start()
        case 'wipe':
          return relay.wipe()
        case 'rotate':
          return world.rotate(step.relay)
        case 'retire':
          return relay.retire()
        case 'upgrade':
          return relay.handOver()
        case 'lose messages':
          return relay.handOver(true)
        case 'kill the new process':
          return relay.killNext()
        case 'kill the new process at the doors':
          return relay.killNextAtDoors()
      }
    }
  }
}

const RELAY_STEPS = {
  kill: 'is killed',
  stop: 'is stopped',
  start: 'starts',
  wipe: 'is wiped',
  rotate: 'gets another address',
  retire: 'gives its old address up',
  upgrade: 'is upgraded',
  'lose messages': 'is upgraded by a program that loses messages',
  'kill the new process': 'has its new process killed',
  'kill the new process at the doors': 'will have its new process killed once its doors are closed',
} as const

/** Writes a length of time as `1 h 20 min`. */
function timeOf(milliseconds: number): string {
  const seconds = Math.round(Math.abs(milliseconds) / 1_000)
  const parts = [
    [Math.floor(seconds / 3_600), 'h'],
    [Math.floor((seconds % 3_600) / 60), 'min'],
    [seconds % 60, 's'],
  ] as const
  const text = parts.flatMap(([count, unit]) => (count > 0 ? [`${count} ${unit}`] : [])).join(' ')
  return `${milliseconds < 0 ? '-' : ''}${text || '0 s'}`
}

/** The faults stop: everything that is down starts, and every text must reach its end. */
async function calm(world: World): Promise<void> {
  const { kernel, truth } = world
  truth.tell('WORLD', 'the faults stop')
  world.calm()
  const since = kernel.now
  for (;;) {
    await kernel.run(kernel.now + HOUR)
    world.check()
    if (unsettled(world).length === 0) {
      world.checkAtEnd()
      return probe(world)
    }
    if (kernel.now - since > QUIET) break
  }
  const [text] = unsettled(world)
  truth.violate(
    1,
    `text ${text!.number} of ${text!.from} to ${text!.to} is ${text!.state} and ${text!.doneBy.size > 0 ? 'was shown' : 'was not shown'} ${QUIET / HOUR} hours after the faults stopped`,
  )
  throw truth.violation!
}

/** Everything works. A text that is written now is delivered soon. */
async function probe(world: World): Promise<void> {
  const { kernel, truth, people } = world
  const everyone = [...people.values()].filter((person) => person.owner === person)
  truth.tell('WORLD', 'everyone writes to the next one')
  const first = truth.texts.length
  for (const [at, person] of everyone.entries()) {
    const next = everyone[(at + 1) % everyone.length]!
    if (world.admits(person.name, next.name)) person.write(next)
  }
  await kernel.run(kernel.now + AT_ONCE)
  const probes = truth.texts.slice(first)
  // A contact who knows only the address at the old name of a relay goes to the inbox after a while, with a text or a receipt.
  const hasLeft = ({ hides, owner }: Person): boolean => hides && owner.movedAt > 0
  const hasMoved = ({ from, to }: Text): boolean => hasLeft(people.get(from)!) || hasLeft(people.get(to)!)
  for (const text of probes) {
    const { number, from, to, error, doneBy, named } = text
    if (hasMoved(text)) continue
    // A text may be at the relay's sending limit, or wait for one that this device does not have, as one that failed.
    if (error !== undefined || (named !== undefined && !named.doneBy.has(to))) continue
    if (doneBy.size === 0) truth.violate(7, `text ${number} of ${from} to ${to} is not shown ${AT_ONCE / 1_000} s after it was written`)
  }
  await kernel.run(kernel.now + SOON - AT_ONCE)
  const check = (texts: readonly Text[], within: number): void => {
    for (const { number, from, to, state, doneBy, error } of texts) {
      if (error !== undefined) continue
      const minutes = within / 60_000
      if (doneBy.size === 0) truth.violate(7, `text ${number} of ${from} to ${to} is not shown ${minutes} minutes after it was written`)
      else if (world.admits(to, from) && state !== 'delivered' && state !== 'read')
        truth.violate(7, `text ${number} of ${from} to ${to} is ${state}, and was written ${minutes} minutes ago`)
    }
  }
  check(
    probes.filter((text) => !hasMoved(text)),
    SOON,
  )
  if (probes.some(hasMoved)) {
    await kernel.run(kernel.now + 2 * MOVES_MS)
    check(probes.filter(hasMoved), SOON + 2 * MOVES_MS)
  }
  if (truth.violation !== undefined) throw truth.violation
}

function unsettled(world: World): Truth['texts'] {
  return world.truth.texts.filter(({ from, to, state, doneBy, excuse }) => {
    if (state === 'expired' || state === 'failed' || excuse !== undefined) return false
    const isDone = doneBy.size > 0
    // No relay of the writer lets the receiver send a receipt.
    if (isDone && !world.admits(to, from)) return false
    return !isDone || (state !== 'delivered' && state !== 'read')
  })
}
