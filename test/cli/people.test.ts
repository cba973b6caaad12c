/** `asfaleia me` and `asfaleia contact`: the first run, the exchange of cards, and refusals. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, type TestContext } from 'vitest'
import { generatePrivateKey, parsePrivateKey } from '../../src/auth/private-key.ts'
import { makeCard, parseCard } from '../../src/client/format/card.ts'
import { identityOf } from '../../src/client/format/identity.ts'
import { runCommand } from '../../src/cli/command.ts'
import { asfaleia, type Outcome } from '../support/command.ts'
import { VECTORS } from '../support/example.ts'
import { run } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { createTestIo } from '../support/terminal.ts'

const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-people-'))
})
afterEach(() => {
  rmSync(root, { recursive: true })
})
const skipWithout = (context: TestContext, program: string): void => {
  const reason = missing(program)
  context.skip(reason !== undefined, reason)
}
const home = (who: string): string => join(root, who)
const as = (who: string, argv: readonly string[], input?: string): Promise<Outcome> =>
  asfaleia(argv, { env: { ASFALEIA_HOME: home(who) }, ...(input !== undefined && { input }) })
const begin = async (who: string, ...more: string[]): Promise<string> => {
  const { code, out } = await as(who, ['me', '--name', who, '--relay', 'localhost', '--link', ...more])
  expect(code).toBe(0)
  return out.trim()
}
const parse = (out: string): Record<string, unknown>[] =>
  out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

/** Decodes a picture of a QR code, as a phone's camera would. */
async function readCode(path: string): Promise<string> {
  const { code, stdout, stderr } = await run(['zbarimg', '--nodbus', '--quiet', '--raw', '-Sdisable', '-Sqrcode.enable', path])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.trimEnd()
}

/**
 * Converts half blocks, as a terminal with dark letters shows them, to a bitmap with 4 by 4 dots for each half;
 * pbm(5).
 */
function toBitmap(rows: readonly string[]): string {
  const width = Math.max(...rows.map(({ length }) => length))
  const halves = rows.flatMap((row) =>
    ['█▀', '█▄'].map((dark) => [...row.padEnd(width)].map((each) => (dark.includes(each) ? '1111' : '0000')).join('')),
  )
  const lines = halves.flatMap((half) => Array<string>(4).fill(half))
  return `P1\n${width * 4} ${lines.length}\n${lines.map((line) => line.replace(/.{64}/g, '$&\n')).join('\n')}\n`
}

describe('asfaleia me', () => {
  test.each([
    ['that no card can have', ['relay.example:3308']],
    ['that is there twice', ['localhost', 'localhost']],
  ])('makes no key for a relay %s', async (_what, relays) => {
    const outcome = await as('Alice', ['me', '--name', 'Alice', ...relays.flatMap((relay) => ['--relay', relay])])
    expect(outcome).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('cannot make your card: a card has 1 to 8 different relays') as string,
    })
    expect(existsSync(home('Alice'))).toBe(false)
  })

  test('makes key, profile and card in one call, readable only for the user', async (context) => {
    skipWithout(context, 'ssh-keygen')
    const { code, out, err } = await as('Alice', [
      'me',
      '--name',
      'Alice',
      '--relay',
      `${ONION.toUpperCase()}:3308`,
      '--relay',
      'localhost:4000',
    ])
    expect(code).toBe(0)
    const made = `asfaleia: made a new key, ${home('Alice')}/key\nasfaleia: made your profile in ${home('Alice')}; give your card to the people who will write to you\n`
    expect(err.slice(0, made.length)).toBe(made)
    expect(await parseCard(out.trim())).toMatchObject({ version: 2, name: 'Alice', relays: [ONION] })
    const files = readdirSync(home('Alice')).filter((name) => name !== 'state')
    expect(files.toSorted()).toEqual(['card', 'inbox', 'key', 'key.pub', 'profile'])
    expect(readFileSync(join(home('Alice'), 'profile'), 'utf8')).toBe(
      `name: Alice\nkey: key\nrelay: ${ONION}\nrelay: localhost:4000\npublic: no\n`,
    )
    for (const name of files) expect(statSync(join(home('Alice'), name)).mode & 0o777).toBe(0o600)
    expect(statSync(home('Alice')).mode & 0o777).toBe(0o700)
    expect(await run(['ssh-keygen', '-y', '-f', join(home('Alice'), 'key')])).toMatchObject({ code: 0 })
  })

  test('prints the same card each time, as text, link, QR code and picture', async (context) => {
    skipWithout(context, 'zbarimg')
    const link = await begin('Alice')
    const card = await parseCard(link)
    expect(await as('Alice', ['me'])).toEqual({ code: 0, out: `${link}\n`, err: '' })
    expect(await as('Alice', ['me', '--text'])).toEqual({ code: 0, out: card.text, err: '' })
    expect(parse((await as('Alice', ['me', '--json'])).out)).toEqual([
      expect.objectContaining({ name: 'Alice', link, text: card.text, relays: ['localhost'] }),
    ])
    const code = await as('Alice', ['me', '--qr'])
    const lines = code.out.trimEnd().split('\n')
    expect(lines.slice(-2)).toEqual(['', link])
    const drawn = join(root, 'code.pbm')
    writeFileSync(drawn, toBitmap(lines.slice(0, -2)))
    expect(await readCode(drawn)).toBe(link)
    const picture = join(root, 'card.png')
    expect(await as('Alice', ['me', '--png', picture])).toEqual({ code: 0, out: '', err: '' })
    expect(readFileSync(picture).subarray(0, 8)).toEqual(Buffer.from('\u{89}PNG\r\n\u{1a}\n', 'latin1'))
    expect(await readCode(picture)).toBe(link)
    const before = readFileSync(picture)
    expect(await as('Alice', ['me', '--png', picture])).toMatchObject({
      code: 1,
      err: expect.stringContaining('it already exists') as string,
    })
    expect(readFileSync(picture)).toEqual(before)
  })

  test('refuses a QR code that does not fit', async () => {
    await begin('Alice')
    const io = createTestIo({ ASFALEIA_HOME: home('Alice') })
    Object.assign(io.stdout, { isTTY: true, columns: 40 })
    expect(await runCommand(['me', '--qr'], io)).toBe(1)
    expect(io.err()).toMatch(/the QR code is \d+ columns wide, but this terminal has 40/)
    // An RSA key of 8,192 bits makes a card that exceeds every QR code.
    writeFileSync(join(root, 'rsa'), readFileSync(join(VECTORS, 'large')), { mode: 0o600 })
    const large = await as('Rob', ['me', '--name', 'Rob', '--relay', 'localhost', '--key', join(root, 'rsa'), '--qr'])
    expect(large).toMatchObject({ code: 1, out: '' })
    expect(large.err).toContain('too long for a QR code')
    expect(await as('Rob', ['me', '--link'])).toMatchObject({ code: 0 })
  }, 120_000)

  test('makes a newer card after a change, and keeps the key and unknown lines of the profile', async () => {
    const first = await parseCard(await begin('Alice'))
    const profile = join(home('Alice'), 'profile')
    writeFileSync(profile, `# mine\r\n${readFileSync(profile, 'utf8')}later: on\r\n`)
    const { out } = await as('Alice', ['me', '--name', 'Alice L.', '--link'])
    const second = await parseCard(out.trim())
    expect(second.name).toBe('Alice L.')
    expect(second.time).toBeGreaterThan(first.time)
    expect(second.key.fingerprint).toEqual(first.key.fingerprint)
    expect(readFileSync(profile, 'utf8')).toBe('# mine\nname: Alice L.\nkey: key\nrelay: localhost\npublic: no\nlater: on\n')
    // Editing the profile by hand works, too.
    writeFileSync(profile, readFileSync(profile, 'utf8').replace('Alice L.', 'Al'))
    expect((await parseCard((await as('Alice', ['me', '--text'])).out)).name).toBe('Al')
    const other = join(root, 'other')
    writeFileSync(other, generatePrivateKey('other').file, { mode: 0o600 })
    expect(await as('Alice', ['me', '--key', other])).toMatchObject({
      code: 1,
      err: expect.stringContaining('your contacts know you by it') as string,
    })
  })

  test('refuses a folder of another user, and one that every user may write to, as ssh does', async (ctx) => {
    await begin('Alice')
    chmodSync(home('Alice'), 0o777)
    for (const words of [['me'], ['contact', 'list'], ['get'], ['send', 'bob', 'hi']])
      expect(await as('Alice', words)).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringContaining('every user may write to') as string,
      })
    chmodSync(home('Alice'), 0o755)
    expect(await as('Alice', ['me'])).toMatchObject({ code: 0 })
    ctx.skip(process.getuid?.() !== 0, 'needs root')
    chownSync(home('Alice'), 65_534, 65_534)
    expect(await as('Alice', ['me'])).toMatchObject({ code: 1, out: '', err: expect.stringContaining('belongs to another user') as string })
  })

  test('composes the letters of a name, as some keyboards do not', async () => {
    const { code, out } = await as('A', ['me', '--name', 'Rene\u{301}', '--relay', 'localhost'])
    expect(code).toBe(0)
    expect((await parseCard(out.trim())).name).toBe('Ren\u{e9}')
    for (const name of ['می\u{200c}خواهم', 'ශ්\u{200d}රී', '👨\u{200d}👩\u{200d}👧'])
      expect(await parseCard((await as('A', ['me', '--name', name])).out.trim())).toMatchObject({ name })
  })

  test.each<[string, string[], number, RegExp]>([
    ['nothing', [], 1, /no profile yet, and --name and --relay are missing\nasfaleia: hint: `asfaleia me --name/],
    ['no relay', ['--name', 'A'], 1, /--relay is missing/],
    ['an invalid name', ['--name', ' A', '--relay', 'localhost'], 1, /cannot make your card: a name has/],
    ['a name that others would refuse', ['--name', 'a/b', '--relay', 'localhost'], 1, /cannot make your card: it must not contain \/ /],
    ['a name that imitates a line', ['--name', 'Al: hi', '--relay', 'localhost'], 1, /it must not contain : .*\nasfaleia: hint: .*--name/],
    ['a relay that cannot be on a card', ['--name', 'A', '--relay', 'relay.example'], 1, /an onion address or localhost/],
    ['a mistyped address', ['--name', 'A', '--relay', ONION.replace('2g', '2h')], 1, /mistyped/],
    ['too many words', ['word'], 2, /takes options only/],
  ])('refuses %s and makes no profile', async (_name, words, code, problem) => {
    const outcome = await as('A', ['me', ...words])
    expect(outcome).toMatchObject({ code, out: '' })
    expect(outcome.err).toMatch(problem)
    expect(existsSync(join(home('A'), 'profile'))).toBe(false)
  })

  test('finds its folder by HOME or XDG_CONFIG_HOME, and reports if neither is set', async () => {
    const me = ['me', '--name', 'A', '--relay', 'localhost']
    expect((await asfaleia(me, { env: { HOME: root } })).code).toBe(0)
    expect(existsSync(join(root, '.config/asfaleia/profile'))).toBe(true)
    expect((await asfaleia(me, { env: { HOME: root, XDG_CONFIG_HOME: join(root, 'xdg') } })).code).toBe(0)
    expect(existsSync(join(root, 'xdg/asfaleia/profile'))).toBe(true)
    expect(await asfaleia(me)).toMatchObject({ code: 1, err: expect.stringContaining('ASFALEIA_HOME') as string })
  })

  test.each<[string, string, RegExp]>([
    ['an invalid line', 'receipts: maybe\n', /profile: `receipts`: it must be no,/],
    ['two keys', 'key: a\nkey: b\n', /profile: `key`: it occurs more than once/],
    ['an invalid relay', 'relay: a b\n', /profile: `relay`: "[^"]+" is not the address/],
    ['an invalid yes or no', 'outbox: perhaps\n', /profile: `outbox`: it must be yes or no/],
    ['an invalid time', 'history: 7\n', /profile: `history`: it must be yes, no, or a time from 1d to 3650d, such as 7d/],
    ['a line without a colon', '# mine\n\nname A\n', /profile: line 3 has not the form `name: value`/],
  ])('reports a profile with %s and leaves it untouched', async (_name, text, problem) => {
    mkdirSync(home('A'))
    writeFileSync(join(home('A'), 'profile'), text)
    const outcome = await as('A', ['me', '--name', 'A', '--relay', 'localhost'])
    expect(outcome).toMatchObject({ code: 1, out: '' })
    expect(outcome.err).toMatch(problem)
    expect(readFileSync(join(home('A'), 'profile'), 'utf8')).toBe(text)
    expect(readdirSync(home('A'))).toEqual(['profile'])
  })

  test('tells a damaged profile and card from a missing one, with the next step', async () => {
    const say = async (...words: string[]): Promise<string> => (await as('A', words)).err
    expect(await say('send', 'bob', 'hi')).toBe(
      'asfaleia: error: you have no profile yet\nasfaleia: hint: make one with `asfaleia me --name NAME --relay ADDRESS.onion`\n',
    )
    expect(await say('me')).toContain('you have no profile yet, and --name and --relay are missing')
    await begin('A')
    const profile = join(home('A'), 'profile')
    writeFileSync(profile, 'name: A\n')
    expect(await say('get')).toMatch(/the profile \S+ names no key\n.*`key: FILE`/)
    writeFileSync(profile, '')
    expect(await say('get')).toMatch(/the profile \S+ is empty\n.*makes it again, with the key that is there/)
    expect(await say('me')).toMatch(/is empty, and --name and --relay are missing/)
    rmSync(profile)
    expect(await say('get')).toMatch(/the profile \S+ is missing, but your key is there\n/)
    writeFileSync(profile, 'name: A\nkey: elsewhere\nrelay: localhost\n')
    expect(await say('get')).toMatch(/cannot read the key file \S+elsewhere: no such file or folder\n.*your profile names this key/)
    writeFileSync(profile, 'name: A\nkey: key\nrelay: localhost\n')
    await as('A', ['contact', 'add', await begin('Bob')])
    writeFileSync(join(home('A'), 'card'), 'x')
    expect(await say('contact', 'verify', 'Bob')).toMatch(/your card \S+ is damaged\n.*`asfaleia me` makes it again/)
    rmSync(join(home('A'), 'card'))
    expect(await say('contact', 'verify', 'Bob')).toMatch(/you have no card yet/)
  })

  test('continues an interrupted first run with the key that it made', async () => {
    mkdirSync(home('A'))
    const { file, public: line } = generatePrivateKey('asfaleia')
    writeFileSync(join(home('A'), 'key'), file, { mode: 0o600 })
    const link = await begin('A')
    expect(Buffer.from((await parseCard(link)).key.blob).toString('base64')).toBe(line.split(' ')[1])
  })
})

describe('asfaleia contact', () => {
  test.each<[string, (link: string) => Promise<{ word: string; input?: string }>]>([
    ['a link', async (word) => ({ word })],
    ['a link on standard input, with words around it', async (link) => ({ word: '-', input: `Hi! ${link} is me\r\n` })],
    ['a card on standard input', async (link) => ({ word: '-', input: (await parseCard(link)).text })],
    ['a card', async (link) => ({ word: (await parseCard(link)).text })],
    [
      'a file with CR LF line ends',
      async (link) => {
        const word = join(root, 'bob.card')
        writeFileSync(word, `\r\n${(await parseCard(link)).text.replaceAll('\n', '\r\n')}\r\n`)
        return { word }
      },
    ],
  ])('adds a contact from %s', async (_name, give) => {
    await begin('Alice')
    const { word, input } = await give(await begin('Bob'))
    const { code, out, err } = await as('Alice', ['contact', 'add', word], input)
    expect({ code, out }).toEqual({ code: 0, out: expect.stringMatching(/^added Bob SHA256:\S{43}\n$/) as string })
    expect(err).toContain('asfaleia contact verify Bob')
    expect((await as('Alice', ['contact', 'list'])).out).toMatch(/^Bob {2}SHA256:\S{43} {2}not verified\n$/)
  })

  test('adds a contact from a bare key with a relay: from a file, in quotes, with options of authorized_keys', async () => {
    const { public: line } = generatePrivateKey('bob@example')
    const file = join(root, 'bob.pub')
    writeFileSync(file, `# Bob's\n${line}\n`)
    for (const [who, word] of [
      ['A', file],
      ['B', line],
      ['C', `command="echo \\"ssh-rsa AAAA\\"",no-pty ${line}`],
      ['D', `\ufeffno-pty\t${line.replace(' ', ' \t')}\r\n`],
    ] as const) {
      const without = await as(who, ['contact', 'add', word, '--name', 'bob'])
      expect(without).toMatchObject({ code: 2, out: '', err: expect.stringContaining('--relay ADDRESS') as string })
      expect(await as(who, ['contact', 'add', word, '--name', 'bob', '--relay', ONION])).toMatchObject({ code: 0 })
      expect(parse((await as(who, ['contact', 'list', '--json'])).out)).toMatchObject([
        { name: 'bob', relays: [ONION], verified: false, key: line.split(' ').slice(0, 2).join(' ') },
      ])
      expect(await as(who, ['contact', 'add', word, '--relay', 'localhost'])).toMatchObject({
        code: 0,
        out: expect.stringContaining(`relays: ${ONION} → localhost`) as string,
      })
    }
  })

  test.each<[string, (link: string) => Promise<string[]>, number, RegExp]>([
    ['a changed link', async (link) => [link.replace('name=Bob', 'name=Rob')], 1, /signature/],
    ['a truncated link', async (link) => [link.slice(0, -20)], 1, /cut off/],
    ['a later version', async (link) => [link.replace('card/2', 'card/3')], 1, /version that this program does not know/],
    ['a private key', async () => [join(home('Alice'), 'key')], 2, /private key/],
    ['a missing file', async () => ['nobody.card'], 1, /no such file: nobody\.card/],
    ['a folder', async () => [root], 1, /it is a folder/],
    [
      'a key that can only sign',
      async () => {
        const { accept } = JSON.parse(readFileSync(join(VECTORS, '../keys.json'), 'utf8')) as { accept: { line: string }[] }
        writeFileSync(join(root, 'ec.pub'), accept.find(({ line }) => line.startsWith('ecdsa-sha2-nistp256 '))!.line)
        return [join(root, 'ec.pub'), '--relay', 'localhost', '--name', 'ec']
      },
      1,
      /can only sign/,
    ],
    ['relays beside a card', async (link) => [link, '--relay', 'localhost'], 2, /does not go together with a card/],
    ['an invalid name', async (link) => [link, '--name', '../bob'], 1, /it must not begin/],
    [
      'a line made for catastrophic backtracking',
      async () => {
        const file = join(root, 'line')
        writeFileSync(file, `"${'\\"'.repeat(2_000)}x\n`)
        return [file, '--relay', 'localhost', '--name', 'mallory']
      },
      1,
      /does not hold a public key/,
    ],
    ['a missing card', async () => [], 2, /CARD is missing/],
  ])('refuses %s', async (_name, build, code, problem) => {
    await begin('Alice')
    const outcome = await as('Alice', ['contact', 'add', ...(await build(await begin('Bob')))])
    expect(outcome).toMatchObject({ code, out: '' })
    expect(outcome.err).toMatch(problem)
    expect((await as('Alice', ['contact', 'list'])).out).toBe('')
  })

  test('refuses a name that looks like another, or imitates a line, until the user gives another', async () => {
    await begin('Alice')
    await as('Alice', ['contact', 'add', await begin('Bob')])
    const card = async (who: string, name: string): Promise<string> => {
      await begin(who)
      const identity = identityOf(parsePrivateKey(readFileSync(join(home(who), 'key'))))
      return (await makeCard(identity, { name, relays: ['localhost'], time: 1_790_000_000 })).link
    }
    const add = (...words: string[]): Promise<Outcome> => as('Alice', ['contact', 'add', ...words])
    const twin = await card('Eve', 'B\u{43e}b')
    expect(await add(twin)).toMatchObject({ code: 1, err: expect.stringMatching(/B\u{43e}b looks like Bob, .*\n.*--name/u) as string })
    expect(await add(twin, '--name', 'b0b')).toMatchObject({ code: 1, err: expect.stringContaining('b0b looks like Bob') as string })
    expect(await add(twin, '--name', 'Eve')).toMatchObject({ code: 0 })
    expect(await as('Alice', ['contact', 'rename', 'eve', 'BO8'])).toMatchObject({ code: 0 })
    expect(await as('Alice', ['contact', 'rename', 'BO8', 'B0B'])).toMatchObject({ code: 1 })
    const false_ = await card('Mallory', 'Bob [verified]: hi')
    expect(await add(false_)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/cannot be a name: it must not contain \[ .*\n.*--name/) as string,
    })
    expect(await add(false_, '--name', 'Rene\u{301}')).toMatchObject({
      code: 0,
      out: expect.stringContaining('added Ren\u{e9} ') as string,
    })
    // A card cannot take the name of a group, whose messages would go to its owner.
    expect(await as('Alice', ['group', 'new', 'Tea', 'bob', '--timeout', '1'])).toMatchObject({
      out: expect.stringContaining('Tea') as string,
    })
    const tea = await card('Trudy', 'Tea')
    expect(await add(tea)).toMatchObject({ code: 1, err: expect.stringContaining('Tea is the name of a group of yours') as string })
    expect(await add(tea, '--name', 'T\u{435}a')).toMatchObject({ code: 1 })
    expect(await as('Alice', ['contact', 'rename', 'bob', 'TEA'])).toMatchObject({ code: 1 })
    // A contact of that name, in any composition and with any joiners, is the same one.
    expect(await as('Alice', ['contact', 'show', 'rene\u{301}'])).toMatchObject({ code: 0 })
  })

  test("refuses the user's own card, and another key for a known name, with a hint", async () => {
    const own = await begin('Alice')
    expect(await as('Alice', ['contact', 'add', own])).toMatchObject({ code: 1, err: 'asfaleia: error: this is your own key\n' })
    await as('Alice', ['contact', 'add', await begin('Bob')])
    const before = readFileSync(join(home('Alice'), 'contacts/Bob'), 'utf8')
    const impostor = (await as('Eve', ['me', '--name', 'Bob', '--relay', 'localhost', '--link'])).out.trim()
    const outcome = await as('Alice', ['contact', 'add', impostor])
    expect(outcome).toMatchObject({ code: 1, out: '' })
    expect(outcome.err).toMatch(/your contact "Bob" has another key: SHA256:\S+, not SHA256:\S+\nasfaleia: hint: .*contact remove/)
    expect(readFileSync(join(home('Alice'), 'contacts/Bob'), 'utf8')).toBe(before)
  })

  test('reports the changes of a newer card, and keeps the name that the user gave', async () => {
    await begin('Alice')
    await as('Alice', ['contact', 'add', await begin('Bob'), '--name', 'bobby'])
    const newer = (await as('Bob', ['me', '--name', 'Robert', '--relay', 'localhost:4000', '--link'])).out.trim()
    expect(await as('Alice', ['contact', 'add', newer])).toEqual({
      code: 0,
      out: 'bobby has a newer card:\n  name: Bob → Robert\n  relays: localhost → localhost:4000\n',
      err: '',
    })
    expect(await as('Alice', ['contact', 'add', newer])).toEqual({ code: 0, out: 'bobby is stored already; nothing changed\n', err: '' })
  })

  test('shows, renames and removes a contact, also by a name with spaces', async () => {
    await begin('Alice')
    const link = await begin('Bob')
    await as('Alice', ['contact', 'add', link])
    expect(await as('Alice', ['contact', 'rename', 'bob', 'Bob B.'])).toEqual({ code: 0, out: 'renamed to Bob B.\n', err: '' })
    const shown = await as('Alice', ['contact', 'show', 'bob b.'])
    expect(shown.out).toMatch(
      /^name: {8}Bob B\.\ncalled: {6}Bob \(on their card\)\nfingerprint: SHA256:\S+\nkey: {9}ssh-ed25519 \S+\nrelay: {7}localhost\n/,
    )
    expect((await as('Alice', ['contact', 'show', 'Bob B.', '--link'])).out.trim()).toBe(link)
    expect(await as('Alice', ['contact', 'remove', 'Bob B.'])).toEqual({ code: 0, out: 'removed Bob B.\n', err: '' })
    expect(await as('Alice', ['contact', 'show', 'Bob B.'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('no contact matches "') as string,
    })
  })

  test('mute silences a contact until unmute, in a file that stays readable', async () => {
    await begin('Alice')
    await as('Alice', ['contact', 'add', await begin('Bob')])
    expect(await as('Alice', ['contact', 'mute', 'bob'])).toEqual({ code: 0, out: 'muted Bob\n', err: '' })
    expect((await as('Alice', ['contact', 'list'])).out).toMatch(/not verified, muted\n$/)
    expect(readFileSync(join(home('Alice'), 'rules'), 'utf8')).toMatch(/^muted: SHA256:\S{43}\n$/)
    expect(await as('Alice', ['contact', 'unmute', 'bob'])).toEqual({ code: 0, out: 'no longer muted: Bob\n', err: '' })
    expect((await as('Alice', ['contact', 'list'])).out).toMatch(/not verified\n$/)
  })

  test('verify shows both users the same words, and --confirm stores that they matched', async (context) => {
    skipWithout(context, 'ssh-keygen')
    const [alice, bob] = [await begin('Alice'), await begin('Bob')]
    await as('Alice', ['contact', 'add', bob])
    await as('Bob', ['contact', 'add', alice])
    const hers = await as('Alice', ['contact', 'verify', 'bob'])
    const his = await as('Bob', ['contact', 'verify', 'alice'])
    expect(hers.out).toMatch(
      /^(?: {2}[a-z]+ [a-z]+ [a-z]+ [a-z]+\n){3}\n {2}you +Bob\n {2}\+--\[ED25519 256\]--\+ {3}\+--\[ED25519 256\]--\+\n/,
    )
    expect(hers.out.split('\n').slice(0, 3)).toEqual(his.out.split('\n').slice(0, 3))
    // The pictures must equal those of ssh-keygen.
    const { stdout } = await run(['ssh-keygen', '-lv', '-f', join(home('Alice'), 'key.pub')])
    const picture = stdout.trimEnd().split('\n').slice(1)
    expect(
      hers.out
        .split('\n')
        .slice(5, 16)
        .map((line) => line.slice(2, 21)),
    ).toEqual(picture)
    expect(hers.err).toContain('asfaleia contact verify Bob --confirm')
    expect(await as('Alice', ['contact', 'verify', 'bob', '--confirm'])).toMatchObject({ code: 0, out: 'Bob is verified\n' })
    expect((await as('Alice', ['contact', 'list'])).out).toMatch(/ {2}verified\n$/)
    expect(parse((await as('Alice', ['contact', 'show', 'bob', '--json'])).out)[0]).toMatchObject({
      verified: expect.stringMatching(/^\d{4}-/) as string,
    })
  }, 60_000)

  test('warns of a broken file and uses the others', async () => {
    await begin('Alice')
    await as('Alice', ['contact', 'add', await begin('Bob')])
    writeFileSync(join(home('Alice'), 'contacts/Carol'), 'asfaleia-card/1\nname: Carol\n')
    const { code, out, err } = await as('Alice', ['contact', 'list'])
    expect({ code, out }).toEqual({ code: 0, out: expect.stringMatching(/^Bob {2}/) as string })
    expect(err).toBe(`asfaleia: warning: ${home('Alice')}/contacts/Carol: the end of the card is missing\n`)
    expect(await as('Alice', ['contact', 'remove', 'carol'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('left untouched') as string,
    })
  })

  test('lists contacts in columns by the width of the names, without copies that editors make', async () => {
    await begin('Alice')
    await as('Alice', ['contact', 'add', await begin('Bob'), '--name', '王小明'])
    await as('Alice', ['contact', 'add', await begin('Dave')])
    for (const copy of ['#Dave#', 'Dave~', '.#Dave']) writeFileSync(join(home('Alice'), 'contacts', copy), 'half a ca')
    const { out, err } = await as('Alice', ['contact', 'list'])
    expect(err).toBe('')
    expect(out.split('\n').map((line) => line.split('SHA256')[0])).toEqual(['Dave    ', '王小明  ', ''])
  })

  test('reports a folder that it cannot write to', async (context) => {
    await begin('Alice')
    const link = await begin('Bob')
    const isRoot = process.getuid?.() === 0
    if (isRoot) {
      // Root may write everywhere, so another user tries.
      skipWithout(context, 'setpriv')
      chmodSync(root, 0o755)
      for (const path of ['', ...readdirSync(home('Alice'))]) chownSync(join(home('Alice'), path), 65_534, 65_534)
    }
    chmodSync(home('Alice'), 0o500)
    const user = isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []
    const program = [process.execPath, join(import.meta.dirname, '../../src/cli/main.ts'), 'contact', 'add', link]
    expect(await run([...user, ...program], { env: { ASFALEIA_HOME: home('Alice') } })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('permission denied') as string,
    })
    chmodSync(home('Alice'), 0o700)
    if (isRoot) chownSync(home('Alice'), 0, 0)
    writeFileSync(join(home('Alice'), 'contacts'), 'mine')
    expect(await as('Alice', ['contact', 'add', link])).toMatchObject({
      code: 1,
      err: expect.stringContaining('cannot read the folder') as string,
    })
  })

  test.each([[[]], [['frobnicate']], [['list', 'word']], [['rename', 'bob']], [['show']], [['add', 'a', 'b']]])(
    'refuses the arguments %j',
    async (words) => {
      expect(await as('Alice', ['contact', ...words])).toMatchObject({ code: 2, out: '' })
    },
  )
})
