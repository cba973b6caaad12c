import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { connectRelay } from '../../../src/client/wire/connect.ts'
import { open } from '../../../src/client/format/envelope.ts'
import { generateEncryptionKey, signingIdentity } from '../../../src/client/format/identity.ts'
import { loadIdentity } from '../../../src/cli/profile/identity.ts'
import { CliError } from '../../../src/cli/program/error.ts'
import { generatePrivateKey } from '../../../src/auth/private-key.ts'
import { formatFingerprint, parsePublicKey } from '../../../src/auth/ssh-key.ts'
import { Encrypter } from 'age-encryption'
import { buildBlob, certify, makeFidoKey, makeKey, needs, run, toBlob } from '../../auth/openssh.ts'
import { startAgent, startFakeAgent } from '../../support/agent.ts'
import { asfaleia, createKeyFolder } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { createTestIo } from '../../support/terminal.ts'

const keys = createKeyFolder()
const alice = keys.make('alice')
let relay: TestRelay
beforeAll(async () => {
  relay = await startTestRelay()
})
afterAll(async () => {
  await relay.close()
  keys.remove()
})

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-identity-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

const ONE_LINE = /^asfaleia: error: [^\n]*the SSH agent refused[^\n]*\nasfaleia: hint: [^\n]+\n$/

const fingerprint = (line: string): string => formatFingerprint(parsePublicKey(line).fingerprint)

/** Returns the error and the hint with which a key is refused. */
async function refusal(
  spec: string,
  env: Record<string, string>,
): Promise<{ message: string; hint: string | undefined; exitCode: number }> {
  try {
    await loadIdentity(spec, createTestIo(env))
  } catch (error) {
    expect(error).toBeInstanceOf(CliError)
    const { message, hint, exitCode } = error as CliError
    expect(message).not.toContain('\n')
    return { message, hint, exitCode }
  }
  throw new Error('it was not refused')
}

async function login(spec: string, env: Record<string, string>): Promise<void> {
  const identity = await loadIdentity(spec, createTestIo(env))
  using client = await connectRelay({ relay: relay.address, identity })
  await client.login()
}

describe('a key in a file', () => {
  test('gives an identity that logs in by decryption', async () => {
    const identity = await loadIdentity(alice.file, createTestIo())
    expect(identity).toMatchObject({ proof: 'decrypt' })
    expect(identity.opens).toHaveLength(1)
    await login(alice.file, {})
  })

  test.each([
    ['a text', 'hello\n', /does not hold a key/],
    ['a key cut off', generatePrivateKey('x').file.slice(0, 150), /damaged or cut off/],
    ['two keys', generatePrivateKey('x').file + generatePrivateKey('y').file, /contains 2 private keys; expected one/],
  ])('is refused in one line if it is %s', async (_name, text, message) => {
    const path = join(makeFolder(), 'key')
    writeFileSync(path, text, { mode: 0o600 })
    expect((await refusal(path, {})).message).toMatch(message)
  })

  describe('made by ssh-keygen', () => {
    beforeEach(needs('ssh-keygen'))

    test('is read without loading sshpk if it is plain ed25519, as `me` makes it', async () => {
      const folder = makeFolder()
      expect(await asfaleia(['me', '--name', 'Alice', '--relay', 'localhost'], { env: { ASFALEIA_HOME: folder } })).toMatchObject({
        code: 0,
      })
      const { path: rsa } = makeKey(folder, 'rsa', ['-t', 'rsa', '-b', '2048'])
      const script = `
        import { createRequire } from 'node:module'
        import { loadIdentity } from ${JSON.stringify(join(import.meta.dirname, '../../../src/cli/profile/identity.ts'))}
        const { cache } = createRequire(import.meta.url)
        for (const spec of process.argv.slice(1)) {
          await loadIdentity(spec, { env: {}, stderr: process.stderr, signal: new AbortController().signal })
          console.log(Object.keys(cache).some((path) => path.includes('/sshpk/')))
        }`
      expect(run(process.execPath, ['--input-type=module', '-e', script, join(folder, 'key'), rsa]).toString()).toBe('false\ntrue\n')
    })

    test('with a billion rounds is refused at once with a hint', async () => {
      const files = makeKey(makeFolder(), 'key', ['-t', 'ed25519', '-a', '1'], 'open')
      const bytes = Buffer.from(files.file.toString().replaceAll(/-----.*-----|\n/g, ''), 'base64')
      const options = bytes.indexOf(Buffer.from('bcrypt')) + 'bcrypt'.length
      expect(bytes.readUInt32BE(options + 24)).toBe(1)
      bytes.writeUInt32BE(1_000_000_000, options + 24)
      const path = join(makeFolder(), 'key')
      writeFileSync(path, `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`, {
        mode: 0o600,
      })
      const words = join(makeFolder(), 'words')
      writeFileSync(words, 'open\n')
      expect(await refusal(path, { ASFALEIA_PASSPHRASE_FILE: words })).toMatchObject({
        message: expect.stringMatching(/more rounds than/) as string,
        hint: expect.stringContaining('ssh-keygen -p -a 100') as string,
      })
    })

    test('with many rounds is announced and then read', async () => {
      const files = makeKey(makeFolder(), 'key', ['-t', 'ed25519', '-a', '40'], 'open')
      const words = join(makeFolder(), 'words')
      writeFileSync(words, 'open\r\n')
      const io = createTestIo({ ASFALEIA_PASSPHRASE_FILE: words })
      expect(formatFingerprint((await loadIdentity(files.path, io)).key.fingerprint)).toBe(fingerprint(files.line))
      expect(io.err()).toBe('asfaleia: decrypting the key takes 80 rounds of a few milliseconds each\n')
      const stopped = createTestIo({ ASFALEIA_PASSPHRASE_FILE: words })
      stopped.interrupt()
      await expect(loadIdentity(files.path, stopped)).rejects.toThrow('interrupted')
    })

    test('of type ECDSA only signs, and receives through an encryption key', async () => {
      const files = makeKey(makeFolder(), 'key', ['-t', 'ecdsa'])
      const plain = await loadIdentity(files.path, createTestIo())
      expect(plain).toMatchObject({ proof: 'sign', opens: [] })
      await login(files.path, {})
      const secret = await generateEncryptionKey()
      const identity = await signingIdentity(plain, secret)
      const encrypter = new Encrypter()
      encrypter.addRecipient(identity.recipient!)
      expect(await open(identity, await encrypter.encrypt('hello'))).toEqual(new TextEncoder().encode('hello'))
      using client = await connectRelay({ relay: relay.address, identity })
      await client.login()
      for (const bad of ['', 'AGE-SECRET-KEY-1', secret.slice(0, -1), secret.toLowerCase(), 'AGE-SECRET-KEY-PQ-1QQ']) {
        await expect(signingIdentity(plain, bad)).rejects.toThrow(
          /^the encryption key is not an age X25519 identity \(AGE-SECRET-KEY-1…\)$/,
        )
      }
    })
  })
})

describe('a key in ssh-agent', () => {
  beforeEach(needs('ssh-keygen', 'ssh-agent', 'ssh-add', 'ssh'))

  test.each([
    ['ed25519', '256'],
    ['rsa', '2048'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
  ])('of type %s, %s bits, logs in under each of its names', async (type, bits) => {
    const folder = makeFolder()
    const key = makeKey(folder, 'key', ['-t', type, '-b', bits])
    certify(makeKey(folder, 'authority', ['-t', 'ed25519']), key)
    const agent = await startAgent()
    agent.add(['-q', key.path])
    const env = { SSH_AUTH_SOCK: agent.path }
    rmSync(key.path)
    for (const spec of ['agent', `agent:${fingerprint(key.line)}`, `${key.path}.pub`, `${key.path}-cert.pub`]) {
      expect(await loadIdentity(spec, createTestIo(env))).toMatchObject({ proof: 'sign', opens: [] })
      await login(spec, env)
    }
  })

  test('must be named if the agent holds several, and a hint helps if it holds none, is locked or was stopped', async () => {
    const folder = makeFolder()
    const agent = await startAgent()
    const env = { SSH_AUTH_SOCK: agent.path }
    expect(await refusal('agent', env)).toMatchObject({
      message: 'the SSH agent holds no key, or is locked',
      hint: 'add one with `ssh-add FILE`, or unlock the agent with `ssh-add -X`',
    })
    const [one, two] = ['one', 'two'].map((name) => makeKey(folder, name, ['-t', 'ed25519']))
    for (const key of [one!, two!]) agent.add(['-q', key.path])
    const { message, hint } = await refusal('agent', env)
    expect(message).toBe('the SSH agent holds 2 keys')
    for (const key of [one!, two!]) expect(hint).toContain(`agent:${fingerprint(key.line)} (a test)`)
    await login(`agent:${fingerprint(two!.line)}`, env)
    expect(await refusal(`agent:${fingerprint(alice.line)}`, env)).toMatchObject({
      message: 'the SSH agent does not hold that key, or is locked',
    })
    expect((await refusal(`${alice.file}.pub`, env)).hint).toContain("or name the private key's file, without .pub")

    const identity = await loadIdentity(`agent:${fingerprint(one!.line)}`, createTestIo(env))
    using client = await connectRelay({ relay: relay.address, identity })
    agent.add(['-x'], 'word')
    await expect(client.login()).rejects.toMatchObject({
      message: 'the SSH agent does not hold that key, or is locked',
      hint: expect.stringContaining('ssh-add -X') as string,
    })
    expect((await refusal('agent', env)).message).toMatch(/or is locked$/)
    await agent.stop()
    expect(await refusal('agent', env)).toMatchObject({ message: 'no SSH agent listens at that socket', exitCode: 1 })
    await expect(identity.sign('x', Buffer.from('y'))).rejects.toThrow('no SSH agent listens at that socket')
  })

  test('can have a profile, with a certified encryption key for messages', async () => {
    const folder = makeFolder()
    const agent = await startAgent()
    for (const type of ['ed25519', 'ecdsa']) {
      agent.add(['-q', '-D'])
      const key = makeKey(folder, type, ['-t', type])
      agent.add(['-q', key.path])
      const bob = { ASFALEIA_HOME: join(folder, `home-${type}`), SSH_AUTH_SOCK: agent.path, ASFALEIA_SOCKS: 'off' }
      const card = await asfaleia(['me', '--name', 'Bob', '--relay', `localhost:${relay.port}`, '--key', 'agent', '--text'], { env: bob })
      expect({ code: card.code, err: card.err }).toMatchObject({ code: 0 })
      const [, encrypt] = /\nencrypt: (age1\S+)\n/.exec(card.out)!
      expect(JSON.parse((await asfaleia(['me', '--json'], { env: bob })).out)).toMatchObject({ text: card.out, encrypt })
      writeFileSync(join(folder, 'card'), card.out)
      const sender = { ASFALEIA_HOME: join(folder, `sender-${type}`), ASFALEIA_SOCKS: 'off' }
      expect(await asfaleia(['me', '--name', 'Alice', '--relay', `localhost:${relay.port}`], { env: sender })).toMatchObject({ code: 0 })
      expect(await asfaleia(['contact', 'add', join(folder, 'card')], { env: sender })).toMatchObject({ code: 0 })
      expect(await asfaleia(['send', 'Bob', `hello ${type}`], { env: sender })).toMatchObject({ code: 0, err: '' })
      const { code, out, err } = await asfaleia(['get', '--json'], { env: bob })
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(JSON.parse(out)).toMatchObject({ verdict: 'genuine', text: `hello ${type}` })
    }
  })

  test('that is refused in the middle ends a command in one line without loss', async () => {
    const folder = makeFolder()
    const key = makeKey(folder, 'key', ['-t', 'ed25519'])
    const [willing, unwilling] = [await startAgent(), await startAgent({ consents: false })]
    willing.add(['-q', key.path])
    unwilling.add(['-q', '-c', key.path])
    const home = { ASFALEIA_HOME: join(folder, 'home'), ASFALEIA_SOCKS: 'off' }
    const [yes, no] = [willing, unwilling].map(({ path }) => ({ ...home, SSH_AUTH_SOCK: path }))
    const card = await asfaleia(['me', '--name', 'Me', '--relay', `localhost:${relay.port}`, '--key', 'agent', '--link'], { env: yes! })
    expect(await asfaleia(['me', '--name', 'Other', '--key', 'agent'], { env: no! })).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(ONE_LINE) as string,
    })
    writeFileSync(join(folder, 'card'), card.out)
    for (const argv of [['get'], ['send', '--key', 'agent', '--relay', relay.address, `${alice.file}.pub`, 'hello']]) {
      const { code, out, err } = await asfaleia(argv, { env: no! })
      expect({ code, out }).toEqual({ code: 1, out: '' })
      expect(err).toMatch(ONE_LINE)
    }
    // The library reports it at once, and ends its connection.
    const identity = await loadIdentity('agent', createTestIo(no))
    using client = await connectRelay({ relay: relay.address, identity })
    await expect(client.login()).rejects.toThrow('the SSH agent refused')
    await expect(client.ping()).rejects.toThrow('the SSH agent refused')
    expect(await asfaleia(['get'], { env: yes! })).toMatchObject({ code: 0 })
  })
})

describe('a security key', () => {
  test.each(['ed25519', 'nistp256'] as const)('of %s in an agent logs in and asks for a touch', async (curve) => {
    const fido = makeFidoKey(curve)
    const path = await startFakeAgent((request) => answer(request, fido.blob, (data) => fido.signData(data)))
    const io = createTestIo({ SSH_AUTH_SOCK: path })
    const identity = await loadIdentity('agent', io)
    using client = await connectRelay({ relay: relay.address, identity })
    await client.login()
    expect(io.err()).toBe('asfaleia: touch your security key\n')
  })

  test('named by its file is used through the agent, or a hint says how to add it', async () => {
    const fido = makeFidoKey('ed25519')
    const path = join(makeFolder(), 'key')
    const bytes = Buffer.concat([Buffer.from('openssh-key-v1\0'), buildBlob('none', 'none', '', 1, fido.blob, Buffer.alloc(64))])
    writeFileSync(path, `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`, {
      mode: 0o600,
    })
    const told = {
      message: `${path}: the private key belongs to a security key (FIDO), which signs only through an SSH agent`,
      hint: `add it to your agent with \`ssh-add ${path}\`, then use --key agent:${fingerprint(fido.line)}`,
    }
    expect(await refusal(path, {})).toMatchObject(told)
    const other = await startFakeAgent((request) => answer(request, toBlob(alice.line), () => Buffer.alloc(0)))
    expect(await refusal(path, { SSH_AUTH_SOCK: other })).toMatchObject(told)
    const agent = await startFakeAgent((request) => answer(request, fido.blob, (data) => fido.signData(data)))
    await login(path, { SSH_AUTH_SOCK: agent })
  })
})

/** Answers as an agent with one key. */
function answer(request: Buffer, blob: Uint8Array, sign: (data: Buffer) => Uint8Array, comment = 'me'): Buffer {
  const start = 9 + (request[0] === 11 ? 0 : request.readUInt32BE(1))
  const body =
    request[0] === 11
      ? Buffer.concat([Buffer.of(12), buildBlob(1, blob, comment)])
      : Buffer.concat([Buffer.of(14), buildBlob(sign(request.subarray(start, start + request.readUInt32BE(start - 4))))])
  return buildBlob(body)
}

describe('without a usable agent', () => {
  test.each([{}, { SSH_AUTH_SOCK: '' }])('the environment %j is reported with a hint', async (env) => {
    for (const spec of ['agent', `agent:${fingerprint(alice.line)}`, `${alice.file}.pub`]) {
      expect(await refusal(spec, env)).toMatchObject({
        message: 'there is no SSH agent: SSH_AUTH_SOCK is not set',
        hint: expect.stringContaining('ssh-agent') as string,
      })
    }
  })

  test.each(['agent:', 'agent:SHA256:short', 'agent:MD5:00', 'agent:\nSHA256'])('the malformed name %j is refused', async (spec) => {
    expect(await refusal(spec, {})).toMatchObject({ exitCode: 2 })
  })

  test('an agent that violates the protocol, or holds only unusable keys, is reported', async () => {
    const junk = await startFakeAgent(() => Buffer.from('HTTP/1.1 400 Bad Request\r\n'))
    expect(await refusal('agent', { SSH_AUTH_SOCK: junk })).toMatchObject({
      message: 'the program at the SSH agent’s socket does not speak the agent protocol',
    })
    const weak = await startFakeAgent((request) => answer(request, buildBlob('ssh-dss', 1n, 1n, 1n, 1n), () => Buffer.alloc(0)))
    expect((await refusal('agent', { SSH_AUTH_SOCK: weak })).message).toBe('the SSH agent holds no key that Asfaleia can use')
  })
})

describe('asfaleia key list', () => {
  test('shows the use of each key, whatever its comment holds', async () => {
    const hostile = '\u001B[2Jme\nSHA256:fake \u202E'
    const fido = makeFidoKey('nistp256')
    const rsa = (bits: bigint, exponent: bigint): Buffer => buildBlob('ssh-rsa', exponent, (1n << (bits - 1n)) + 1n)
    const blobs = [toBlob(alice.line), fido.blob, buildBlob('ssh-dss', 1n, 1n, 1n, 1n), rsa(1_024n, 65_537n), rsa(2_048n, 3n)]
    const path = await startFakeAgent(() =>
      buildBlob(Buffer.concat([Buffer.of(12), buildBlob(blobs.length, ...blobs.flatMap((blob) => [blob, hostile]))])),
    )
    const env = { SSH_AUTH_SOCK: path }
    const { code, out, err } = await asfaleia(['key', 'list'], { env })
    expect(code).toBe(0)
    const comment = '\\u{1b}[2Jme\\nSHA256:fake \\u{202e}'
    expect(out.split('\n')).toEqual([
      `${fingerprint(alice.line)}  ssh-ed25519  signs  ${comment}`,
      `${fingerprint(fido.line)}  sk-ecdsa-sha2-nistp256@openssh.com  signs when touched  ${comment}`,
      `${'-'.padEnd(50)}  ssh-dss  cannot be used: unsupported type, or too weak  ${comment}`,
      `${'-'.padEnd(50)}  ssh-rsa  cannot be used: its size is not between 2,048 and 8,192 bits  ${comment}`,
      `${'-'.padEnd(50)}  ssh-rsa  cannot be used: its public exponent is not an odd number from 65,537 to 33 bits  ${comment}`,
      '',
    ])
    // How to select a key, and what it can and cannot do; for a program, only the list.
    expect(err).toMatch(/^asfaleia: --key agent:SHA256:[^\n]+ only sign: [^\n]+\nasfaleia: [^\n]+ `asfaleia me` [^\n]+\n$/)
    const listed = await asfaleia(['key', 'list', '--json'], { env })
    expect(listed.err).toBe('')
    const lines = listed.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object)
    expect(lines).toMatchObject([
      { fingerprint: fingerprint(alice.line), type: 'ssh-ed25519', certificate: false, use: 'signs', comment: hostile },
      { fingerprint: fingerprint(fido.line), use: 'touch' },
      { fingerprint: null, type: 'ssh-dss', use: 'none' },
      { fingerprint: null, type: 'ssh-rsa', use: 'none' },
      { fingerprint: null, type: 'ssh-rsa', use: 'none' },
    ])
  })

  test('reports an empty agent and a missing one', async () => {
    const path = await startFakeAgent(() => buildBlob(Buffer.concat([Buffer.of(12), buildBlob(0)])))
    expect(await asfaleia(['key', 'list'], { env: { SSH_AUTH_SOCK: path } })).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringContaining('or is locked') as string,
    })
    expect(await asfaleia(['key', 'list'])).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('SSH_AUTH_SOCK is not set') as string,
    })
  })
})

describe('asfaleia key new', () => {
  test('makes a key in the profile, and says why it should have no other use', async () => {
    const home = join(makeFolder(), 'home')
    const { code, out, err } = await asfaleia(['key', 'new'], { env: { ASFALEIA_HOME: home } })
    expect(code).toBe(0)
    expect(out).toMatch(/^ssh-ed25519 \S+\nSHA256:\S{43}\n$/)
    expect(err).toBe(
      `asfaleia: made ${home}/key and ${home}/key.pub; the key has no passphrase (--passphrase asks for one)\n` +
        'asfaleia: use this key for nothing else: a key that is public on a code host tells every relay who you are\n',
    )
    const me = await asfaleia(['me', '--name', 'Me', '--relay', 'localhost', '--text'], { env: { ASFALEIA_HOME: home } })
    expect(me.out).toContain(`key: ${out.split('\n')[0]!}`)
    expect(await asfaleia(['key', 'new'], { env: { ASFALEIA_HOME: home } })).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('it already exists') as string,
    })
    const other = join(home, 'other')
    expect(JSON.parse((await asfaleia(['key', 'new', '--json', '--out', other])).out)).toMatchObject({ file: other })
  })

  test('with a passphrase makes a key that ssh-keygen and age open', async (context) => {
    needs('ssh-keygen', 'age', 'script')(context)
    const folder = makeFolder()
    const [file, words] = [join(folder, 'key'), join(folder, 'words')]
    writeFileSync(words, 'a secret\n')
    const env = { ASFALEIA_PASSPHRASE_FILE: words }
    const { code, out, err } = await asfaleia(['key', 'new', '--passphrase', '--out', file], { env })
    expect(code).toBe(0)
    expect(err).not.toContain('--passphrase')
    expect(run('ssh-keygen', ['-y', '-P', 'a secret', '-f', file]).toString().split(' ').slice(0, 2).join(' ')).toBe(out.split('\n')[0])
    expect(() => run('ssh-keygen', ['-y', '-P', '', '-f', file])).toThrow(/incorrect passphrase/)
    // age asks only at a terminal.
    const sealed = join(folder, 'sealed')
    writeFileSync(sealed, run('age', ['-R', `${file}.pub`], 'for the key'))
    const shown = run('script', ['-qec', `age -d -i ${file} ${sealed}`, '/dev/null'], 'a secret\n').toString()
    expect(shown).toContain('for the key')
    writeFileSync(words, '\n')
    expect(await asfaleia(['key', 'new', '--passphrase', '--out', join(folder, 'more')], { env })).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('the passphrase is empty') as string,
    })
  })

  test.each([[['new', 'x']], [['list', '--out', 'x']], [['--passphrase']], [['FILE', '--passphrase']]])(
    'refuses the arguments %j',
    async (words) => {
      expect(await asfaleia(['key', ...words])).toMatchObject({ code: 2, out: '' })
    },
  )

  test('reports if it cannot write', async () => {
    const folder = makeFolder()
    writeFileSync(join(folder, 'file'), '')
    expect(await asfaleia(['key', 'new'], { env: { ASFALEIA_HOME: join(folder, 'file', 'home') } })).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/^asfaleia: error: [^\n]+\n/) as string,
    })
  })
})
