import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Group, type Candidate, Unproven } from '../../src/relay/unproven.ts'

interface Named extends Candidate {
  readonly name: string
  readonly group: Group<Named>
  received: number
}

function createCrowd() {
  const unproven = new Unproven<Named>()
  const groups = new Map<string, Group<Named>>()
  const enter = (circuit: string, name: string, received = 0): Named => {
    let group = groups.get(circuit)
    if (group === undefined) groups.set(circuit, (group = new Group()))
    const stream = { name, group, received, level: 0 }
    unproven.add(stream, group)
    return stream
  }
  const leave = (stream: Named): void => unproven.delete(stream, stream.group)
  /** The names in the order in which they would give way, one after the other. */
  const order = (): string[] => {
    const names: string[] = []
    for (;;) {
      const next = unproven.findNext()
      if (next === undefined) return names
      names.push(next.name)
      leave(next)
    }
  }
  return { unproven, enter, leave, order }
}

describe('of too many unproven streams', () => {
  it('one of the circuit with the most of them gives way', () => {
    const { enter, order } = createCrowd()
    for (const name of ['a1', 'b1', 'c1', 'b2', 'c2', 'c3']) enter(name[0]!, name)
    expect(order().slice(0, 3)).toEqual(['c1', 'b1', 'c2'])
  })

  it('silent ones give way before an older one that sent a single byte', () => {
    const { enter, order } = createCrowd()
    enter('a', 'one byte', 1)
    for (const name of ['silent', 'other']) enter('a', name)
    expect(order()[0]).toBe('silent')
  })

  it.each(['in one circuit', 'in a circuit each'])('silent ones give way to silent ones, and not a login that is older, %s', (how) => {
    const { unproven, enter, leave } = createCrowd()
    let circuits = 0
    const circuit = (): string => (how === 'in one circuit' ? 'a' : String(circuits++))
    const login = enter(circuit(), 'login')
    const second = enter(circuit(), 'second')
    for (let n = 0; n < 98; n++) enter(circuit(), `${n}`)
    for (const [each, received] of [
      [login, 130],
      [second, 90],
    ] as const)
      each.received = received
    const gone: string[] = []
    for (let n = 100; n < 5_000; n++) {
      const next = unproven.findNext()!
      gone.push(next.name)
      leave(next)
      enter(circuit(), `${n}`)
    }
    expect(gone.slice(0, 3)).toEqual(['0', '1', '2'])
    expect(gone).not.toContain('login')
    expect(gone).not.toContain('second')
  })

  it.each(['in one circuit', 'in a circuit each'])('ones that sent much and wait give way to a silent newcomer, %s', (how) => {
    const { unproven, enter, leave } = createCrowd()
    let circuits = 0
    const circuit = (): string => (how === 'in one circuit' ? 'a' : String(circuits++))
    for (let n = 0; n < 100; n++) enter(circuit(), `${n}`).received = 8_000
    const newcomer = enter(circuit(), 'newcomer')
    for (let n = 100; n < 150; n++) {
      const next = unproven.findNext()!
      expect(next.name).toBe(String(n - 100))
      leave(next)
      enter(circuit(), `${n}`).received = 8_000
    }
    newcomer.received = 200
    expect(unproven.findNext()!.name).toBe('50')
  })

  it('of classes of the same size, the one that sent fewer bytes gives way', () => {
    const { enter, order } = createCrowd()
    for (const received of [130, 8_000, 0, 50, 3, 5_000_000_000]) enter('a', String(received), received)
    expect(order()).toEqual(['0', '3', '50', '130', '8000', '5000000000'])
  })

  it('none gives way if there is none', () => {
    const { unproven, enter, leave } = createCrowd()
    expect(unproven.findNext()).toBeUndefined()
    leave(enter('a', 'a'))
    expect([unproven.findNext(), unproven.count]).toEqual([undefined, 0])
  })

  it('one is chosen of the largest circuit, whatever came, sent and left before', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ circuit: fc.nat(4), received: fc.nat(300), what: fc.nat(3), at: fc.nat(99) }), { maxLength: 60 }),
        (steps) => {
          const { unproven, enter, leave } = createCrowd()
          let there: Named[] = []
          for (const { circuit, received, what, at } of steps) {
            const one = there[at % Math.max(1, there.length)]
            if (what < 2) there.push(enter(String(circuit), String(there.length)))
            else if (what === 2 && one !== undefined) one.received += received
            else if (one !== undefined) {
              leave(one)
              there = there.filter((each) => each !== one)
            }
            expect(unproven.count).toBe(there.length)
            const next = unproven.findNext()
            const sizeOf = (each: Named): number => there.filter(({ group }) => group === each.group).length
            if (next === undefined) expect(there).toEqual([])
            else expect(sizeOf(next)).toBe(Math.max(...there.map(sizeOf)))
          }
        },
      ),
    )
  })

  it('the choice costs the same, however many there are', () => {
    let asked = 0
    /** Returns how often a choice asks for the bytes of a stream. */
    const costOf = (count: number): number => {
      const unproven = new Unproven<Candidate>()
      const groups = Array.from({ length: 100 }, () => new Group<Candidate>())
      const groupOf = new Map<Candidate, Group<Candidate>>()
      for (let n = 0; n < count; n++) {
        const stream = {
          level: 0,
          get received() {
            asked++
            return n % 7_777
          },
        }
        groupOf.set(stream, groups[n % 100]!)
        unproven.add(stream, groups[n % 100]!)
      }
      asked = 0
      for (let n = 0; n < count; n++) {
        const next = unproven.findNext()!
        unproven.delete(next, groupOf.get(next)!)
      }
      return asked / count
    }
    const few = costOf(1_000)
    expect(few).toBeLessThan(4)
    expect(costOf(20_000)).toBeLessThan(2 * few)
  })
})
