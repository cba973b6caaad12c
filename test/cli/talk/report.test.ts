/** How a received message is read and reported. */
import { expect, test } from 'vitest'
import type { Groups } from '../../../src/cli/profile/groups.ts'
import { readEnclosed, whenOf } from '../../../src/cli/talk/report.ts'
import type { Content } from '../../../src/client/format/content.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'
import { makePerson } from '../../support/people.ts'

test('the time of a message has a date unless it is of today', () => {
  const at = new Date(2026, 0, 5, 7, 8).getTime()
  expect(whenOf(at / 1_000, at)).toBe('07:08')
  expect(whenOf(at / 1_000, new Date(2026, 0, 6, 7, 8).getTime())).toBe('2026-01-05 07:08')
})

test('a broken card is reported, but no error of the program counts as one', async () => {
  const { key } = makePerson('bob')
  const received = (content: unknown): Received => ({
    verdict: 'genuine',
    envelope: { id: 'a', from: key, to: '', time: 0, content: content as Content },
    relay: 'localhost',
    done: async () => {},
  })
  const read = (content: unknown) => readEnclosed(received(content), { withId: () => [] } as unknown as Groups, key)
  expect(await read({ type: 'card', card: 'no card' })).toMatchObject({ isBroken: true })
  expect(await read({ type: 'group', card: 'no group' })).toMatchObject({ isBroken: true })
  await expect(read({ type: 'card', card: undefined })).rejects.toThrow(TypeError)
})
