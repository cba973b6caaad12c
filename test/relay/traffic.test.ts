import { expect, test } from 'vitest'
import { Traffic } from '../../src/relay/traffic.ts'

class Holder {
  readonly name: string
  readonly #traffic: Traffic<Holder>
  readonly #ended: string[]

  constructor(name: string, traffic: Traffic<Holder>, ended: string[]) {
    this.name = name
    this.#traffic = traffic
    this.#ended = ended
  }

  hold(bytes: number, gotOn = false): void {
    this.#traffic.hold(this, bytes, gotOn)
  }

  giveWay(): void {
    this.#ended.push(this.name)
    this.hold(0)
  }
}

function create(budget: number): { ended: string[]; traffic: Traffic<Holder>; holder: (name: string) => Holder } {
  const ended: string[] = []
  const traffic = new Traffic<Holder>(() => {}, budget)
  return { ended, traffic, holder: (name) => new Holder(name, traffic, ended) }
}

test('within the budget no holder is ended, and returned bytes count no more', () => {
  const { ended, traffic, holder } = create(100)
  const [a, b] = [holder('a'), holder('b')]
  for (let n = 0; n < 10; n++) {
    a.hold(60)
    b.hold(40)
    a.hold(0)
    b.hold(0)
  }
  expect([traffic.bytes, ended]).toEqual([0, []])
})

test('beyond the budget, those are ended that have not got on for the longest time, and no more than necessary', () => {
  const { ended, traffic, holder } = create(100)
  const [a, b, c, d] = [holder('a'), holder('b'), holder('c'), holder('d')]
  for (const each of [a, b, c]) each.hold(30)
  a.hold(30, true)
  d.hold(40)
  expect(ended).toEqual(['b'])
  expect(traffic.bytes).toBe(100)
  d.hold(71, true)
  expect(ended).toEqual(['b', 'c', 'a'])
  expect(traffic.bytes).toBe(71)
})

test('a budget that is used to the last byte ends nobody', () => {
  const { ended, holder } = create(100)
  holder('a').hold(60)
  holder('b').hold(40)
  expect(ended).toEqual([])
})

test('a holder that only grows makes no progress: a line that comes byte by byte does not keep its place', () => {
  const { ended, holder } = create(100)
  const [slow, quick] = [holder('slow'), holder('quick')]
  slow.hold(10)
  for (let bytes = 11; bytes <= 50; bytes++) {
    quick.hold(50, true)
    slow.hold(bytes)
  }
  quick.hold(51, true)
  expect(ended).toEqual(['slow'])
})

test('a holder never ends itself', () => {
  const { ended, traffic, holder } = create(100)
  holder('a').hold(200)
  expect([traffic.bytes, ended]).toEqual([200, []])
})
