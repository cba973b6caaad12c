/**
 * The rules of docs/protocol.md, section 13, together: two people through bad relays, with lost and restored state. No
 * accepted text may be lost, and the figures say how many texts the state of both people opens. Each rule that can be
 * switched has a run without it, which must fail.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Disaster, type Outcome, quantile, type Rules, RULES, type Setting, SETTING, simulate } from './model.ts'

const BAD: Partial<Setting> = { loss: 0.05, restarts: 24, latency: 3, repeats: 0.02, pause: 20, cycle: 8, days: 14 }

/** Several runs with different seeds. */
class Runs {
  readonly outcomes: readonly Outcome[]

  constructor(setting: Partial<Setting>, count = 3, rules: Partial<Rules> = {}) {
    this.outcomes = Array.from({ length: count }, (_, n) =>
      simulate({ ...SETTING, ...setting, seed: n + 1, rules: { ...RULES, ...rules } }),
    )
  }

  sum(of: (outcome: Outcome) => number): number {
    return this.outcomes.reduce((sum, outcome) => sum + of(outcome), 0)
  }

  get lost(): readonly string[] {
    return this.outcomes.flatMap(({ lost }) => lost)
  }

  /** The part of the messages that had a key of their own. */
  get own(): number {
    return this.sum(({ ways }) => ways['one-time']) / this.sum(({ sent }) => sent)
  }

  /** The open texts, after three days. @param part 0.5 for the median */
  open(part: number): number {
    return quantile(
      this.outcomes.flatMap(({ open }) => open.slice(72)),
      part,
    )
  }

  events(name: string): number {
    return this.outcomes.flatMap(({ told }) => told.flat()).filter((each) => each === name).length
  }
}

const both = (kind: Disaster['kind'], at: number): Disaster[] => [
  { at, who: 0, kind },
  { at, who: 1, kind },
]

describe('the figures', { timeout: 120_000 }, () => {
  // The settings of docs/decisions/0025, with fewer days and seeds.
  test.each<[string, Partial<Setting>, { own: number; median: number; most: number }]>([
    ['online 95 % of the time', { online: 0.95, days: 8 }, { own: 0.98, median: 1, most: 2 }],
    ['online 50 %', { days: 20 }, { own: 0.78, median: 0, most: 30 }],
    [
      'online 50 %, loss and restarts',
      { loss: 0.05, restarts: 24, latency: 3, repeats: 0.02, days: 20 },
      { own: 0.75, median: 12, most: 90 },
    ],
    ['online 10 %', { online: 0.1, days: 30 }, { own: 0.73, median: 30, most: 72 }],
  ])('%s', (_name, setting, { own, median, most }) => {
    const runs = new Runs({ pause: 10, cycle: 8, ...setting }, 2)
    expect(runs.lost).toEqual([])
    expect(runs.own).toBeGreaterThan(own)
    expect(runs.open(0.5)).toBeLessThanOrEqual(median)
    expect(runs.open(0.95)).toBeLessThanOrEqual(most)
    // Without erasing, every text stays open.
    expect(runs.sum(({ openForEver }) => openForEver)).toBe(runs.sum(({ written }) => written))
  })
})

describe('nothing is lost', { timeout: 120_000 }, () => {
  test.each<[string, readonly Disaster[]]>([
    ['with bad relays alone', []],
    ['if the state is lost, twice in an hour, and again', [100, 101, 200].map((at) => ({ at, who: 0, kind: 'state' }))],
    ['if both lose their state at once', both('state', 100)],
    ['if a folder is restored that is a week old', [{ at: 200, who: 0, kind: 'restored' }]],
    ['if both folders are restored', both('restored', 200)],
    ['if a person is away for ten days', [{ at: 60, who: 1, kind: 'away' }]],
    [
      'if a person is away for ten days and then loses the state',
      [
        { at: 60, who: 1, kind: 'away' },
        { at: 250, who: 1, kind: 'state' },
      ],
    ],
    ['by a clock that is 20 days ahead for an hour', [{ at: 100, who: 0, kind: 'clock', hours: 480 }]],
    ['by a clock that is 26 hours back for an hour', [{ at: 100, who: 0, kind: 'clock', hours: -26 }]],
    [
      'by a process that is killed before it confirms',
      Array.from({ length: 30 }, (_, n) => ({ at: 20 + 9 * n, who: (n % 2) as 0 | 1, kind: 'crash' })),
    ],
  ])('%s', (_name, disasters) => {
    const runs = new Runs({ ...BAD, disasters })
    expect(runs.sum(({ written }) => written)).toBeGreaterThan(1_000)
    expect(runs.lost).toEqual([])
    expect(runs.events('unproven')).toBe(0)
    expect(runs.events('two-clients')).toBe(0)
  })

  test('that a relay held, if the outbox is lost too', () => {
    const slow = {
      loss: 0,
      restarts: 0,
      latency: 720,
      pause: 20,
      cycle: 8,
      days: 14,
      disasters: [{ at: 100, who: 0, kind: 'everything' }],
    } as const
    const runs = new Runs(slow, 4)
    expect(runs.sum(({ heldAtLoss }) => heldAtLoss)).toBeGreaterThan(30)
    expect(runs.sum(({ heldAndLost }) => heldAndLost)).toBe(0)
    // Declaring all older keys dead loses some.
    expect(new Runs(slow, 4, { anew: 'kills older keys' }).sum(({ heldAndLost }) => heldAndLost)).toBeGreaterThan(0)
  })

  test('and the client tells the user of each lost state', () => {
    const runs = new Runs({ ...BAD, disasters: [{ at: 100, who: 0, kind: 'state' }] }, 4)
    expect(runs.outcomes.map(({ told }) => told)).toEqual(Array.from({ length: 4 }, () => [[], ['anew']]))
    const silent = new Runs({ ...BAD, disasters: [{ at: 100, who: 0, kind: 'state' }] }, 4, { anew: 'never' })
    expect(silent.events('anew')).toBe(0)
  })
})

test('nothing is lost whatever happens to whom, and when', { timeout: 120_000 }, () => {
  const disaster = fc.record({
    at: fc.nat(200),
    who: fc.constantFrom(0 as const, 1 as const),
    kind: fc.constantFrom('state', 'restored', 'clock', 'away', 'crash', 'thief'),
    hours: fc.integer({ min: -500, max: 500 }),
  })
  const setting = fc.record({
    seed: fc.nat(),
    online: fc.constantFrom(0.1, 0.5, 0.9),
    loss: fc.constantFrom(0, 0.05, 0.2),
    latency: fc.constantFrom(0, 3, 60, 720),
    restarts: fc.constantFrom(0, 7, 24),
    cycle: fc.constantFrom(2, 8, 24),
    repeats: fc.constantFrom(0, 0.05),
    disasters: fc.array(disaster, { maxLength: 5 }),
  })
  fc.assert(
    fc.property(setting, (each) => {
      const { lost, stolen } = simulate({ ...SETTING, ...each, pause: 30, days: 9 })
      expect([lost, stolen]).toEqual([[], 0])
    }),
    { numRuns: 15 },
  )
})

describe('a thief of the SSH key', { timeout: 120_000 }, () => {
  const disasters: readonly Disaster[] = [100, 150].map((at) => ({ at, who: 0, kind: 'thief' }))

  test('gets no message, and the client tells the user', () => {
    const runs = new Runs({ ...BAD, disasters })
    expect(runs.sum(({ stolen }) => stolen)).toBe(0)
    expect(runs.events('unproven')).toBe(6)
    expect(runs.lost).toEqual([])
  })

  test('takes the conversation over if `begin` is not checked', () => {
    const runs = new Runs({ ...BAD, disasters }, 3, { checksBegin: false })
    expect(runs.sum(({ stolen }) => stolen)).toBeGreaterThan(30)
  })
})

describe('without one of the rules', { timeout: 120_000 }, () => {
  const worse = { ...BAD, days: 13, online: 0.3, loss: 0.2, latency: 60, pause: 40 } as const

  test('texts are lost if a report only makes the sender encrypt the named texts anew', () => {
    const disasters: readonly Disaster[] = [{ at: 200, who: 0, kind: 'restored' }]
    const plain = { reportDrops: false, renewsToBundle: false }
    expect(new Runs({ ...worse, disasters }, 12).lost).toEqual([])
    expect(new Runs({ ...worse, disasters }, 12, plain).lost.length).toBeGreaterThan(0)
  })

  test('texts are lost if one that is reported again does not go to the bundle', () => {
    const disasters: readonly Disaster[] = [
      { at: 193, who: 0, kind: 'state' },
      { at: 200, who: 0, kind: 'away' },
    ]
    const slow = { ...worse, latency: 720, repeats: 0.05, disasters }
    expect(new Runs(slow, 30).lost).toEqual([])
    expect(new Runs(slow, 30, { renewsToBundle: false }).lost.length).toBeGreaterThan(0)
  })

  test('many more texts stay open if each resend is encrypted anew', () => {
    expect(new Runs(BAD, 3, { resends: 'anew' }).open(0.5)).toBeGreaterThan(10 * Math.max(1, new Runs(BAD).open(0.5)))
  })

  test('users get false alarms if every message for a recipient of the day counts as a beginning', () => {
    const disasters: readonly Disaster[] = [{ at: 100, who: 0, kind: 'state' }]
    expect(new Runs({ ...BAD, disasters }, 4, { anew: 'always' }).events('anew')).toBeGreaterThan(4)
  })
})
