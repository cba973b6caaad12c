import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { parsePublicKey, formatFingerprint } from '../../../src/auth/ssh-key.ts'
import { formatUntil, parseUntil } from '../../../src/cli/service/until.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { scratch } from '../../support/service.ts'
import { createPerson } from '../../support/wire.ts'

const [alice, bob, eve] = [createPerson().line, createPerson().line, createPerson().line]
const nameOf = (line: string): string => formatFingerprint(parsePublicKey(line).fingerprint)

let path: string
beforeEach(() => {
  path = join(scratch(), 'admit')
})
const admit = (...argv: string[]): Promise<Outcome> => asfaleia(['admit', ...argv], { env: { ASFALEIA_ADMIT: path } })
const text = (): string => readFileSync(path, 'latin1')

describe('admit add', () => {
  test('makes the list, readable by its owner alone, and appends to it', async () => {
    expect(await admit('add', alice, '--name', 'Alice A.')).toEqual({ code: 0, out: `added Alice A. ${nameOf(alice)}\n`, err: '' })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await admit('add', bob, '--send-only', '--until', '2999-01-31')).toMatchObject({ code: 0, err: '' })
    expect(text()).toBe(`${alice} Alice A.\nsend-only,expiry-time="29990201000000Z" ${bob}\n`)
    expect(existsSync(`${path}.lock`)).toBe(false)
  })

  test('keeps comments, order, line breaks, mode and a link to the file', async () => {
    const file = join(scratch(), 'file')
    const before = `\xef\xbb\xbf# caf\xe9\r\n\r\nno-pty\t${alice}\tA`
    writeFileSync(file, before, 'latin1')
    chmodSync(file, 0o644)
    symlinkSync(file, path)
    expect(await admit('add', bob, '--receive-only')).toMatchObject({ code: 0, err: '' })
    expect(readFileSync(file, 'latin1')).toBe(`${before}\r\nreceive-only ${bob}\r\n`)
    expect(statSync(file).mode & 0o777).toBe(0o644)
    expect(await admit('remove', 'A')).toMatchObject({ code: 0 })
    expect(text()).toBe(`\xef\xbb\xbf# caf\xe9\r\n\r\nreceive-only ${bob}\r\n`)
  })

  test('takes a card or its link, and the name on it', async () => {
    const home = join(scratch(), 'home')
    const me = (...argv: string[]): Promise<Outcome> => asfaleia(['me', ...argv], { env: { ASFALEIA_HOME: home } })
    const { out: link } = await me('--name', 'Carol', '--relay', 'localhost', '--link')
    expect(await admit('add', link.trim())).toMatchObject({ code: 0, out: expect.stringMatching(/^added Carol SHA256:/) })
    const { out: card } = await me()
    writeFileSync(join(home, 'mine'), card)
    expect(await admit('add', join(home, 'mine'))).toMatchObject({
      code: 1,
      err: expect.stringContaining('line 1 of the list has this key'),
    })
    expect(text()).toMatch(/^ssh-ed25519 \S+ Carol\n$/)
  })

  test.each([
    [['--send-only', '--receive-only'], 2, /exclude each other/],
    [['--until', '2020-01-01'], 2, /--until: that date is over/],
    [['--until', 'soon'], 2, /--until: expected/],
    [['--name', 'a\nssh-ed25519 AAAA'], 2, /cannot be a name/],
  ])('refuses %j and writes nothing', async (options, code, err) => {
    expect(await admit('add', alice, ...options)).toMatchObject({ code, err: expect.stringMatching(err) })
    expect(existsSync(path)).toBe(false)
  })

  test('of many at a time loses none', async () => {
    const people = Array.from({ length: 5 }, () => createPerson().line)
    const outcomes = await Promise.all(people.map((line) => admit('add', line)))
    const added = people.filter((_line, n) => outcomes[n]!.code === 0)
    expect(added.length).toBeGreaterThan(0)
    expect(text().trim().split('\n').toSorted()).toEqual(added.toSorted())
    for (const { code, err } of outcomes) if (code !== 0) expect(err).toMatch(/another process changes the list/)
  })
})

describe('a list', () => {
  beforeEach(() => {
    writeFileSync(
      path,
      `# people\n${alice} Alice\nsend-only,mailbox=8 ${eve} Eve\nexpiry-time="20200101Z",per-sender=1M,verify-required ${bob} \x1b[31mBob\n`,
    )
  })

  test('is listed with its rights; mistakes are warned of, and nothing reaches the terminal as it is', async () => {
    const { code, out, err } = await admit('list')
    expect(code).toBe(0)
    expect(out).toContain(`Alice          ${nameOf(alice)}\n`)
    expect(out).toContain(`Eve            ${nameOf(eve)}  line 3 is a mistake\n`)
    expect(out).not.toContain('\x1b')
    expect(err).toContain('warning: line 3 has options that contradict each other')
    writeFileSync(path, `send-only,per-sender=1M,expiry-time="29990201000000Z" ${eve} Eve\n`)
    expect((await admit('list')).out).toBe(`Eve  ${nameOf(eve)}  send-only, until 2999-02-01 00:00 UTC, 1048576 bytes an hour\n`)
    expect(JSON.parse((await admit('list', '--json')).out)).toEqual({
      name: 'Eve',
      fingerprint: nameOf(eve),
      type: 'ssh-ed25519',
      line: 1,
      only: 'send',
      until: '2999-02-01T00:00:00.000Z',
      perSender: 1_048_576,
    })
  })

  test('is checked: every mistake, with a hint, and exit code 1', async () => {
    const { code, out } = await admit('check')
    expect([code, out]).toEqual([
      1,
      'line 3 has options that contradict each other: a key with send-only has no mailbox, and one with receive-only sends nothing\n' +
        'line 4 has the option verify-required, but its key is no sk- key: remove the option, or use a security key\n',
    ])
    await admit('remove', 'Eve')
    await admit('remove', nameOf(bob))
    expect(await admit('check')).toEqual({ code: 0, out: '1 key, no mistakes\n', err: '' })
    expect(text()).toBe(`# people\n${alice} Alice\n`)
  })

  test('loses all lines of a key, but none of a namesake', async () => {
    writeFileSync(path, `${alice} A\n${bob} A\n# between\n${alice} again\n`)
    const twice = await admit('remove', 'A')
    expect(twice).toMatchObject({ code: 1, err: expect.stringContaining('2 keys have this name') })
    expect(twice.err).toContain(nameOf(bob))
    expect(await admit('remove', 'again')).toMatchObject({ code: 0 })
    expect(text()).toBe(`${bob} A\n# between\n`)
    expect(await admit('remove', 'nobody')).toMatchObject({ code: 1, err: expect.stringContaining('no key on the list') })
  })
})

test('without a list, or with a folder in its place, says so', async () => {
  expect(await admit('list')).toMatchObject({ code: 1, err: expect.stringContaining('no such file') })
  expect(await asfaleia(['admit', 'list'])).toMatchObject({ code: 2, err: expect.stringContaining('--admit is missing') })
  mkdirSync(path)
  expect(await admit('check')).toMatchObject({ code: 1, err: expect.stringContaining('not a regular file') })
})

test('a date includes its day, and a time from now is a whole second', () => {
  const now = Date.UTC(2026, 10, 29, 12) + 1
  expect(formatUntil(parseUntil('2027-01-31', now))).toBe('2027-02-01 00:00 UTC')
  expect(formatUntil(parseUntil('2026-11-29', now))).toBe('2026-11-30 00:00 UTC')
  expect(parseUntil('30d', now)).toBe(Date.UTC(2026, 11, 29, 12, 0, 1))
  for (const text of ['2027-02-29', '2026-11-28', '0d', '30', '', '999999w']) expect(() => parseUntil(text, now)).toThrow(/--until/)
})

test('a right ends after now, and before the last day of the year 9999 at the latest', () => {
  const midnight = Date.UTC(2026, 10, 30)
  expect(() => parseUntil('2026-11-29', midnight)).toThrow('that date is over, or too far away')
  expect(parseUntil('2026-11-29', midnight - 1)).toBe(midnight)
  expect(formatUntil(parseUntil('9999-12-30', midnight))).toBe('9999-12-31 00:00 UTC')
  expect(() => parseUntil('9999-12-31', midnight)).toThrow('that date is over, or too far away')
})
