/** A client's link to the owner of its profile, after the owner is gone. */
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Greeted } from '../../../src/cli/owner/greeting.ts'
import { Link } from '../../../src/cli/owner/link.ts'
import { MessengerError } from '../../../src/client/messenger/error.ts'

test('a request fails at once if the owner ended before it, or ends before the answer', async () => {
  const closed = Promise.withResolvers<void>()
  const sent: string[] = []
  const lines = {
    closed: closed.promise,
    send: ({ kind }: { readonly kind: string }) => sent.push(kind) > 0,
    end: () => {},
  }
  const greeted = { lines, owner: { kind: 'hello' }, listen: () => {} } as unknown as Greeted
  const nothing = (): void => {}
  const link = new Link(
    greeted,
    { find: () => undefined },
    { onHolds: nothing, onArrived: nothing, onChanged: nothing, onRequests: nothing },
  )
  const outcomes: unknown[] = []
  const ask = (): void => void link.refresh().catch((error: unknown) => outcomes.push(error))
  ask()
  await turn()
  expect([sent, outcomes]).toEqual([['refresh'], []])
  closed.resolve()
  await link.lost
  ask()
  await turn()
  expect(outcomes).toEqual([new MessengerError('closed'), new MessengerError('closed')])
  expect(sent).toEqual(['refresh'])
})
