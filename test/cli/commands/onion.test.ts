/** `asfaleia onion`: the user's keys for onion services, without a tor that takes them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { asfaleia, type Outcome } from '../../support/command.ts'

const NAME = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid'
const LINE = `${NAME}:descriptor:x25519:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSA`

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'asf-onion-'))
})
afterEach(() => rmSync(home, { recursive: true }))

const onion = (argv: readonly string[], input?: string): Promise<Outcome> =>
  asfaleia(['onion', ...argv], {
    env: { ASFALEIA_HOME: home, ASFALEIA_TOR_CONTROL: 'unix:/nowhere/control' },
    ...(input !== undefined && { input }),
  })

test.each([
  ['as a word', [LINE], undefined],
  ['on standard input', ['-'], `${LINE}\n`],
])('a key %s is stored for the user alone, listed, and removed', async (_how, words, input) => {
  const added = await onion(['add', ...words], input)
  expect(added).toMatchObject({ code: 0, out: `added ${NAME}.onion\n` })
  expect(added.err).toContain("tor's control port did not take the key")
  const [file] = readdirSync(join(home, 'onions'))
  expect(readFileSync(join(home, 'onions', file!), 'utf8')).toBe(`${LINE}\n`)
  expect(statSync(join(home, 'onions', file!)).mode & 0o777).toBe(0o600)
  expect(await onion(['list'])).toMatchObject({ code: 0, out: `${NAME}.onion\n` })
  expect(await onion(['list', '--json'])).toMatchObject({ code: 0, out: `{"address":"${NAME}.onion"}\n` })
  expect(await onion(['remove', `${NAME}.onion`])).toMatchObject({ code: 0, out: `removed ${NAME}.onion\n` })
  expect(await onion(['list'])).toMatchObject({ code: 0, out: '' })
})

test('what is no key is refused without a part of it', async () => {
  for (const [words, input] of [[[LINE.slice(0, -2)], undefined] as const, [['-'], `${LINE.slice(0, -2)}\n`] as const]) {
    const refused = await onion(['add', ...words], input)
    expect(refused).toMatchObject({ code: 2, out: '' })
    expect(refused.err).toContain('this is not a client key of an onion service')
    expect(refused.err).not.toContain('ABCDEF')
  }
  expect(await onion(['add', '-'], 'x'.repeat(5_000))).toMatchObject({ code: 1, out: '' })
  expect(await onion(['remove', 'relay.example'])).toMatchObject({ code: 2, out: '' })
})
