/** JSON lines between the owner of a profile and its clients: cut anywhere, bounded, and ended by either side. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Kinded, Lines, LINES } from '../../../src/cli/owner/lines.ts'

interface Told extends Kinded {
  readonly text?: string
}

let server: Server
const sockets: Socket[] = []

beforeEach(async () => {
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  server.close()
  await once(server, 'close')
})

/** Connects lines to a socket that a test writes to. */
async function pair(onRecord?: (record: Told) => void) {
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const peer = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
  const [socket] = await accepted
  sockets.push(peer, socket)
  const records: Told[] = []
  let heard = (): void => {}
  const lines = new Lines<Told, Told>(socket, (record) => {
    onRecord?.(record)
    records.push(record)
    heard()
  })
  const until = async (count: number): Promise<void> => {
    while (records.length < count) await new Promise<void>((resolve) => (heard = resolve))
  }
  return { lines, records, until, peer, socket }
}

/** Reads everything that comes until the other side ends. */
async function readAll(peer: Socket): Promise<string> {
  let text = ''
  for await (const chunk of peer) text += String(chunk)
  return text
}

describe('lines', () => {
  test('are read, several in a piece and one in several pieces', async () => {
    const { records, until, peer } = await pair()
    for (const piece of ['{"kind":"a"}\n{"kind":"b","te', 'xt":"\u{e9}"}', '\n']) {
      await new Promise((resolve) => peer.write(piece, resolve))
    }
    await until(2)
    expect(records).toEqual([{ kind: 'a' }, { kind: 'b', text: '\u{e9}' }])
  })

  test('leave in order, and all of them before the end', async () => {
    const { lines, peer } = await pair()
    const text = 'x'.repeat(1_000_000)
    expect([lines.send({ kind: 'a', text }), lines.send({ kind: 'b' })]).toEqual([true, true])
    lines.end()
    expect(await readAll(peer)).toBe(`${JSON.stringify({ kind: 'a', text })}\n{"kind":"b"}\n`)
    await lines.closed
  })

  test('count as sent after the end, and a line that is too long is never sent', async () => {
    const { lines, peer } = await pair()
    expect(lines.send({ kind: 'a', text: 'x'.repeat(LINES.line) })).toBe(false)
    lines.destroy()
    await lines.closed
    expect(lines.send({ kind: 'a' })).toBe(true)
    expect(await readAll(peer)).toBe('')
  })

  test('end if the other side reads nothing', async () => {
    const { lines, peer, socket } = await pair()
    peer.pause()
    const text = 'x'.repeat(LINES.line / 2)
    for (let sent = 0; sent < LINES.unread * 4; sent += text.length) lines.send({ kind: 'a', text })
    await lines.closed
    expect(socket.bytesWritten).toBeLessThan(LINES.unread * 4)
  })

  test('end if the other side ends', async () => {
    const { lines, peer, socket } = await pair()
    peer.end()
    await lines.closed
    expect(socket.destroyed).toBe(true)
  })
})

describe('the connection ends', () => {
  test.each([
    ['if a line is no JSON', 'x\n'],
    ['if a record is no object', '7\n'],
    ['if a record is null', 'null\n'],
    ['if a record has no kind', '{}\n'],
    ['if a line is not UTF-8', Buffer.from('{"kind":"\xff"}\n', 'latin1')],
    ['if the first line is too long', `{"kind":"${'x'.repeat(LINES.hello)}"}\n`],
  ])('%s, and no record is read', async (_name, bytes) => {
    const { lines, records, peer } = await pair()
    peer.write(bytes)
    await lines.closed
    expect(records).toEqual([])
  })

  test('if a record is refused, and the records behind it are not read', async () => {
    const { lines, records, peer } = await pair(({ kind }) => {
      if (kind === 'bad') throw new TypeError('refused')
    })
    peer.write('{"kind":"a"}\n{"kind":"bad"}\n{"kind":"b"}\n')
    await lines.closed
    expect(records).toEqual([{ kind: 'a' }])
  })
})

test('no record is read after the connection was ended', async () => {
  const read: string[] = []
  const { lines, peer, socket } = await pair(({ kind }) => {
    read.push(kind)
    socket.destroy()
  })
  peer.write('{"kind":"a"}\n{"kind":"b"}\n')
  await lines.closed
  expect(read).toEqual(['a'])
})

test('a line may have the most bytes of a first line, and more once the other side is trusted', async () => {
  const { lines, records, until, peer } = await pair()
  const lineOf = (length: number): string => `{"kind":"${'x'.repeat(length - 11)}"}`
  peer.write(`${lineOf(LINES.hello)}\n`)
  await until(1)
  lines.trust()
  peer.write(`${lineOf(LINES.hello + 1)}\n`)
  await until(2)
  expect(records.map((record) => JSON.stringify(record).length)).toEqual([LINES.hello, LINES.hello + 1])
})
