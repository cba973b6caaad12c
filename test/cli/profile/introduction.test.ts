/** The length of a card on standard input. */
import { expect, test } from 'vitest'
import { readIntroduction } from '../../../src/cli/profile/introduction.ts'
import { makeCard } from '../../../src/client/format/card.ts'
import { makePerson } from '../../support/people.ts'
import { createTestIo } from '../../support/terminal.ts'

const MOST_BYTES = 65_536

test('a card on standard input may be 64 KiB long with the text around it, and no longer', async () => {
  const { identity } = makePerson('bob')
  const { text } = await makeCard(identity, { name: 'Bob', relays: ['localhost'], time: 1_800_000_000 })
  const read = (length: number) => {
    const io = createTestIo()
    io.stdin.write(text)
    io.stdin.end('\n'.repeat(length - Buffer.byteLength(text)))
    return readIntroduction('-', io)
  }
  expect(await read(MOST_BYTES)).toMatchObject({ kind: 'card', card: { name: 'Bob' } })
  await expect(read(MOST_BYTES + 1)).rejects.toThrow('standard input is too long for a card')
})
