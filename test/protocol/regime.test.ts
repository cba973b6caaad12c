import { expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { Regime } from '../../src/protocol/regime.ts'

const { firstPacketSeconds, loginSeconds, idleSeconds, writeSeconds, lineBeforeToken, payload, lineOverhead } = DEFAULT_LIMITS
const START = 1_000_000
const after = (seconds: number, from = START): number => from + seconds * 1_000

test('a peer has time for its first packet, then for its login, and then until it is idle', () => {
  const regime = new Regime(DEFAULT_LIMITS, START)
  expect([regime.deadline, regime.packetLimit]).toEqual([after(firstPacketSeconds), lineBeforeToken])
  regime.onBytes(START + 5_000)
  expect(regime.deadline).toBe(after(firstPacketSeconds))
  regime.onPacket()
  expect(regime.deadline).toBe(after(loginSeconds))
  regime.onProven()
  expect([regime.deadline, regime.packetLimit]).toEqual([after(idleSeconds, START + 5_000), payload + lineOverhead])
  regime.onBytes(START + 7_000)
  regime.onPacket()
  expect([regime.deadline, regime.isProven]).toEqual([after(idleSeconds, START + 7_000), true])
})

test('a peer must take a write in its time, and has no such deadline once it did', () => {
  const regime = new Regime(DEFAULT_LIMITS, START)
  regime.onPacket()
  regime.onProven()
  regime.onWriting(START + 1_000)
  expect([regime.deadline, regime.isWriting]).toEqual([after(writeSeconds, START + 1_000), true])
  regime.onWritten()
  expect([regime.deadline, regime.isWriting]).toEqual([after(idleSeconds), false])
})
