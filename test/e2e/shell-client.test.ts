/**
 * The shell client and the library read each other's messages over a local relay: signed messages, cards, and
 * each verdict with its text. Over Tor: tor.test.ts.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateX25519Identity, identityToRecipient } from 'age-encryption'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import { makeCard } from '../../src/client/format/card.ts'
import { connectRelay } from '../../src/client/wire/connect.ts'
import { encodeText, fingerprintOf, formatKey, formatTime, makeId } from '../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'
import type { Content } from '../../src/client/format/content.ts'
import { encodeMessage, type Opened, openMessage, PADDED_BYTES } from '../../src/client/format/message.ts'
import { seal } from '../../src/client/format/envelope.ts'
import { signText } from '../client/people.ts'
import { startRelay } from '../support/example.ts'
import { type Finished, run } from '../support/process.ts'
import { missing } from '../support/programs.ts'

const SHELL_CLIENT = join(import.meta.dirname, 'shell-client.sh')
const reason = missing('nc', 'age', 'ssh-keygen')
let folder: string
let relay: Awaited<ReturnType<typeof startRelay>>

beforeEach((ctx) => ctx.skip(reason !== undefined, reason))
beforeAll(async () => {
  if (reason !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'asf-shell-'))
  relay = await startRelay()
  for (const [name, type] of [
    ['alice', 'ed25519'],
    ['bob', 'ed25519'],
    ['carol', 'ecdsa'],
    ['dora', 'rsa'],
  ] as const) {
    await run(['ssh-keygen', '-q', '-t', type, '-N', '', '-C', name, '-f', join(folder, name)])
  }
  writeFileSync(join(folder, 'carol.age'), `${await generateX25519Identity()}\n`)
  writeFileSync(join(folder, 'people'), `alice ${read('alice.pub')}dora ${read('dora.pub')}`)
})
afterAll(async () => {
  await relay?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
const shell = (command: string, key: string, ...args: string[]): Promise<Finished> =>
  run(['sh', SHELL_CLIENT, command, 'localhost', String(relay.port), join(folder, key), ...args], { cwd: folder })
const now = (): number => Math.floor(Date.now() / 1_000)

async function identity(name: string): Promise<Identity> {
  const own = identityOf(parsePrivateKey(readFileSync(join(folder, name))))
  if (own.key.canDecrypt) return own
  const age = read(`${name}.age`).trim()
  return { ...own, opens: [age], recipient: await identityToRecipient(age) }
}

/** Fetches, opens and acknowledges the waiting messages. */
async function take(name: string): Promise<Opened[]> {
  const own = await identity(name)
  using client = await connectRelay({ relay: `localhost:${relay.port}`, identity: own })
  const { messages } = await client.get()
  const opened = await Promise.all(messages.map(({ payload }) => openMessage(own, payload, { now: now() })))
  await client.ack(messages.map(({ id }) => id))
  return opened
}

/** Leaves payloads for Bob. */
async function leave(...payloads: readonly Uint8Array[]): Promise<void> {
  using client = await connectRelay({ relay: `localhost:${relay.port}`, identity: await identity('alice') })
  const { key } = await identity('bob')
  for (const payload of payloads) await client.sendSealed(key, payload)
}

async function write(content: Content, more: { time?: number; from?: string } = {}): Promise<Uint8Array> {
  const { key } = await identity('bob')
  return encodeMessage(await identity(more.from ?? 'alice'), { to: { key }, id: makeId(), time: more.time ?? now(), content })
}

describe('a message written by the shell client', () => {
  test.each(['alice', 'carol', 'dora'])('is genuine if signed by %s', async (name) => {
    expect(await shell('send', name, 'bob.pub', 'by hand')).toMatchObject({ code: 0, stderr: 'sent\n' })
    expect(await take('bob')).toMatchObject([{ verdict: 'genuine', envelope: { content: { type: 'text', text: 'by hand' } } }])
  })

  test('is encrypted to the recipient on a card, and a changed card is refused', async () => {
    const card = await makeCard(await identity('carol'), { name: 'Carol', relays: ['localhost'], time: now() })
    writeFileSync(join(folder, 'carol.card'), card.text)
    expect(await shell('send', 'alice', 'carol.card', 'to Carol')).toMatchObject({ code: 0 })
    expect(await take('carol')).toMatchObject([{ verdict: 'genuine', envelope: { content: { text: 'to Carol' } } }])
    writeFileSync(join(folder, 'carol.card'), card.text.replace('Carol', 'Karol'))
    expect(await shell('send', 'alice', 'carol.card', 'to Carol')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the card is not good'),
    })
  })

  test('is refused if it is too long', async () => {
    expect(await shell('send', 'alice', 'bob.pub', 'x'.repeat(PADDED_BYTES[2]))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('too much'),
    })
  })

  test('is unsigned if only sealed', async () => {
    expect(await shell('seal', 'alice', 'bob.pub', 'by age')).toMatchObject({ code: 0 })
    expect(await take('bob')).toEqual([{ verdict: 'unsigned', text: encodeText('by age') }])
  })
})

describe('a message read by the shell client', () => {
  const get = (): Promise<Finished> => shell('get', 'bob', 'people')

  test("shows the sender's name from the list", async () => {
    await leave(
      await write({ type: 'text', text: 'hello\n-----BEGIN SSH SIGNATURE-----' }),
      await write({ type: 'text', text: 'again' }, { from: 'dora' }),
    )
    const got = await get()
    expect(got).toMatchObject({ code: 0, stdout: 'hello\n-----BEGIN SSH SIGNATURE-----\nagain\n' })
    expect(got.stderr).toMatch(/^shell-client: from alice, 20\S+Z\nshell-client: from dora, 20\S+Z\n$/)
  })

  test("shows the sender's key if the list lacks it or there is no list", async () => {
    const fingerprint = fingerprintOf((await identity('carol')).key)
    await leave(await write({ type: 'text', text: 'hello' }, { from: 'carol' }))
    expect(await get()).toMatchObject({ stdout: 'hello\n', stderr: expect.stringContaining(`from somebody with the key ${fingerprint}`) })
    await leave(await write({ type: 'text', text: 'hello' }, { from: 'carol' }))
    expect(await shell('get', 'bob')).toMatchObject({ stdout: 'hello\n', stderr: expect.stringContaining(fingerprint) })
  })

  test('may be for a key that cannot decrypt, by way of its card', async () => {
    expect(await shell('send', 'alice', 'carol.pub', 'hello')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('age did not encrypt'),
    })
    writeFileSync(
      join(folder, 'carol.card'),
      (await makeCard(await identity('carol'), { name: 'Carol', relays: ['localhost'], time: now() })).text,
    )
    expect(await shell('send', 'alice', 'carol.card', 'hello')).toMatchObject({ code: 0 })
    expect(await shell('get', 'carol', 'people')).toMatchObject({
      code: 0,
      stdout: 'hello\n',
      stderr: expect.stringContaining('from alice'),
    })
  })

  test('cannot send control sequences to the terminal', async () => {
    await leave(await write({ type: 'text', text: '\u001b[31mred\u009b2J\u0007' }))
    expect(await get()).toMatchObject({ stdout: '[31mred2J\n' })
  })

  const [alice, bob] = ['alice', 'bob'].map((name) => () => identity(name)) as [() => Promise<Identity>, () => Promise<Identity>]
  const lines = async (changes: Readonly<Record<string, string>> = {}): Promise<string> => {
    const usual = {
      type: 'text',
      from: formatKey((await alice()).key),
      to: fingerprintOf((await bob()).key),
      id: makeId(),
      time: formatTime(now()),
    }
    return `asfaleia-message/1\n${Object.entries({ ...usual, ...changes })
      .map(([name, value]) => `${name}: ${value}\n`)
      .join('')}\nhello\n`
  }
  const sealed = async (text: Uint8Array | string): Promise<Uint8Array> =>
    seal((await bob()).key, typeof text === 'string' ? encodeText(text) : text)
  const signed = async (text: string, namespace = 'asfaleia-message', by = alice): Promise<Uint8Array> => {
    const own = await by()
    return signText({ identity: own, to: own }, namespace, text)
  }

  test.each([
    ['unsigned', 'hello\n', 'unsigned', () => sealed('hello')],
    ['of a later version', '', 'a version that this client does not know', async () => sealed((await lines()).replace('/1', '/2'))],
    ['truncated', '', 'truncated', async () => sealed((await signed(await lines())).subarray(0, -20))],
    ['followed by a byte', '', 'truncated', async () => sealed(`${Buffer.from(await signed(await lines())).toString()}x`)],
    ['followed by a NUL', '', 'truncated', async () => sealed(`${Buffer.from(await signed(await lines())).toString()}\0`)],
    ['without an id', '', 'malformed', async () => sealed(await signed((await lines()).replace(/id: .*\n/, '')))],
    ['with a repeated header', '', 'malformed', async () => sealed(await signed((await lines()).replace(/(type: .*\n)/, '$1$1')))],
    [
      'with another body',
      '',
      'FORGED',
      async () =>
        sealed(
          Buffer.from(await signed(await lines()))
            .toString()
            .replace('hello', 'hallo'),
        ),
    ],
    ['with another sender', '', 'FORGED', async () => sealed(await signed(await lines(), 'asfaleia-message', bob))],
    ["with a login's signature", '', 'FORGED', async () => sealed(await signed(await lines(), 'asfaleia-auth'))],
    ['to another receiver', '', 'READDRESSED', async () => sealed(await signed(await lines({ to: fingerprintOf((await alice()).key) })))],
    ['from the future', 'hello\n', 'from the future', async () => sealed(await signed(await lines({ time: formatTime(now() + 700) })))],
    ['from long ago', 'hello\n', 'too old', async () => sealed(await signed(await lines({ time: formatTime(now() - 15 * 86_400) })))],
    ['of another type', '', 'of the type receipt', () => write({ type: 'receipt', state: 'read', ids: [makeId()] })],
  ] as const)('is reported with its verdict: %s', async (_, stdout, told, payload) => {
    await leave(await payload())
    expect(await get()).toMatchObject({ code: 0, stdout, stderr: expect.stringContaining(told) })
  })

  test('is shown once, however often a relay delivers it', async () => {
    const payload = await write({ type: 'text', text: 'once' })
    await leave(payload, payload)
    expect(await get()).toMatchObject({ stdout: 'once\n', stderr: expect.stringContaining('replayed: a message by alice') })
    await leave(payload)
    expect(await get()).toMatchObject({ stdout: '' })
  })

  test('is shown even if the payload before it does not open', async () => {
    await leave(encodeText('no age file'), await write({ type: 'text', text: 'after it' }))
    expect(await get()).toMatchObject({ code: 0, stdout: 'after it\n' })
    expect(await get()).toMatchObject({ code: 0, stdout: '', stderr: '' })
  })
})
