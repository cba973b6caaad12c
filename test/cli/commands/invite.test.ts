/** Invites from both sides: the operator's `invite` and `member`, and the newcomer's `join`. */
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { base32nopad } from '@scure/base'
import { formatInvite, parseInvite } from '../../../src/client/format/invite.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay } from '../../support/relay.ts'
import { CLIENT, list, scratch, writeService } from '../../support/service.ts'
import { startSocksServer } from '../../support/socks-server.ts'
import { listen } from '../../support/tor-control.ts'

const UNTOLD = 'asfaleia: tor does not know yet: reload it (SIGHUP), or give --tor-control\n'
const LASTS = 'asfaleia: open connections last until the relay restarts, or until `asfaleia panic`\n'

let around: string
let folder: string
let address: string
let clients: string
beforeEach(() => {
  around = scratch()
  ;({ folder, address } = writeService(around))
  clients = join(folder, 'authorized_clients')
})

const operate = (...argv: string[]): Promise<Outcome> => asfaleia(argv, { env: { ASFALEIA_SERVICE: folder } })
const link = async (...argv: string[]): Promise<string> => (await operate('invite', ...argv)).out.trim()

/** Computes the public key of a private one, both in base32. */
function publicOf(secret: string): string {
  const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), base32nopad.decode(secret)])
  const { x } = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({ format: 'jwk' })
  return base32nopad.encode(Buffer.from(x!, 'base64url'))
}

describe('invite', () => {
  test('prints a link with a private key, and stores only the public one', async () => {
    const { code, out, err } = await operate('invite', 'alice')
    expect([code, err]).toEqual([0, UNTOLD])
    const invite = parseInvite(out)
    expect(invite).toEqual({ relay: address, key: expect.any(String), name: 'alice' })
    expect(readFileSync(join(clients, 'alice.auth'), 'utf8')).toBe(`descriptor:x25519:${publicOf(invite.key)}\n`)
    expect(await operate('member', 'list')).toEqual({ code: 0, out: 'alice\n', err: '' })
  })

  test('takes a last day, the card of the operator, and draws a code', async () => {
    const env = { ASFALEIA_HOME: join(around, 'op') }
    const card = (await asfaleia(['me', '--name', 'Op', '--relay', address, '--link'], { env })).out.trim()
    const { out } = await operate('invite', 'bob', '--until', '2999-01-31', '--card', card, '--qr')
    expect(parseInvite(out)).toMatchObject({ name: 'bob', until: Date.UTC(2999, 1, 1) / 1_000, card })
    expect(out).toContain('█')
    expect(readdirSync(clients)).toEqual(['bob--until-29990201000000.auth'])
    expect((await operate('member', 'list')).out).toBe('bob  until 2999-02-01 00:00 UTC\n')
    expect(JSON.parse((await operate('member', 'list', '--json')).out)).toEqual({
      members: [{ name: 'bob', until: '2999-02-01T00:00:00.000Z' }],
      open: false,
    })
  })

  test('writes the key as a file for tor, and invites no one if it cannot', async () => {
    const file = join(around, 'probe.auth_private')
    expect(await operate('invite', 'probe', '--out', file)).toEqual({ code: 0, out: '', err: UNTOLD })
    expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^${address.slice(0, 56)}:descriptor:x25519:[A-Z2-7]{52}\n$`))
    await operate('member', 'remove', 'probe')
    expect(await operate('invite', 'other', '--out', file)).toMatchObject({ code: 1, err: expect.stringContaining('it already exists') })
    expect(await operate('invite', 'other', '--out', `${file}2`, '--qr')).toMatchObject({ code: 2 })
    // The service stays closed.
    expect(readdirSync(clients)).toEqual(['nobody.auth'])
  })

  test('refuses a name that is taken, also with another last day, and writes nothing', async () => {
    await operate('invite', 'alice', '--until', '30d')
    const before = list(folder)
    expect(await operate('invite', 'alice')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('the name alice already') })
    for (const name of ['nobody', 'a b', '-x', 'x'.repeat(41), 'a--until-20270101000000']) {
      expect(await operate('invite', '--', name)).toMatchObject({ code: 2, out: '' })
    }
    expect(await operate('invite', 'bob', '--until', 'never')).toMatchObject({ code: 2, out: '' })
    expect(await operate('invite', 'bob', '--card', join(folder, 'hostname'))).toMatchObject({ out: '' })
    expect(list(folder)).toEqual(before)
  })

  test('takes a name of 40 characters', async () => {
    expect(await operate('invite', 'x'.repeat(40))).toMatchObject({ code: 0 })
    expect(readdirSync(clients)).toEqual([`${'x'.repeat(40)}.auth`])
  })

  test('makes the folder of the clients, for its owner alone, if tor has not', async () => {
    rmSync(clients, { recursive: true, force: true })
    expect(await operate('invite', 'alice')).toMatchObject({ code: 0 })
    expect(statSync(clients).mode & 0o777).toBe(0o700)
    expect(statSync(join(clients, 'alice.auth')).mode & 0o777).toBe(0o600)
    rmSync(clients, { recursive: true })
    writeFileSync(clients, '')
    expect(await operate('invite', 'alice')).toMatchObject({ code: 1, out: '' })
  })

  test('refuses a folder of a service without an onion address, and writes nothing', async () => {
    writeFileSync(join(folder, 'hostname'), 'example.org\n')
    const before = list(folder)
    expect(await operate('invite', 'alice')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('contains no onion address') })
    expect(list(folder)).toEqual(before)
  })

  test('refuses the 331st member', async () => {
    for (let n = 0; n < 330; n++) writeFileSync(join(clients, `m${n}.auth`), CLIENT)
    const { code, err } = await operate('invite', 'alice')
    expect([code, err]).toEqual([1, expect.stringContaining('tor takes at most 330 members of an onion service, and this one has 330')])
    expect(readdirSync(clients)).toHaveLength(330)
    await operate('member', 'remove', 'm7')
    expect(await operate('invite', 'alice')).toMatchObject({ code: 0 })
  })
})

describe('member', () => {
  test('remove ends a membership, and keeps the service closed after the last one', async () => {
    await operate('invite', 'alice')
    await operate('invite', 'bob', '--until', '30d')
    expect(await operate('member', 'remove', 'bob')).toEqual({
      code: 0,
      out: 'removed; 1 member can find the service\n',
      err: UNTOLD + LASTS,
    })
    expect((await operate('member', 'remove', 'alice')).out).toBe('removed; no one can find the service; `asfaleia invite` adds a member\n')
    expect(readdirSync(clients)).toEqual(['nobody.auth'])
    expect((await operate('member', 'list', '--json')).out).toBe('{"members":[],"open":false}\n')
    expect(await operate('member', 'remove', 'alice')).toMatchObject({ code: 1, err: expect.stringContaining('no member with this name') })
    // The service can still be opened.
    expect(await operate('member', 'remove', 'alice', '--open')).toEqual({
      code: 0,
      out: 'opened; everyone who knows its address can find the service\n',
      err: UNTOLD,
    })
    expect(readdirSync(clients)).toEqual([])
  })

  test('expire ends the memberships that are over, and no other', async () => {
    for (const name of ['old--until-20200101000000', 'new--until-29990101000000', 'plain'])
      writeFileSync(join(clients, `${name}.auth`), CLIENT)
    const listed = await operate('member', 'list')
    expect(listed.out).toContain('old  over since 2020-01-01 00:00 UTC\n')
    expect(listed.err).toContain('`asfaleia member expire`')
    expect(await operate('member', 'expire')).toEqual({ code: 0, out: 'removed old\n', err: UNTOLD })
    expect(await operate('member', 'expire')).toEqual({ code: 0, out: '', err: '' })
    expect(readdirSync(clients)).toEqual(['new--until-29990101000000.auth', 'plain.auth'])
  })

  test('expire keeps the service closed after the last membership, and reports it as JSON', async () => {
    for (const name of ['a', 'b']) writeFileSync(join(clients, `${name}--until-20200101000000.auth`), CLIENT)
    expect((await operate('member', 'expire', '--json')).out).toBe('{"removed":["a","b"],"left":0}\n')
    expect(readdirSync(clients)).toEqual(['nobody.auth'])
    expect((await operate('member', 'expire', '--json')).out).toBe('{"removed":[],"left":0}\n')
  })

  test('remove reports as JSON how many members are left, and whether the service is open', async () => {
    await operate('invite', 'alice')
    await operate('invite', 'bob')
    const remove = async (...words: string[]): Promise<unknown> => JSON.parse((await operate('member', 'remove', '--json', ...words)).out)
    expect(await remove('bob', '--open')).toEqual({ name: 'bob', left: 1, open: false })
    expect(await remove('alice')).toEqual({ name: 'alice', left: 0, open: false })
    expect(await remove('alice', '--open')).toEqual({ name: 'alice', left: 0, open: true })
  })

  test('remove opens the service with its last member, also if it was never without one', async () => {
    await operate('invite', 'alice')
    await operate('invite', 'bob')
    expect(readdirSync(clients)).toEqual(['alice.auth', 'bob.auth'])
    expect(await operate('member', 'remove', 'alice', '--open')).toMatchObject({ out: 'removed; 1 member can find the service\n' })
    expect(await operate('member', 'remove', 'bob', '--open')).toMatchObject({
      code: 0,
      out: 'removed; everyone who knows its address can find the service\n',
    })
    expect(readdirSync(clients)).toEqual([])
  })

  test('list takes only a date behind its mark for the end of a membership', async () => {
    const files = ['member-20200101000000', 'a--until-2020010100000', 'b--until-c--until-29990101000000']
    for (const name of files) writeFileSync(join(clients, `${name}.auth`), CLIENT)
    expect(JSON.parse((await operate('member', 'list', '--json')).out)).toEqual({
      members: [
        { name: 'a--until-2020010100000' },
        { name: 'b--until-c', until: '2999-01-01T00:00:00.000Z' },
        { name: 'member-20200101000000' },
      ],
      open: false,
    })
  })

  test('list warns of a folder that other users may enter, and refuses one that does not exist', async () => {
    chmodSync(folder, 0o710)
    expect(await operate('member', 'list')).toMatchObject({
      code: 0,
      err: `asfaleia: warning: other users may enter ${folder}; to keep them out: chmod 700 ${folder}\n`,
    })
    chmodSync(folder, 0o700)
    expect(await operate('member', 'list')).toMatchObject({ code: 0, err: '' })
    const missing = await asfaleia(['member', 'list', '--service', join(around, 'none')])
    expect(missing).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/cannot read \S+none: no such file or folder\nasfaleia: hint: name tor's HiddenServiceDir/),
    })
  })

  test('shows members that someone else wrote as tor loads them, and warns of files that tor skips', async () => {
    writeFileSync(join(clients, 'a b@c.auth'), CLIENT.toString().toLowerCase().replace('\n', '\r\n'))
    writeFileSync(join(clients, 'broken\x1b.auth'), 'descriptor:x25519:\n')
    writeFileSync(join(clients, 'README'), 'x')
    mkdirSync(join(clients, 'folder.auth'))
    const { out, err } = await operate('member', 'list')
    expect(out).toBe('a b@c\n')
    expect(err.split('\n')).toEqual([
      'asfaleia: warning: tor skips the file broken\\u{1b}.auth: it holds no public key',
      'asfaleia: warning: tor skips the file folder.auth: it holds no public key',
      '',
    ])
    expect(await operate('member', 'remove', 'a b@c')).toMatchObject({ code: 0 })
  })
})

/** A newcomer with a profile of their own, who reaches the relay through a SOCKS server. */
async function createNewcomer(
  name: string,
  socks = 1,
): Promise<{ run(argv: readonly string[], input?: string): Promise<Outcome>; readonly home: string; readonly heard: string[] }> {
  const heard: string[] = []
  const control = await listen(
    (command) => (command.startsWith('PROTOCOLINFO') ? '250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n' : '250 OK\r\n'),
    heard,
  )
  if (control.kind !== 'tcp') throw new Error('no port was taken')
  const home = join(around, name)
  const env = { ASFALEIA_HOME: home, ASFALEIA_TOR_CONTROL: `127.0.0.1:${control.port}`, ASFALEIA_SOCKS: `127.0.0.1:${socks}` }
  return { home, heard, run: (argv, input) => asfaleia(argv, { env, ...(input !== undefined && { input }) }) }
}

async function startVillage(): Promise<{ socks: number; down(): void }> {
  const relay = await startTestRelay({ names: [address] })
  const server = await startSocksServer({ to: relay.port })
  onTestFinished(async () => {
    await server.close()
    await relay.close()
  })
  return { socks: server.port, down: () => relay.cut() }
}

describe('join', () => {
  test('makes a profile, hands the key to tor, adds the operator and sends them the card', async () => {
    const { socks } = await startVillage()
    const operator = await createNewcomer('operator', socks)
    const card = (await operator.run(['me', '--name', 'Olga', '--relay', address, '--link'])).out.trim()
    const text = await link('alice', '--card', card)
    const alice = await createNewcomer('alice', socks)
    const { code, out, err } = await alice.run(['join', '-'], `Welcome!\n${text}\n`)
    expect([code, out]).toEqual([0, expect.stringMatching(new RegExp(`^joined ${address}\nsent your card to Olga\nasfaleia:card/\\S+\n$`))])
    expect(err).toMatch(/^asfaleia: made a new key, \S+\nasfaleia: made your profile in [^\n]+\n$/)
    const key = Buffer.from(base32nopad.decode(parseInvite(text).key)).toString('base64')
    expect(alice.heard).toContain(`ONION_CLIENT_AUTH_ADD ${address.slice(0, 56)} x25519:${key}`)
    expect(readFileSync(join(alice.home, 'profile'), 'utf8')).toContain('alice')
    expect(JSON.parse((await alice.run(['contact', 'show', 'Olga', '--json'])).out)).toMatchObject({ name: 'Olga', relays: [address] })
    const got = JSON.parse((await operator.run(['get', '--json'])).out.trim().split('\n')[0]!) as Record<string, unknown>
    expect(JSON.stringify(got)).toContain('card')
    expect(JSON.stringify(got)).toContain('alice')

    // The same invite again does the rest again, and changes nothing else.
    const before = list(alice.home)
    const again = await alice.run(['join', text])
    expect(again).toMatchObject({ code: 0, err: expect.stringContaining('you have used this invite before') })
    for (const [path, bytes] of Object.entries(before))
      if (!path.startsWith('state')) expect([path, list(alice.home)[path]]).toEqual([path, bytes])
  })

  test('without a card ends with the link to hand over', async () => {
    const bob = await createNewcomer('bob')
    const { code, out, err } = await bob.run(['join', await link('bob'), '--name', 'Bob B.'])
    expect([code, out]).toEqual([0, expect.stringMatching(/^joined \S+\nasfaleia:card\/\S*Bob%20B\.\S+\n$/)])
    expect(err).toContain('give it to the operator, and ask for theirs')
  })

  test('keeps the profile that there is', async () => {
    const carol = await createNewcomer('carol')
    await carol.run(['me', '--name', 'Carol', '--relay', 'localhost'])
    const profile = readFileSync(join(carol.home, 'profile'), 'utf8')
    expect(await carol.run(['join', await link('carol')])).toMatchObject({
      code: 0,
      err: expect.stringContaining('you receive at your other relays as before'),
    })
    expect(readFileSync(join(carol.home, 'profile'), 'utf8')).toBe(profile)
  })

  test('says what to do if tor does not take the key, or the operator is not reached', async () => {
    const operator = await createNewcomer('operator')
    const card = (await operator.run(['me', '--name', 'Olga', '--relay', address, '--link'])).out.trim()
    const text = await link('dave', '--card', card)
    const env = { ASFALEIA_HOME: join(around, 'dave'), ASFALEIA_TOR_CONTROL: 'off', ASFALEIA_SOCKS: '127.0.0.1:1' }
    const { code, out, err } = await asfaleia(['join', text], { env })
    expect([code, out]).toEqual([69, expect.stringMatching(/^joined \S+\nadded Olga\nasfaleia:card\//)])
    expect(err).toContain(`${join(around, 'dave/onions', address)}\n`)
    expect(err).toContain('give tor the key as above, and run the same command again')
    expect(readFileSync(join(around, 'dave/onions', address), 'utf8')).toBe(
      `${address.slice(0, 56)}:descriptor:x25519:${parseInvite(text).key}\n`,
    )
  })

  test('gives the operator another name if a contact has theirs', async () => {
    const { socks } = await startVillage()
    const [operator, other, eve] = [
      await createNewcomer('operator', socks),
      await createNewcomer('other'),
      await createNewcomer('eve', socks),
    ]
    const cardOf = async ({ run }: typeof operator): Promise<string> =>
      (await run(['me', '--name', 'Olga', '--relay', address, '--link'])).out.trim()
    await eve.run(['contact', 'add', await cardOf(other)])
    expect(await eve.run(['join', await link('eve', '--card', await cardOf(operator))])).toMatchObject({
      code: 0,
      out: expect.stringContaining('sent your card to Olga 2\n'),
    })
  })

  test('refuses an invite that has expired, was cut off, is none, or has a forged card, and writes nothing', async () => {
    const eve = await createNewcomer('eve')
    const good = parseInvite(await link('eve'))
    for (const [text, problem] of [
      [formatInvite({ ...good, until: 1_577_836_800 }), /this invite has expired: it was good until 2020-01-01 00:00 UTC/],
      [formatInvite(good).slice(0, -3), /LINK: a part of the invite is missing/],
      ['asfaleia:card/1?name=a', /LINK: this is not an invite/],
      [formatInvite({ ...good, card: 'asfaleia:card/1?name=a' }), /the operator's card in the invite: /],
    ] as const) {
      const { code, out, err } = await eve.run(['join', text])
      expect([code, out, err]).toEqual([1, '', expect.stringMatching(problem)])
      expect(err).not.toContain(good.key)
    }
    expect(existsSync(eve.home)).toBe(false)
  })

  test('replaces the key of a relay only if asked to', async () => {
    const alice = await createNewcomer('alice')
    await alice.run(['join', await link('alice')])
    const path = join(alice.home, 'onions', address)
    const before = readFileSync(path, 'utf8')
    rmSync(join(clients, 'alice.auth'))
    const second = await link('alice')
    expect(await alice.run(['join', second])).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/a member of \S+ already[^]*--replace/),
    })
    expect(readFileSync(path, 'utf8')).toBe(before)
    expect(await alice.run(['join', second, '--replace'])).toMatchObject({ code: 0 })
    expect(readFileSync(path, 'utf8')).toContain(parseInvite(second).key)
  })
})

test('the former names work, but no list shows them', async () => {
  const { out } = await asfaleia(['--help'])
  expect(out).toMatch(/^ {2}join /m)
  expect(out).not.toMatch(/^ {2}(?:client|onion) /m)
  expect((await asfaleia(['completion', 'man'])).out).not.toMatch(/asfaleia onion add/)
  expect(await operate('client', 'add', 'alice')).toMatchObject({ code: 0 })
  expect((await operate('member', 'list')).out).toBe('alice\n')
  expect(await asfaleia(['onion', '--help'])).toMatchObject({ code: 0 })
})
