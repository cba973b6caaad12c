import { setImmediate as turn } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createLog } from '../../src/log.ts'
import type { TorState } from '../../src/tor/state.ts'
import { startWatch, Watch } from '../../src/operator/watch.ts'
import { createSnapshot } from '../support/snapshot.ts'

/** A log that keeps event names and fields without level, time and text. */
function capture() {
  const events: unknown[] = []
  const log = createLog({
    level: 'debug',
    format: 'json',
    write(line) {
      const { level: _level, time: _time, text: _text, ...rest } = JSON.parse(line) as Record<string, unknown>
      events.push(rest)
    },
  })
  return { log, take: () => events.splice(0) }
}

test('memory and connections are logged only on changes, with a margin between high and ok', async () => {
  const { log, take } = capture()
  let now = createSnapshot()
  const watch = new Watch({ snapshot: () => now, connections: 200 }, log)
  const look = async (messageBytes: number, connections: number): Promise<unknown[]> => {
    now = createSnapshot({ messageBytes, messageBudget: 1_000, connections })
    await watch.look()
    return take()
  }
  expect(await look(0, 0)).toEqual([])
  expect(await look(899, 179)).toEqual([])
  expect(await look(900, 180)).toEqual([
    { event: 'memory-high', percent: 90 },
    { event: 'connections-high', percent: 90 },
  ])
  expect(await look(1_000, 200)).toEqual([])
  expect(await look(800, 152)).toEqual([])
  expect(await look(900, 180)).toEqual([])
  expect(await look(750, 190)).toEqual([{ event: 'memory-ok', percent: 75 }])
  expect(await look(850, 150)).toEqual([{ event: 'connections-ok', percent: 75 }])
  expect(await look(1_001, 0)).toEqual([{ event: 'memory-high', percent: 100 }])
})

test("tor's state is logged at first and after each change", async () => {
  const { log, take } = capture()
  let state: TorState = { reachable: false, bootstrap: undefined, summary: 'unreachable' }
  const watch = new Watch({ snapshot: () => createSnapshot(), connections: 10, tor: async () => state }, log)
  const look = async (): Promise<unknown[]> => {
    await watch.look()
    return take()
  }
  expect(await look()).toEqual([{ event: 'tor-state', summary: 'unreachable' }])
  expect(await look()).toEqual([])
  state = { reachable: true, bootstrap: 50, summary: 'loading_descriptors' }
  expect(await look()).toEqual([{ event: 'tor-state', summary: 'loading_descriptors', bootstrap: 50 }])
  state = { ...state, bootstrap: 60 }
  expect(await look()).toEqual([{ event: 'tor-state', summary: 'loading_descriptors', bootstrap: 60 }])
})

test('startWatch checks at once, and stop() ends it', async () => {
  const { log, take } = capture()
  const asked = Promise.withResolvers<void>()
  const watching = startWatch(
    {
      snapshot: () => createSnapshot({ messageBytes: 1_048_576 }),
      connections: 10,
      tor: async () => {
        asked.resolve()
        return { reachable: true, bootstrap: 100, summary: 'done' }
      },
    },
    log,
  )
  await asked.promise
  watching.stop()
  expect(take()).toContainEqual({ event: 'memory-high', percent: 100 })
})

test('stop() while a look waits for tor lets no other look follow', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const state: TorState = { reachable: true, bootstrap: 100, summary: 'done' }
  let looks = 0
  let answer = Promise.withResolvers<TorState>()
  const tor = (): Promise<TorState> => {
    looks++
    return answer.promise
  }
  const { log } = capture()
  const watch = startWatch({ snapshot: () => createSnapshot(), connections: 10, tor }, log)
  answer.resolve(state)
  await turn()
  answer = Promise.withResolvers()
  vi.advanceTimersByTime(60_000)
  expect(looks).toBe(2)
  watch.stop()
  answer.resolve(state)
  await turn()
  vi.advanceTimersByTime(60_000)
  expect(looks).toBe(2)
})
