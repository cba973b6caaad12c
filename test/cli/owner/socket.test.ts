/** The socket of a profile's owner: hostile clients, other versions, old files and long paths. */
import { once } from 'node:events'
import { linkSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { GUEST } from '../../../src/cli/owner/guest.ts'
import { HOST } from '../../../src/cli/owner/host.ts'
import { LINES } from '../../../src/cli/owner/lines.ts'
import { runCommand } from '../../../src/cli/command.ts'
import { asfaleia as inProcess, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'

let root: string
let relay: TestRelay
const over: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asf-socket-'))
  relay = await startTestRelay()
  for (const name of ['alice', 'bob']) {
    const { out } = await as(name, 'me', '--name', name, '--relay', `localhost:${relay.port}`)
    writeFileSync(join(root, `${name}.card`), out)
  }
  await as('alice', 'contact', 'add', join(root, 'bob.card'))
  await as('bob', 'contact', 'add', join(root, 'alice.card'))
})

afterEach(async () => {
  for (const each of over.splice(0)) await each()
  await relay.close()
  rmSync(root, { recursive: true, force: true })
})

const env = (name: string): Record<string, string> => ({ ASFALEIA_HOME: join(root, name) })
const as = (name: string, ...argv: readonly string[]): Promise<Outcome> => inProcess(argv, { env: env(name) })

/** Starts `get --follow` in this process. */
function follow(name: string): TestIo & { readonly code: Promise<number> } {
  const io = createTestIo(env(name))
  const code = runCommand(['get', '--follow'], io)
  over.push(async () => {
    io.interrupt()
    await code
  })
  return { ...io, code }
}

/** Starts an owner that receives, and returns the path of its socket. */
async function own(name: string): Promise<string> {
  const owner = follow(name)
  await as('bob', 'send', 'alice', 'the owner is there')
  await owner.untilOut('the owner is there')
  return socketOf(join(root, name, 'state'))
}

function socketOf(folder: string): string {
  const [found] = readdirSync(folder).filter((each) => /^owner-[0-9a-f]+$/.test(each))
  return join(folder, found!)
}

async function dial(path: string): Promise<Socket> {
  const socket = connect(path)
  socket.on('error', () => {})
  over.push(async () => socket.destroy())
  await once(socket, 'connect')
  return socket
}

const HELLO = { kind: 'hello', protocol: 4, version: '0.1.0', what: 'send' }

describe('an owner', () => {
  test.each([
    ['junk', Buffer.from('\u{0}\u{1}junk\n')],
    ['no record', Buffer.from('[1]\n')],
    ['another first line', Buffer.from('{"kind":"next"}\n')],
    ['a line after hello without wishes', Buffer.from(`${JSON.stringify(HELLO)}\n{"kind":"next"}\n`)],
    ['malformed wishes', Buffer.from(`${JSON.stringify({ ...HELLO, wishes: { relays: 1 } })}\n`)],
    [
      'a contact without a key',
      Buffer.from(
        `${JSON.stringify({ ...HELLO, wishes: { relays: [], takes: 'none' } })}\n${JSON.stringify({ kind: 'send', id: 'A'.repeat(22), to: {}, content: {} })}\n`,
      ),
    ],
    ['an endless first line', Buffer.alloc(LINES.hello + 1, 'x')],
  ])('ends the connection of a client that sends %s, and serves the others', async (_name, bytes) => {
    const socket = await dial(await own('alice'))
    socket.resume()
    const closed = once(socket, 'close')
    socket.write(bytes)
    await closed
    expect(await as('alice', 'send', 'bob', 'still here')).toMatchObject({ code: 0 })
  })

  test('ends the connections of silent clients, and refuses more than it has room for', async () => {
    const path = await own('alice')
    const silent = await Promise.all(Array.from({ length: HOST.clients }, () => dial(path)))
    const closed = silent.map((socket) => once(socket.resume(), 'close'))
    const full = await as('alice', 'send', 'bob', 'no room')
    expect(full).toMatchObject({ code: 1, err: expect.stringContaining('too many commands of this profile') as string })
    const since = performance.now()
    await Promise.all(closed)
    expect(performance.now() - since).toBeLessThan(GUEST.hello + 3_000)
    expect(await as('alice', 'send', 'bob', 'room')).toMatchObject({ code: 0 })
  })

  test('tells a client of another version who it is, and ends the connection', async () => {
    const socket = await dial(await own('alice'))
    const closed = once(socket, 'close')
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.write(`${JSON.stringify({ ...HELLO, protocol: 9 })}\n`)
    await closed
    expect(JSON.parse(text)).toMatchObject({ kind: 'hello', protocol: 4, what: 'get --follow' })
  })
})

describe('a command', () => {
  const fake = async (answer: string): Promise<void> => {
    const path = await own('alice')
    for (const each of over.splice(0)) await each()
    const server: Server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.write(answer))
    })
    server.listen(path)
    await once(server, 'listening')
    over.push(async () => server.close())
  }

  test('says which program to restart if the owner is of another version', async () => {
    await fake('{"kind":"hello","protocol":9,"version":"9.1.0","what":"chat"}\n')
    expect(await as('alice', 'send', 'bob', 'hello')).toMatchObject({
      code: 1,
      err: 'asfaleia: error: the chat that has this profile is of another version 9.1.0\nasfaleia: hint: restart the chat; then run the command again\n',
    })
  })

  test('takes the place of an owner that left its socket behind', async () => {
    const path = await own('alice')
    for (const each of over.splice(0)) await each()
    const server = createServer()
    server.listen(path)
    await once(server, 'listening')
    // A killed process leaves the file of its socket; a server that is closed removes only its own path.
    linkSync(path, `${path}.copy`)
    await new Promise((resolve) => server.close(resolve))
    renameSync(`${path}.copy`, path)
    expect(statSync(path).isSocket()).toBe(true)
    expect(await as('alice', 'send', 'bob', 'hello')).toMatchObject({ code: 0, err: '' })
    expect(readdirSync(join(root, 'alice/state')).filter((each) => each.startsWith('owner-'))).toEqual([])
  })

  test('uses XDG_RUNTIME_DIR if the path of the socket would be too long', async () => {
    const long = join(root, 'x'.repeat(90))
    mkdirSync(long)
    const runtime = join(root, 'run')
    mkdirSync(runtime)
    const folder = (argv: readonly string[], variables: Record<string, string> = {}): Promise<Outcome> =>
      inProcess(argv, { env: { ASFALEIA_HOME: join(long, 'carol'), ...variables } })
    await folder(['me', '--name', 'carol', '--relay', `localhost:${relay.port}`])
    const without = await folder(['get'])
    expect(without).toMatchObject({ code: 1, err: expect.stringContaining('too long for a socket') as string })
    const io = createTestIo({ ASFALEIA_HOME: join(long, 'carol'), XDG_RUNTIME_DIR: runtime })
    const code = runCommand(['get', '--follow'], io)
    over.push(async () => {
      io.interrupt()
      await code
    })
    await expect.poll(() => readdirSync(runtime)).toHaveLength(1)
    const [name] = readdirSync(runtime)
    await expect.poll(() => readdirSync(join(runtime, name!))).toHaveLength(1)
    expect(statSync(join(runtime, name!)).mode & 0o777).toBe(0o700)
    const second = await folder(['get'], { XDG_RUNTIME_DIR: runtime })
    expect(second.err).toContain('the get --follow that runs already has the mailbox')
  })
})
