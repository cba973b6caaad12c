import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Arena, footprint, SLAB_BYTES } from '../../src/mailbox/arena.ts'

/** An arena beside a plain map of its expected contents. */
function shadowed(): { arena: Arena; held: Map<number, { position: number; payload: Uint8Array }>; check(): void } {
  const held = new Map<number, { position: number; payload: Uint8Array }>()
  const arena = new Arena((owner, position) => {
    held.get(owner)!.position = position
  })
  return {
    arena,
    held,
    check() {
      let live = 0
      let wrong = 0
      for (const { position, payload } of held.values()) {
        if (Buffer.compare(arena.read(position), payload) !== 0) wrong++
        live += footprint(payload.length)
      }
      expect(wrong).toBe(0)
      expect(arena.live).toBe(live)
    },
  }
}

function payloadOf(owner: number, length: number): Uint8Array {
  return new Uint8Array(length).fill(1 + (owner % 255))
}

describe('arena', () => {
  it('fills a slab to its last byte before it takes another one', () => {
    const { arena } = shadowed()
    for (const owner of [1, 2]) arena.store(owner, payloadOf(owner, SLAB_BYTES / 2 - 8))
    expect(arena.reserved).toBe(SLAB_BYTES)
    arena.store(3, payloadOf(3, 1))
    expect(arena.reserved).toBe(2 * SLAB_BYTES)
  })

  it('returns every stored payload after any sequence of stores and erasures, in bounded memory', () => {
    const lengths = fc.oneof(
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1_000, max: 40_000 }),
      fc.constantFrom(1, 7, 8, 9, SLAB_BYTES - 8, SLAB_BYTES / 2 - 8, SLAB_BYTES / 2 - 7),
    )
    const step = fc.record({ length: lengths, erase: fc.double({ min: 0, max: 1, noNaN: true }), keep: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 400 }), (steps) => {
        const { arena, held, check } = shadowed()
        for (const [owner, { length, erase, keep }] of steps.entries()) {
          const payload = payloadOf(owner, length)
          // Hold the payload before its position is known: the cleaner may move it in the same call.
          held.set(owner, { position: arena.store(owner, payload), payload })
          if (!keep) {
            const victim = [...held.keys()][Math.floor(erase * (held.size - 1))]!
            arena.erase(held.get(victim)!.position)
            held.delete(victim)
          }
          // At most half of the memory may be holes, plus seven slabs: four free, two spare and the one being
          // filled.
          expect(arena.reserved).toBeLessThanOrEqual(arena.live * 2 + 7 * SLAB_BYTES)
        }
        check()
      }),
      { numRuns: 25 },
    )
  })

  it('stays dense after random erasure of nine tenths, and empty after erasure of all', () => {
    const { arena, held, check } = shadowed()
    for (let owner = 0; owner < 60_000; owner++) {
      const payload = payloadOf(owner, 1_368)
      held.set(owner, { position: arena.store(owner, payload), payload })
    }
    const peak = arena.reserved
    // A multiplicative order visits owners that lie far apart.
    for (let i = 0; i < 54_000; i++) {
      const owner = (i * 7_919) % 60_000
      arena.erase(held.get(owner)!.position)
      held.delete(owner)
    }
    check()
    expect(arena.reserved / peak).toBeLessThan(0.35)
    for (const { position } of held.values()) arena.erase(position)
    expect(arena.live).toBe(0)
    expect(arena.reserved / peak).toBeLessThan(0.15)
  })

  it.each([
    ['large and small payloads alternate, then the large ones are erased', [32_768, 1]],
    ['no two payloads fit into one slab', [SLAB_BYTES / 2, SLAB_BYTES / 2 - 7]],
    ['the rest of a slab is eight bytes too small for another payload', [32_768, 32_760]],
    ['every length around a multiple of eight', [1_359, 1_360, 1_361, 1_367, 1_368, 1_369]],
  ])('stays within its bound if sizes are chosen to fragment it: %s', (_name, lengths) => {
    const { arena, held, check } = shadowed()
    const payloads = lengths.map((length, n) => payloadOf(n, length))
    const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length
    let owner = 0
    let over = -Infinity
    for (let round = 0; round < 4; round++) {
      for (const until = owner + (16 * SLAB_BYTES) / mean; owner < until; owner++) {
        const payload = payloads[owner % payloads.length]!
        held.set(owner, { position: arena.store(owner, payload), payload })
      }
      // Erase all but the last size in order of arrival, then every second payload that is left.
      for (const [each, { position, payload }] of held) {
        if (payload === payloads.at(-1) && each % 4 !== 1) continue
        arena.erase(position)
        held.delete(each)
        over = Math.max(over, arena.reserved - (arena.live * 2 + 7 * SLAB_BYTES))
      }
      check()
    }
    expect(over).toBeLessThanOrEqual(0)
  })

  it('frees the memory of empty slabs at once, without a garbage collection', () => {
    const { arena, held } = shadowed()
    const payload = payloadOf(0, SLAB_BYTES / 2)
    for (let owner = 0; owner < 64; owner++) held.set(owner, { position: arena.store(owner, payload), payload })
    const full = process.memoryUsage().arrayBuffers
    for (const { position } of held.values()) arena.erase(position)
    const emptied = process.memoryUsage().arrayBuffers
    // Do not compare with the state before the test: garbage of earlier tests may be collected in between.
    expect(full - emptied).toBeGreaterThan(50 * SLAB_BYTES)
    expect(arena.reserved).toBeLessThanOrEqual(3 * SLAB_BYTES)
  })

  it('overwrites a payload as soon as it is erased', () => {
    const arena = new Arena(() => {})
    const position = arena.store(1, payloadOf(1, 100))
    const view = arena.read(position)
    arena.erase(position)
    expect(view.every((byte) => byte === 0)).toBe(true)
  })

  it('leaves no copy of a payload at the place that the cleaner moved it from', () => {
    const { arena, held } = shadowed()
    const views = new Map<number, Uint8Array>()
    for (let owner = 0; owner < 10_000; owner++) {
      const payload = payloadOf(owner, 1_368)
      const position = arena.store(owner, payload)
      held.set(owner, { position, payload })
      views.set(owner, arena.read(position))
    }
    const first = new Map([...held].map(([owner, { position }]) => [owner, position]))
    for (let owner = 0; owner < 10_000; owner++) {
      if (owner % 10 === 0) continue
      arena.erase(held.get(owner)!.position)
      held.delete(owner)
    }
    const moved = [...held].filter(([owner, { position }]) => position !== first.get(owner))
    expect(moved.length).toBeGreaterThan(0)
    // An emptied slab may be in use again and must then hold other bytes. A freed slab has no bytes to look at.
    const own = ([owner]: [number, unknown]): boolean => views.get(owner)!.every((byte) => byte === 1 + (owner % 255))
    const reused = new Set([...held.values()].map(({ position }) => position))
    const seen = moved.filter(([owner]) => !reused.has(first.get(owner)!) && views.get(owner)!.length > 0)
    expect(seen.length).toBeGreaterThan(0)
    expect(seen.filter(own)).toEqual([])
  })

  it('refuses a payload larger than a slab', () => {
    expect(() => new Arena(() => {}).store(1, new Uint8Array(SLAB_BYTES - 7))).toThrow(RangeError)
  })
})
