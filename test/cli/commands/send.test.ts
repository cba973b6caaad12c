import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { formatFingerprint } from '../../../src/auth/ssh-key.ts'
import { asfaleia, createKeyFolder, type Outcome } from '../../support/command.ts'
import { startHostileRelay } from '../../support/hostile-relay.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../../support/relay.ts'

const folder = createKeyFolder()
const alice = folder.make('alice')
const bob = folder.make('bob')
const ECDSA =
  'ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU='

let relay: TestRelay
beforeAll(async () => {
  relay = await startTestRelay()
})
afterAll(async () => {
  await relay.close()
  folder.remove()
})
const others: TestRelay[] = []
afterEach(async () => {
  for (const other of others.splice(0)) await other.close()
})
async function startOther(options: TestRelayOptions): Promise<string> {
  const other = await startTestRelay(options)
  others.push(other)
  return other.address
}

const send = (
  words: readonly string[],
  more: { to?: string; input?: string | Uint8Array; env?: Record<string, string> } = {},
): Promise<Outcome> => asfaleia(['send', '--relay', more.to ?? relay.address, '--key', alice.file, ...words], more)
const received = async (to = relay.address, more: readonly string[] = []): Promise<object[]> => {
  const { out } = await asfaleia(['get', '--json', '--relay', to, '--key', bob.file, ...more])
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as object)
}

describe('send', () => {
  test.each([
    ['a .pub file', `${bob.file}.pub`],
    ['the key', bob.line],
    ['the key without its comment', bob.line.split(' ').slice(0, 2).join(' ')],
  ])('sends to %s', async (_name, receiver) => {
    expect(await send([receiver, 'hello bob'])).toEqual({ code: 0, out: 'stored by a relay for up to 7 days\n', err: '' })
    expect(await received()).toEqual([
      {
        verdict: 'genuine',
        relay: relay.address,
        from: { fingerprint: formatFingerprint(alice.key.public.fingerprint), key: alice.line.split(' ').slice(0, 2).join(' ') },
        to: formatFingerprint(bob.key.public.fingerprint),
        id: expect.stringMatching(/^[\w-]{22}$/) as string,
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as string,
        type: 'text',
        text: 'hello bob',
      },
    ])
  })

  test('asks the receiver to erase a message with --expires', async () => {
    expect(await send(['--expires', '1h', `${bob.file}.pub`, 'the code is 4711'])).toMatchObject({ code: 0 })
    expect(await send(['--expires', 'off', `${bob.file}.pub`, 'tea?'])).toMatchObject({ code: 0 })
    const [code, tea] = await received()
    expect(code).toMatchObject({ text: 'the code is 4711', expires: 3_600 })
    expect(tea).not.toHaveProperty('expires')
  })

  test('sends standard input unchanged, and can log in by signature', async () => {
    const input = 'two\r\nlines\0\u{feff}\u{1b}[31m 🙂\n\n'
    const sent = await send(['--sign', '--json', '--reply-to', 'AAAAAAAAAAAAAAAAAAAAAA', `${bob.file}.pub`], { input })
    expect(sent).toMatchObject({ code: 0, err: '' })
    const { id, ...outcome } = JSON.parse(sent.out) as Record<string, unknown>
    expect(outcome).toEqual({ to: 'receiver', state: 'held', held: 604_800, relay: relay.address })
    expect(await received()).toMatchObject([{ id, text: input, replyTo: 'AAAAAAAAAAAAAAAAAAAAAA' }])
    expect(await send([`${bob.file}.pub`], { input: Uint8Array.of(0xff) })).toMatchObject({
      code: 1,
      err: expect.stringContaining('UTF-8') as string,
    })
  })

  test('sends to the dialled relay if it is moving, and reports the move once', async () => {
    const name = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
    const to = await startOther({ names: [name], movedFrom: ['localhost'] })
    const { code, err } = await send([`${bob.file}.pub`, 'hi'], { to })
    expect({ code, err }).toEqual({ code: 0, err: `asfaleia: this relay is moving: use ${name} from now on, if you still trust it\n` })
    expect(await received(to)).toHaveLength(1)
  })

  test('refuses a message that is too long, and says how long it may be', async () => {
    const { code, out, err } = await send([`${bob.file}.pub`], { input: 'x'.repeat(30_000) })
    expect({ code, out }).toEqual({ code: 1, out: '' })
    const most = Number(/^asfaleia: error: the text has 30000 bytes, but a message holds at most (\d+)\n/.exec(err)?.[1])
    expect(await send([`${bob.file}.pub`], { input: 'x'.repeat(most) })).toMatchObject({ code: 0 })
    expect(await received()).toHaveLength(1)
    expect(await send([`${bob.file}.pub`], { input: 'x'.repeat(2_000_000) })).toMatchObject({ code: 1 })
  })
})

describe('a refusal prints one line and a hint, and exits with its code', () => {
  test.each<[string, TestRelayOptions, number, RegExp]>([
    ['mailbox-full', { limits: { mailboxMessages: 1 } }, 1, /mailbox of the receiver is full/],
    ['relay-full', { memory: 512 }, 1, /no memory left/],
    ['denied', { admit: [] }, 77, /does not admit/],
    ['not-ready', { names: [] }, 69, /does not know its onion name/],
    ['wrong-name', { names: ['other.example'] }, 77, /does not go by the name/],
  ])('%s', async (name, options, code, text) => {
    const to = await startOther(options)
    if (name === 'mailbox-full') await send([bob.line, 'first'], { to })
    const outcome = await send([bob.line, 'secret-text'], { to })
    expect(outcome).toMatchObject({ code, out: '' })
    expect(outcome.err).toMatch(text)
    expect(outcome.err).toMatch(/^asfaleia: error: [^\n]+\nasfaleia: hint: [^\n]+\n$/)
    expect(outcome.err).not.toContain('secret-text')
  })

  test('rate-limited says when to come back', async () => {
    const hostile = await startHostileRelay(async (peer) => {
      await peer.line()
      await peer.say('99;rate-limited;RELAYTEXT;90\n')
    })
    const { code, err } = await send([bob.line, 'x'], { to: hostile.address })
    await hostile.close()
    expect(code).toBe(1)
    expect(err).toBe('asfaleia: error: the relay limits the rate of requests\nasfaleia: hint: try again in 1 minute\n')
  })

  test.each([
    ['127.0.0.1:1', {}, /nothing listens at the address of the relay/],
    ['unix:/no/such/socket', {}, /cannot be reached/],
    ['relay.example', { ASFALEIA_SOCKS: '127.0.0.1:1' }, /nothing listens at the SOCKS port\nasfaleia: hint: start tor, or name/],
  ])('%s without a listener is unreachable', async (to, env, text) => {
    const outcome = await send([bob.line, 'x'], { to, env })
    expect(outcome).toMatchObject({ code: 69, out: '' })
    expect(outcome.err).toMatch(text)
  })
})

describe('the send command line', () => {
  test.each<[string, string[], number, RegExp]>([
    ['no receiver', [], 2, /RECEIVER is missing/],
    ['too many words', [bob.line, 'a', 'b'], 2, /expected RECEIVER \[TEXT\], but there are 3 words/],
    ['no text', [bob.line, ''], 2, /the text is empty/],
    ['an unknown option', ['--frobnicate', bob.line], 2, /unknown option --frobnicate/],
    ['a fingerprint', ['SHA256:8uJbf6SwT8bkx3jqywfivfnrOJDaDWFamTMvm8fGxcM', 'x'], 2, /RECEIVER is a fingerprint/],
    ['a private key as the receiver', [bob.file, 'x'], 2, /private key/],
    ['a key that cannot decrypt', [ECDSA, 'x'], 1, /can only sign/],
    ['a malformed key', ['ssh-ed25519 AAAA', 'x'], 1, /the key is damaged or too weak/],
    ['a missing file', ['nobody.pub', 'x'], 1, /no such file or folder/],
    ['an unknown name', ['nobody', 'x'], 1, /there is no contact, group or key file nobody/],
    ['--wait without a relay for the receipt', ['--wait', bob.line, 'x'], 2, /--wait needs a relay/],
    ['--wait of no time', ['--wait=0', bob.line, 'x'], 2, /--wait: expected a number of seconds/],
    ['--wait of less than no time', ['--wait=-1', bob.line, 'x'], 2, /--wait: expected a number of seconds/],
    ['--wait of more than a million seconds', ['--wait=1000000.5', bob.line, 'x'], 2, /--wait: expected a number of seconds/],
    ['--wait without a number', ['--wait=soon', bob.line, 'x'], 2, /--wait: expected a number of seconds/],
    ['--wait of a million seconds without a relay', ['--wait=1000000', bob.line, 'x'], 2, /--wait needs a relay/],
    ['--expires below its bounds', ['--expires', '4s', bob.line, 'x'], 2, /5s to 90d/],
    ['--expires above its bounds', ['--expires', '91d', bob.line, 'x'], 2, /5s to 90d/],
    ['--expires without a unit', ['--expires', '60', bob.line, 'x'], 2, /5s to 90d/],
    ['--reply-to without a valid id', ['--reply-to', 'x', bob.line, 'x'], 2, /22 characters/],
    ['an invalid timeout', ['--timeout', '-1', bob.line, 'x'], 2, /./],
    ['an invalid SOCKS port', ['--socks', 'x:y', bob.line, 'x'], 2, /--socks/],
  ])('refuses %s', async (_name, words, code, text) => {
    const outcome = await send(words)
    expect(outcome).toMatchObject({ code, out: '' })
    expect(outcome.err).toMatch(text)
  })

  test('requires a relay and a key', async () => {
    expect(await asfaleia(['send', '--key', alice.file, bob.line, 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--relay is missing') as string,
    })
    expect(await asfaleia(['send', '--relay', 'x', bob.line, 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('name your key with --key') as string,
    })
    for (const to of ['', 'a b', 'tooshort.onion', 'host:0']) {
      expect(await asfaleia(['send', '--relay', to, '--key', alice.file, bob.line, 'x'])).toMatchObject({ code: 2, out: '' })
    }
  })

  test('refuses an unusable key file, and one that others may read, as ssh does', async () => {
    const file = join(folder.path, 'junk')
    writeFileSync(file, 'junk', { mode: 0o600 })
    expect(await asfaleia(['send', '--relay', relay.address, '--key', file, bob.line, 'x'])).toMatchObject({ code: 1, out: '' })
    expect(await asfaleia(['send', '--relay', relay.address, '--key', `${alice.file}.pub`, bob.line, 'x'])).toMatchObject({ code: 1 })
    chmodSync(alice.file, 0o604)
    const open = await send([bob.line, 'x'])
    chmodSync(alice.file, 0o600)
    expect(open).toMatchObject({ code: 1, out: '' })
    expect(open.err).toMatch(/^asfaleia: error: other users may read the private key \S+, of mode 0604\nasfaleia: hint: .*chmod 600 /)
  })

  test('--help warns that `ps` shows a text on the command line', async () => {
    const { code, out } = await asfaleia(['send', '--help'])
    expect(code).toBe(0)
    expect(out).toMatch(/`ps`/)
  })
})
