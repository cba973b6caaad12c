import { describe, expect, it } from 'vitest'
import type { Proven } from '../../src/protocol/ports.ts'
import { Admission, type Eviction, type Guest, type Place } from '../../src/relay/admission.ts'

const LIMITS = { connections: 5, unproven: 3, perCircuit: 2, perKey: 9, perSender: 3_600 }
const key = (mailbox: string): Proven => ({ mailbox, expires: Infinity, isClaim: false })
const claim = (mailbox: string): Proven => ({ ...key(mailbox), isClaim: true })
const GUEST = { received: 0, destroy: () => {} }

function enter(admission: Admission, circuit?: string, guest: Guest = GUEST): Place {
  const place = admission.enter(circuit, 0, guest)
  if (typeof place === 'string') throw new Error(place)
  return place
}

describe('admission', () => {
  it('bounds the number of streams and frees their places', () => {
    const admission = new Admission({ ...LIMITS, unproven: 9 })
    const places = Array.from({ length: 5 }, () => enter(admission))
    expect(admission.enter(undefined, 0, GUEST)).toBe('connections')
    places[0]!.leave()
    expect(admission.streams).toBe(4)
    enter(admission)
  })

  it('bounds the streams of each circuit separately', () => {
    const admission = new Admission(LIMITS)
    const [first] = [enter(admission, 'a'), enter(admission, 'a')]
    expect(admission.enter('a', 0, GUEST)).toBe('circuit')
    enter(admission, 'b')
    first!.leave()
    enter(admission, 'a')
  })

  it('closes a stranger for a new one, and never a proven stream', () => {
    const evicted: Eviction[] = []
    const gone: string[] = []
    const guest = (name: string): Guest => ({ received: 0, destroy: () => gone.push(name) })
    const admission = new Admission(LIMITS, { onEvicted: (reason) => evicted.push(reason) })
    enter(admission, undefined, guest('proven')).prove()
    for (const name of ['first', 'second', 'third']) enter(admission, undefined, guest(name))
    expect(gone).toEqual([])
    enter(admission, undefined, guest('fourth'))
    expect([gone, evicted]).toEqual([['first'], ['gave-way']])
    expect(admission.unproven).toBe(3)
  })

  it('closes the oldest stream of a key for a newer one of that key, whatever keys it proves later', () => {
    const evicted: Eviction[] = []
    const gone: string[] = []
    const admission = new Admission(
      { ...LIMITS, connections: 99, unproven: 99, perKey: 3 },
      { onEvicted: (reason) => evicted.push(reason) },
    )
    const open = (name: string, ...keys: string[]): Place => {
      const place = enter(admission, undefined, { received: 0, destroy: () => gone.push(name) })
      for (const name of keys) place.onProven(key(name), 0)
      place.prove()
      return place
    }
    const places = ['a1', 'a2', 'a3'].map((name) => open(name, 'alice'))
    open('b1', 'bob', 'alice')
    places[1]!.onProven(key('alice'), 0)
    expect(gone).toEqual([])
    open('a4', 'alice')
    expect([gone, evicted]).toEqual([['a1'], ['key']])
    // A stream that was closed does not take a place before it ends, nor when it ends.
    places[0]!.onProven(key('alice'), 0)
    places[0]!.leave()
    places[2]!.leave()
    open('a5', 'alice')
    expect(gone).toEqual(['a1'])
    open('a6', 'alice')
    expect(gone).toEqual(['a1', 'a2'])
  })

  it('lets a stranger that was closed take no place of a key', () => {
    const gone: string[] = []
    const admission = new Admission({ ...LIMITS, unproven: 1, perKey: 1 })
    const first = enter(admission, undefined, { received: 0, destroy: () => gone.push('first') })
    const second = enter(admission, undefined, { received: 0, destroy: () => gone.push('second') })
    second.onProven(key('alice'), 0)
    first.onProven(key('alice'), 0)
    expect(gone).toEqual(['first'])
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
    expect(first!.sendWait(key('alice'), 3_000, 0)).toBe(0)
    expect(second!.sendWait(key('alice'), 601, 0)).toBe(1)
    expect(second!.sendWait(key('bob'), 3_600, 0)).toBe(0)
    // A refused send does not count.
    expect(second!.sendWait(key('alice'), 600, 0)).toBe(0)
    expect(second!.sendWait(key('alice'), 100, 99_000)).toBe(1)
    expect(second!.sendWait(key('alice'), 100, 100_000)).toBe(0)
    admission.sweep(3_700_000)
    expect(first!.sendWait(key('alice'), 3_600, 3_700_000)).toBe(0)
  })

  it('takes over the amounts spent at the previous relay, capped at the limit and without restored ones', () => {
    const [before, after] = [new Admission(LIMITS), new Admission(LIMITS)]
    const place = enter(before)
    expect(place.sendWait(key('alice'), 3_000, 0)).toBe(0)
    expect(place.sendWait(key('carol'), 100, 0)).toBe(0)
    expect([...before.spent(100_000)]).toEqual([{ sender: 'alice', bytes: 2_900 }])
    for (const spent of [...before.spent(100_000), { sender: 'bob', bytes: 1e9 }]) after.spend(spent, 0)
    const next = enter(after)
    expect(next.sendWait(key('alice'), 701, 0)).toBe(1)
    expect(next.sendWait(key('alice'), 700, 0)).toBe(0)
    expect(next.sendWait(key('bob'), 1, 0)).toBe(1)
    expect(next.sendWait(key('carol'), 3_600, 0)).toBe(0)
  })

  it('bounds how much one circuit sends, over all keys', () => {
    const admission = new Admission(LIMITS)
    const place = enter(admission, 'a')
    expect(place.sendWait(key('alice'), 2_000, 0)).toBe(0)
    expect(place.sendWait(key('bob'), 2_000, 0)).toBe(400)
    expect(enter(admission, 'b').sendWait(key('bob'), 3_600, 0)).toBe(0)
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

  it('keeps a circuit whose streams ended until all its limits are restored: logins, sends and claims', () => {
    const uses: readonly ((place: Place) => void)[] = [
      (place) => void place.loginWait(0),
      (place) => expect(place.sendWait(key('alice'), 3_600, 0)).toBe(0),
      (place) => expect(place.sendWait(claim('a'), 3_600, 0)).toBe(0),
    ]
    for (const use of uses) {
      const admission = new Admission(LIMITS)
      const place = enter(admission, 'a')
      use(place)
      place.leave()
      admission.sweep(1)
      expect(admission.circuits).toBe(1)
      admission.sweep(3_600_000)
      expect(admission.circuits).toBe(0)
    }
  })

  it('refuses a circuit that spent its budget and came back with new streams', () => {
    const admission = new Admission(LIMITS)
    const place = enter(admission, 'a')
    expect(place.sendWait(key('alice'), 3_600, 0)).toBe(0)
    place.leave()
    // Its logins are restored by now, but not its sends.
    admission.sweep(60_000)
    expect(enter(admission, 'a').sendWait(key('bob'), 3_600, 60_000)).toBeGreaterThan(0)
  })

  it('keeps the budget of the claims of a circuit, even if its own is restored', () => {
    const admission = new Admission(LIMITS, { quotas: { isStranger: () => true, perSender: () => 360 } })
    const place = enter(admission, 'a')
    expect(place.sendWait(claim('a'), 360, 0)).toBe(0)
    place.leave()
    // The circuit may send 3,600 bytes an hour, and its claims a tenth of that.
    admission.sweep(360_000)
    expect(admission.circuits).toBe(1)
    expect(enter(admission, 'a').sendWait(claim('b'), 37, 360_000)).toBe(10)
  })

  it('keeps a circuit as long as it has a stream, whatever is restored', () => {
    const admission = new Admission(LIMITS)
    enter(admission, 'a')
    enter(admission, 'a')
    admission.sweep(10_000_000)
    expect(admission.circuits).toBe(1)
    expect(admission.enter('a', 10_000_000, GUEST)).toBe('circuit')
  })

  it('frees the place of a stream once, even if it ends twice', () => {
    const admission = new Admission(LIMITS)
    const [first] = [enter(admission, 'a'), enter(admission, 'a')]
    first!.leave()
    first!.leave()
    expect(admission.streams).toBe(1)
    enter(admission, 'a')
    expect(admission.enter('a', 0, GUEST)).toBe('circuit')
  })

  it('counts the streams of a key anew once all have ended', () => {
    const gone: string[] = []
    const admission = new Admission({ ...LIMITS, perKey: 1 })
    for (const name of ['first', 'second']) {
      const place = enter(admission, undefined, { received: 0, destroy: () => gone.push(name) })
      place.onProven(key('alice'), 0)
      place.leave()
    }
    expect([gone, admission.keys]).toEqual([[], 0])
  })

  it('lets a key with a limit of its own pass the limit of its circuit, but no claim and no stranger', () => {
    const quotas = { isStranger: (id: string) => id === 'eve', perSender: (id: string) => (id === 'bob' ? undefined : 10_000) }
    const enterUsed = (): Place => {
      const place = enter(new Admission(LIMITS, { quotas }), 'a')
      expect(place.sendWait(key('bob'), 3_600, 0)).toBe(0)
      return place
    }
    expect(enterUsed().sendWait(key('alice'), 1, 0)).toBe(0)
    expect(enterUsed().sendWait(key('eve'), 1, 0)).toBe(1)
    expect(enterUsed().sendWait(claim('alice'), 1, 0)).toBe(1)
  })

  it("forget() erases the senders' amounts and the circuits without streams", () => {
    const admission = new Admission(LIMITS)
    const [gone, stays] = [enter(admission, 'a'), enter(admission, 'b')]
    expect(gone.sendWait(key('alice'), 3_600, 0)).toBe(0)
    expect(stays.sendWait(key('alice'), 1, 0)).toBeGreaterThan(0)
    gone.leave()
    admission.forget()
    expect(admission.circuits).toBe(1)
    expect(stays.sendWait(key('alice'), 3_600, 0)).toBe(0)
  })

  describe('counts claims', () => {
    it('of a connection as one sender, and so those of a circuit', () => {
      const admission = new Admission(LIMITS)
      const [first, second] = [enter(admission), enter(admission)]
      expect(first.sendWait(claim('a'), 3_000, 0)).toBe(0)
      expect(first.sendWait(claim('b'), 601, 0)).toBe(1)
      expect(first.sendWait(claim('b'), 600, 0)).toBe(0)
      expect(second.sendWait(claim('b'), 3_600, 0)).toBe(0)
      // A key has its own limit on the same connection.
      expect(first.sendWait(key('alice'), 3_600, 0)).toBe(0)
      const [one, other] = [enter(admission, 'x'), enter(admission, 'x')]
      expect(one.sendWait(claim('c'), 3_600, 0)).toBe(0)
      other.leave()
      expect(enter(admission, 'x').sendWait(claim('d'), 1, 0)).toBe(1)
    })

    it('less the shorter memory is, and with the limit of a stranger if it is one', () => {
      let used = 0
      const quotas = { isStranger: (name: string) => name === 's', perSender: (name: string) => (name === 's' ? 100 : undefined) }
      const admission = new Admission({ ...LIMITS, connections: 99 }, { usedMemory: () => used, quotas })
      expect(enter(admission, 'a').sendWait(claim('s'), 101, 0)).toBe(36)
      expect(enter(admission, 'b').sendWait(claim('s'), 100, 0)).toBe(0)
      used = 0.75
      const place = enter(admission)
      expect(place.sendWait(claim('a'), 1_801, 0)).toBe(1)
      expect(place.sendWait(claim('a'), 1_800, 0)).toBe(0)
    })

    it('not among the keys that it remembers, unless they read', () => {
      const admission = new Admission(LIMITS)
      const place = enter(admission)
      for (let n = 0; n < 99; n++) {
        place.onProven(claim(`courier${n}`), 0)
        place.sendWait(claim(`courier${n}`), 1, 0)
      }
      place.onReading('address', 0)
      admission.sweep(3_600_000)
      expect([...admission.spent(3_600_000)]).toEqual([{ sender: 'address', bytes: 0 }])
    })
  })

  it('lets a message fill the memory if its receiver was here before, whoever sends it under a claim', () => {
    const admission = new Admission({ ...LIMITS, connections: 99 })
    const reader = enter(admission)
    reader.onProven(claim('address'), 0)
    reader.onReading('address', 0)
    reader.onProven(key('alice'), 0)
    admission.sweep(3_600_000)
    const sender = enter(admission)
    sender.onProven(claim('courier'), 3_600_000)
    sender.onProven(claim('address'), 3_600_000)
    expect(sender.memoryShare(claim('courier'), 'address')).toBe(1)
    expect(sender.memoryShare(claim('courier'), 'alice')).toBe(1)
    expect(sender.memoryShare(claim('courier'), 'nobody')).toBe(0.5)
    // Senders that claim have no lasting name, even if the secret is that of a mailbox.
    expect(sender.memoryShare(claim('address'), 'nobody')).toBe(0.5)
    expect(sender.memoryShare(key('alice'), 'nobody')).toBe(1)
    expect(sender.memoryShare(key('bob'), 'nobody')).toBe(0.5)
  })

  it('closes a stream that has only claimed for a new one if all places are taken: the oldest of the largest circuit', () => {
    const evicted: Eviction[] = []
    const gone: string[] = []
    const guest = (name: string): Guest => ({ received: 9, destroy: () => gone.push(name) })
    const admission = new Admission(
      { ...LIMITS, connections: 5, unproven: 5, perCircuit: 3 },
      { onEvicted: (reason) => evicted.push(reason) },
    )
    const open = (name: string, circuit: string, ...proofs: Proven[]): Place => {
      const place = enter(admission, circuit, guest(name))
      for (const proof of proofs) place.onProven(proof, 0)
      return place
    }
    open('alone', 'a', claim('1'))
    open('key', 'b', key('alice'), claim('2'))
    open('later', 'b', claim('3'), key('bob'))
    const places = [open('c1', 'c', claim('4')), open('c2', 'c', claim('5'), claim('6'))]
    expect(gone).toEqual([])
    open('new', 'd')
    expect([gone, evicted]).toEqual([['c1'], ['gave-way']])
    places[0]!.leave()
    // A stream that its circuit refuses ends no other one.
    open('b3', 'b')
    expect(admission.enter('b', 0, guest('b4'))).toBe('circuit')
    expect(gone).toEqual(['c1', 'c2'])
    open('e', 'e')
    expect(gone).toEqual(['c1', 'c2', 'alone'])
    expect(admission.enter('f', 0, guest('f'))).toBe('connections')
    // One that gave way already takes no place if a proof of it comes later.
    places[1]!.onProven(claim('7'), 0)
    expect(admission.enter('f', 0, guest('f'))).toBe('connections')
  })
})
