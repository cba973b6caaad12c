/** The signal that stops a command. */
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { aborted } from '../../../src/cli/program/io.ts'

test('a command waits for its signal, and no longer if it came before', async () => {
  const stop = new AbortController()
  let isOver = false
  const waiting = aborted(stop.signal).then(() => (isOver = true))
  await turn()
  expect(isOver).toBe(false)
  stop.abort()
  await waiting
  expect(await aborted(stop.signal)).toBeUndefined()
})
