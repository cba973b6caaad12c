/** When a subscription sends PING. */
import { describe, expect, it } from 'vitest'
import { type Moment, Pulse, PULSE } from '../../../src/client/wire/pulse.ts'

const at = (steady: number, wall = steady): Moment => ({ steady, wall: 1_000_000 + wall })

/** Ticks from one time to another. @returns the times of the PINGs */
function run(pulse: Pulse, from: number, to: number, heard: (now: number) => number): number[] {
  const due: number[] = []
  for (let now = from; now <= to; now += PULSE.tick) if (pulse.isDue(at(now), heard(now))) due.push(now)
  return due
}

describe('a pulse', () => {
  it.each([
    [0, 45_000],
    [0.5, 60_000],
    [0.999, 75_000],
  ])('with the random number %d is due after %d ms of silence, and again if the silence goes on', (random, after) => {
    const pulse = new Pulse(900_000, random, at(0))
    expect(run(pulse, PULSE.tick, 2 * after, () => 0)).toEqual([after, 2 * after])
  })

  it('is not due while the relay sends, until a third of its idle limit has passed', () => {
    const pulse = new Pulse(900_000, 0, at(0))
    expect(run(pulse, PULSE.tick, 540_000, (now) => now)).toEqual([270_000, 540_000])
  })

  it.each([
    ['the wall clock jumps ahead', at(5_000, 65_000)],
    ['the wall clock is set back', at(5_000, -55_000)],
    ['the process was stopped', at(65_000, 65_000)],
  ])('is due at once if %s', (_name, moment) => {
    const pulse = new Pulse(900_000, 0.5, at(0))
    expect(pulse.isDue(moment, moment.steady)).toBe(true)
  })

  it('is not due if both clocks go on', () => {
    const pulse = new Pulse(900_000, 0.5, at(0))
    expect(pulse.isDue(at(5_000), 5_000)).toBe(false)
  })

  it('ticks faster if the idle limit is short', () => {
    expect(new Pulse(1_000, 0, at(0)).tick).toBe(300)
  })
})
