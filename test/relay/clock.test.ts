import { describe, expect, it, vi } from 'vitest'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { Clock } from '../../src/relay/clock.ts'
import { startTestRelay } from '../support/relay.ts'
import { connectRaw } from '../support/wire.ts'

/** Two clocks of a machine that the test suspends. */
function createMachine() {
  let monotonic = 5_000
  let boot = 60_000
  const clock = new Clock({ monotonic: () => monotonic, boot: () => Math.floor(boot / 1_000) * 1_000 }, 1_000_000)
  return {
    clock,
    run(ms: number): void {
      monotonic += ms
      boot += ms
    },
    suspend: (ms: number) => void (boot += ms),
  }
}

describe('the clock of the relay', () => {
  it('runs with the monotonic clock, without steps of the clock that counts whole seconds', () => {
    const { clock, run } = createMachine()
    const start = clock.now()
    for (let ms = 1; ms <= 100_000; ms += 99) {
      run(99)
      clock.look()
      expect(clock.now() - start).toBe(Math.ceil(ms / 99) * 99)
    }
  })

  it('counts the time for which the machine was suspended', () => {
    const { clock, run, suspend } = createMachine()
    const start = clock.now()
    run(1_000)
    suspend(8 * 3_600_000)
    expect(clock.now() - start).toBe(1_000)
    clock.look()
    expect(clock.now() - start).toBe(1_000 + 8 * 3_600_000)
    run(1_000)
    clock.look()
    expect(clock.now() - start).toBe(2_000 + 8 * 3_600_000)
  })

  it('takes a difference of exactly two seconds for the clocks, and not for a suspension', () => {
    const { clock, suspend } = createMachine()
    const start = clock.now()
    suspend(2_000)
    clock.look()
    expect(clock.now()).toBe(start)
    suspend(1_000)
    clock.look()
    expect(clock.now() - start).toBe(3_000)
  })

  it('loses no more than three seconds to short suspensions, however many there are', () => {
    const { clock, run, suspend } = createMachine()
    const start = clock.now()
    for (let n = 1; n <= 1_000; n++) {
      run(700)
      suspend(300)
      clock.look()
      expect(n * 1_000 - (clock.now() - start)).toBeLessThanOrEqual(3_000)
      expect(clock.now() - start).toBeLessThanOrEqual(n * 1_000 + 1_000)
    }
  })

  it('never goes back, even if the clock that counts suspensions does', () => {
    const { clock, suspend } = createMachine()
    const start = clock.now()
    suspend(-10_000)
    clock.look()
    expect(clock.now()).toBe(start)
  })

  it('has a source that agrees with the wall clock in this process', () => {
    const clock = new Clock()
    clock.look()
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(60_000)
  })
})

describe('a relay whose machine was suspended', () => {
  it('ends idle connections at its next tick', async () => {
    const { relay, port, close } = await startTestRelay()
    const wire = await connectRaw({ kind: 'tcp', host: '127.0.0.1', port })
    expect(await wire.ask('7')).toBe('17')
    relay.tick()
    expect(await wire.ask('7')).toBe('17')
    // The clock runs on from here as after a suspension.
    const now = vi.spyOn(Clock.prototype, 'now')
    const look = vi.spyOn(Clock.prototype, 'look').mockImplementation(() => {
      now.mockReturnValue(Date.now() + DEFAULT_LIMITS.idleSeconds * 1_000)
    })
    relay.tick()
    look.mockRestore()
    now.mockRestore()
    expect(await wire.line()).toMatch(/^99;timeout;/)
    await close()
  })
})
