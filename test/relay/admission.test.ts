import { describe, expect, it } from 'vitest'
import { Admission, type Place } from '../../src/relay/admission.ts'

const LIMITS = { connections: 5, unproven: 3, perCircuit: 2, perSender: 3_600 }

function enter(admission: Admission, circuit?: string, giveWay: () => void = () => {}): Place {
  const place = admission.enter(circuit, 0, giveWay)
  if (typeof place === 'string') throw new Error(place)
  return place
}

describe('admission', () => {
  it('bounds the number of streams and frees their places', () => {
    const admission = new Admission({ ...LIMITS, unproven: 9 })
    const places = Array.from({ length: 5 }, () => enter(admission))
    expect(admission.enter(undefined, 0, () => {})).toBe('connections')
    places[0]!.leave()
    expect(admission.streams).toBe(4)
    enter(admission)
  })

  it('bounds the streams of each circuit separately', () => {
    const admission = new Admission(LIMITS)
    const [first] = [enter(admission, 'a'), enter(admission, 'a')]
    expect(admission.enter('a', 0, () => {})).toBe('circuit')
    enter(admission, 'b')
    first!.leave()
    enter(admission, 'a')
  })

  it('closes the oldest unproven stream for a new one, and never a proven stream', () => {
    const gone: string[] = []
    const admission = new Admission(LIMITS)
    const proven = enter(admission, undefined, () => gone.push('proven'))
    proven.prove()
    for (const name of ['first', 'second', 'third']) enter(admission, undefined, () => gone.push(name))
    expect(gone).toEqual([])
    enter(admission, undefined, () => gone.push('fourth'))
    expect(gone).toEqual(['first'])
    expect(admission.unproven).toBe(3)
  })

  it('counts the logins of a circuit over all its streams, and restores them over time', () => {
    const admission = new Admission(LIMITS)
    const first = enter(admission, 'a')
    const other = enter(admission, 'b')
    let tries = 0
    while (first.loginWait(0) === 0) tries++
    first.leave()
    const again = enter(admission, 'a')
    expect(again.loginWait(0)).toBe(1)
    expect(other.loginWait(0)).toBe(0)
    expect(again.loginWait(124)).toBe(1)
    expect(again.loginWait(250)).toBe(0)
    expect(tries).toBe(256)
  })

  it('bounds how much one key sends over all its connections, and restores it over an hour', () => {
    const admission = new Admission(LIMITS)
    const [first, second] = [enter(admission), enter(admission)]
    expect(first!.sendWait('alice', 3_000, 0)).toBe(0)
    expect(second!.sendWait('alice', 601, 0)).toBe(1)
    expect(second!.sendWait('bob', 3_600, 0)).toBe(0)
    // A refused send does not count.
    expect(second!.sendWait('alice', 600, 0)).toBe(0)
    expect(second!.sendWait('alice', 100, 99_000)).toBe(1)
    expect(second!.sendWait('alice', 100, 100_000)).toBe(0)
    admission.sweep(3_700_000)
    expect(first!.sendWait('alice', 3_600, 3_700_000)).toBe(0)
  })

  it('takes over the amounts spent at the previous relay, capped at the limit and without restored ones', () => {
    const [before, after] = [new Admission(LIMITS), new Admission(LIMITS)]
    const place = enter(before)
    expect(place.sendWait('alice', 3_000, 0)).toBe(0)
    expect(place.sendWait('carol', 100, 0)).toBe(0)
    expect([...before.spent(100_000)]).toEqual([{ sender: 'alice', bytes: 2_900 }])
    for (const spent of [...before.spent(100_000), { sender: 'bob', bytes: 1e9 }]) after.spend(spent, 0)
    const next = enter(after)
    expect(next.sendWait('alice', 701, 0)).toBe(1)
    expect(next.sendWait('alice', 700, 0)).toBe(0)
    expect(next.sendWait('bob', 1, 0)).toBe(1)
    expect(next.sendWait('carol', 3_600, 0)).toBe(0)
  })

  it('bounds how much one circuit sends, over all keys', () => {
    const admission = new Admission(LIMITS)
    const place = enter(admission, 'a')
    expect(place.sendWait('alice', 2_000, 0)).toBe(0)
    expect(place.sendWait('bob', 2_000, 0)).toBe(400)
    expect(enter(admission, 'b').sendWait('bob', 3_600, 0)).toBe(0)
  })

  it('forgets a circuit once it has no stream and its login limit is restored', () => {
    const admission = new Admission(LIMITS)
    const place = enter(admission, 'a')
    while (place.loginWait(0) === 0);
    place.leave()
    admission.sweep(1_000)
    const again = enter(admission, 'a')
    let tries = 0
    while (again.loginWait(1_000) === 0) tries++
    expect(tries).toBe(8)
    again.leave()
    admission.sweep(60_000)
    expect(admission.circuits).toBe(0)
  })

  it("forget() erases the senders' amounts and the circuits without streams", () => {
    const admission = new Admission(LIMITS)
    const [gone, stays] = [enter(admission, 'a'), enter(admission, 'b')]
    expect(gone.sendWait('alice', 3_600, 0)).toBe(0)
    expect(stays.sendWait('alice', 1, 0)).toBeGreaterThan(0)
    gone.leave()
    admission.forget()
    expect(admission.circuits).toBe(1)
    expect(stays.sendWait('alice', 3_600, 0)).toBe(0)
  })
})
