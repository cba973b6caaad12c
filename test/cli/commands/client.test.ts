import { createPrivateKey, createPublicKey } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { base32nopad } from '@scure/base'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { CLIENT, list, scratch, writeService } from '../../support/service.ts'

let folder: string
let address: string
let clients: string
beforeEach(() => {
  ;({ folder, address } = writeService(scratch()))
  clients = join(folder, 'authorized_clients')
})

const client = (...argv: string[]): Promise<Outcome> => asfaleia(['client', ...argv], { env: { ASFALEIA_SERVICE: folder } })
const UNTOLD = 'asfaleia: tor does not know yet: reload it (SIGHUP), or give --tor-control\n'

/** Computes the public key of a private one, both in base32. */
function publicOf(secret: string): string {
  let bits = ''
  for (const letter of secret) bits += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')
  const bytes = Buffer.from(bits.match(/.{8}/g)!.map((byte) => Number.parseInt(byte, 2)))
  const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), bytes])
  const { x } = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({ format: 'jwk' })
  return base32nopad.encode(Buffer.from(x!, 'base64url'))
}

describe('client add', () => {
  test("prints the client's line, and keeps only the matching public key", async () => {
    const { code, out, err } = await client('add', 'alice')
    expect([code, err]).toEqual([0, UNTOLD])
    const [, name, secret] = /^([a-z2-7]{56}):descriptor:x25519:([A-Z2-7]{52})\n$/.exec(out)!
    expect(`${name}.onion`).toBe(address)
    const path = join(clients, 'alice.auth')
    expect(readFileSync(path, 'utf8')).toBe(`descriptor:x25519:${publicOf(secret!)}\n`)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect((await client('list')).out).toBe('alice\n')
  })

  test('writes the line to a file that only the user can read, and overwrites none', async () => {
    const file = join(folder, '..', 'alice.auth_private')
    expect(await client('add', 'alice', '--out', file)).toEqual({ code: 0, out: '', err: UNTOLD })
    expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^${address.slice(0, 56)}:descriptor:x25519:[A-Z2-7]{52}\n$`))
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(await client('add', 'bob', '--out', file)).toMatchObject({ code: 1, err: expect.stringContaining('it already exists') })
    // Without his key, Bob must not count as a client, least of all as the only one.
    expect((await client('list')).out).toBe('alice\n')
    expect(await client('list', '--out', file)).toMatchObject({ code: 2 })
  })

  test('makes the folder if tor did not, and never overwrites a client', async () => {
    rmSync(clients, { recursive: true })
    expect(await client('add', 'alice', '--json')).toMatchObject({ code: 0, out: expect.stringMatching(/^\{"name":"alice","line":"/) })
    expect(statSync(clients).mode & 0o777).toBe(0o700)
    const before = list(folder)
    expect(await client('add', 'alice')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('the name alice already') })
    expect(list(folder)).toEqual(before)
  })

  test.each(['', '../x', 'a/b', '-x', 'a b', 'x'.repeat(41), 'nobody', 'é', '.auth', 'a\nb'])('refuses the name %j', async (name) => {
    const before = list(folder)
    expect(await client('add', '--', name)).toMatchObject({ code: 2, out: '' })
    expect(list(folder)).toEqual(before)
  })
})

describe('client remove', () => {
  test('removes one of several clients', async () => {
    await client('add', 'alice')
    await client('add', 'bob')
    expect(await client('remove', 'alice')).toEqual({ code: 0, out: 'removed; 1 member can find the service\n', err: UNTOLD })
    expect((await client('list')).out).toBe('bob\n')
  })

  test('keeps the service closed after the last client is removed', async () => {
    await client('add', 'alice')
    expect((await client('remove', 'alice')).out).toBe('removed; no one can find the service; `asfaleia invite` adds a member\n')
    // For tor the service still has a client.
    expect(readFileSync(join(clients, 'nobody.auth'), 'utf8')).toMatch(/^descriptor:x25519:[A-Z2-7]{52}\n$/)
    expect((await client('list', '--json')).out).toBe('{"clients":[],"open":false}\n')
    await client('add', 'bob')
    expect(existsSync(join(clients, 'nobody.auth'))).toBe(false)
    expect((await client('list')).out).toBe('bob\n')
  })

  test('opens the service to everyone with --open', async () => {
    await client('add', 'alice')
    expect((await client('remove', 'alice', '--open')).out).toBe('removed; everyone who knows its address can find the service\n')
    expect((await client('list', '--json')).out).toBe('{"clients":[],"open":true}\n')
  })

  test('reports an unknown client', async () => {
    await client('add', 'alice')
    expect(await client('remove', 'bob')).toMatchObject({ code: 1, err: expect.stringContaining('there is no client with this name') })
    expect((await client('list')).out).toBe('alice\n')
  })
})

test('the client command reports unusable service folders', async () => {
  const around = scratch()
  expect((await asfaleia(['client', 'list', '--service', join(around, 'no')])).err).toContain('no such file or folder')
  mkdirSync(join(around, 'empty'), { mode: 0o700 })
  expect((await asfaleia(['client', 'add', 'alice', '--service', join(around, 'empty')])).err).toContain('hostname: no such file or folder')
  writeFileSync(join(around, 'empty', 'hostname'), 'x\n')
  expect((await asfaleia(['client', 'add', 'alice', '--service', join(around, 'empty')])).err).toContain('contains no onion address')
  expect(existsSync(join(around, 'empty', 'authorized_clients'))).toBe(false)
})

test.each([[[]], [['sing']], [['add']], [['add', 'a', 'b']], [['list', 'a']], [['add', 'a', '--open']]])(
  '%j is a usage error',
  async (argv) => {
    expect(await client(...argv)).toMatchObject({ code: 2, out: '' })
  },
)

test('the client command in the appliance reports that tor follows by itself', async () => {
  const { folder } = writeService(scratch())
  const { code, err } = await asfaleia(['client', 'add', 'alice'], { env: { ASFALEIA_SERVICE: folder, ASFALEIA_APPLIANCE: 'on' } })
  expect([code, err]).toEqual([0, 'asfaleia: tor takes the change over within a few seconds\n'])
})

test('the client command makes tor reload by its control port, and reports if it does not answer', async () => {
  const heard: string[] = []
  const tor = createServer((socket) => {
    socket.setEncoding('latin1').on('data', (text: string) => {
      heard.push(text.trim())
      socket.write(text.startsWith('PROTOCOLINFO') ? '250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n' : '250 OK\r\n')
    })
  }).listen(0, '127.0.0.1')
  await once(tor, 'listening')
  const { port } = tor.address() as { port: number }
  onTestFinished(() => void tor.close())
  writeFileSync(join(clients, 'carol.auth'), CLIENT)
  expect(await client('remove', 'carol', '--tor-control', `127.0.0.1:${port}`)).toMatchObject({ code: 0, err: '' })
  expect(heard).toEqual(['PROTOCOLINFO 1', 'AUTHENTICATE', 'SIGNAL RELOAD'])
  const untold = await client('add', 'alice', '--tor-control', 'unix:/nowhere/control')
  expect(untold).toMatchObject({
    code: 1,
    out: expect.stringMatching(/:descriptor:x25519:/),
    err: expect.stringContaining("tor's control port does not answer"),
  })
})
