/**
 * Attacks on a relay, and honest clients whose delay is measured meanwhile. Usage as a process:
 *
 * - `attack.ts flood KIND PORT CONNECTIONS [SOCKET]` prints `ready`, floods from a line on standard input on until its
 *   end. SOCKET is a unix socket of the same relay, whose buffers in the system are small.
 * - `attack.ts honest PORT SECONDS` prints `ready`, measures from a line on standard input on, and prints a line of JSON.
 *
 * An attacker has a key if its flood needs one: keys are free.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createKey } from './key.ts'
import { logIn, type Mailbox, openMailboxes, Wire } from './login.ts'

export const FLOODS = {
  ping: 'PING, pipelined',
  forged: 'forged tokens',
  receivers: 'SENDs with a fresh key comment each',
  verify: 'VERIFY with RSA-8192',
  hello: 'HELLO without reading',
} as const
export type FloodKind = keyof typeof FLOODS

/** Bytes of a flood that are sent at a time. */
const CHUNK = 65_536
/** Between two honest messages, and two honest logins. */
const MESSAGE_MS = 10
const LOGIN_MS = 100
/** Base64 of 1 KiB, as in the other figures. */
const PAYLOAD = 'A'.repeat(1_368)

/** A number of packets that fill a chunk. */
function fill(packet: (n: number) => string, first = 0): string {
  let text = ''
  for (let n = first; text.length < CHUNK; n++) text += packet(n)
  return text
}

const string = (value: Uint8Array | string): Buffer => {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** A well-formed answer to no challenge, by a key whose check takes as long as possible: RSA-8192, long exponent. */
function encodeCostly(): string {
  const modulus = randomBytes(1_024)
  modulus[0]! |= 0x80
  modulus[1_023]! |= 1
  const key = Buffer.concat([string('ssh-rsa'), string(Buffer.alloc(8, 0x7f)), string(Buffer.concat([Buffer.of(0), modulus]))])
  const signature = Buffer.concat([string('rsa-sha2-512'), string(Buffer.concat([Buffer.of(0), randomBytes(1_023)]))])
  return Buffer.concat([
    Buffer.from('SSHSIG'),
    Buffer.of(0, 0, 0, 1),
    string(key),
    string('asfaleia-auth'),
    string(''),
    string('sha512'),
    string(signature),
  ]).toString('base64')
}

/** Returns the next bytes of a flood's connection each time it is called. */
function createFlood(kind: FloodKind, { token, receiver }: Mailbox): () => string {
  switch (kind) {
    case 'ping': {
      const text = fill(() => '7\n')
      return () => text
    }
    case 'hello': {
      const text = fill(() => '8;asfaleia/1\n')
      return () => text
    }
    case 'forged': {
      const part = (text: string): string => Buffer.from(text).toString('base64url')
      const [head = '', body = ''] = token.split('.')
      const text = fill((n) => `6;${head}.${body}${part(`${n}`)}.${'A'.repeat(43)}\n`)
      // A good token first: without a proof ten bad ones end the connection.
      return () => `5;${token};0\n${text}`
    }
    case 'receivers': {
      let n = 0
      return () => {
        const text = fill((at) => `3;${token};${receiver} comment ${at};QUJD\n`, n)
        n += 1_000
        return text
      }
    }
    case 'verify': {
      const answer = encodeCostly()
      // Three failures end a connection.
      return () => `2;1;${answer}\n`.repeat(3)
    }
  }
}

async function flood(kind: FloodKind, port: number, connections: number, path: string | undefined): Promise<void> {
  const [mailbox] = await openMailboxes(port, 1)
  const next = createFlood(kind, mailbox!)
  const state = { over: false }
  const sockets = new Set<Socket>()
  process.stdout.write('ready\n')
  await once(process.stdin, 'data')
  process.stdin.resume()
  process.stdin.once('end', () => {
    state.over = true
    for (const socket of sockets) socket.destroy()
  })
  const attack = async (): Promise<void> => {
    while (!state.over) {
      const socket = path === undefined ? connect(port, '127.0.0.1') : connect(path)
      sockets.add(socket)
      socket.on('error', () => {})
      const closed = new Promise((resolve) => socket.once('close', resolve))
      if (kind === 'hello') socket.pause()
      else socket.resume()
      socket.once('connect', () => {
        const more = (): void => {
          // Both ends are on one machine: the system's buffers hold the flood back as a relay does.
          while (!state.over && !socket.destroyed && socket.write(next(), 'latin1')) if (kind === 'verify') return
        }
        if (kind !== 'verify') socket.on('drain', more)
        more()
      })
      await closed
      sockets.delete(socket)
    }
  }
  await Promise.all(Array.from({ length: connections }, attack))
}

const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN

/** Alice sends to Bob at a fixed rate, and a third client logs in: delays in milliseconds. */
async function behave(port: number, seconds: number): Promise<Honest> {
  const [, bob] = await openMailboxes(port, 2)
  const [alice, reader, third] = [await Wire.open(port), await Wire.open(port), await Wire.open(port)]
  await reader.ask(`6;${bob!.token}`)
  // The first SEND to a key includes its check.
  const send = `3;${bob!.token};${bob!.receiver};${PAYLOAD}\n`
  alice.write(send)
  await Promise.all([alice.line(), reader.line().then((line) => reader.ask(`5;${bob!.token};${line.split(';')[1]}`))])
  const key = createKey('decrypt-ed25519')
  process.stdout.write('ready\n')
  await once(process.stdin, 'data')
  process.stdin.pause()
  const end = performance.now() + seconds * 1_000
  const messages: number[] = []
  const logins: number[] = []
  const talk = async (): Promise<void> => {
    for (let due = performance.now(); performance.now() < end; due += MESSAGE_MS) {
      await delay(Math.max(0, due - performance.now()))
      const began = performance.now()
      alice.write(send)
      const [, line] = await Promise.all([alice.line(), reader.line()])
      messages.push(performance.now() - began)
      await reader.ask(`5;${bob!.token};${line.split(';')[1]}`)
    }
  }
  const enter = async (): Promise<void> => {
    for (let due = performance.now(); performance.now() < end; due += LOGIN_MS) {
      await delay(Math.max(0, due - performance.now()))
      const began = performance.now()
      await logIn(third, key)
      logins.push(performance.now() - began)
    }
  }
  await Promise.all([talk(), enter()])
  for (const wire of [alice, reader, third]) wire.close()
  messages.sort((a, b) => a - b)
  logins.sort((a, b) => a - b)
  return { p50: quantile(messages, 0.5), p99: quantile(messages, 0.99), login: quantile(logins, 0.5) }
}

/** Milliseconds. */
export interface Honest {
  readonly p50: number
  readonly p99: number
  /** Median. */
  readonly login: number
}

if (import.meta.main) {
  const [what, ...rest] = process.argv.slice(2)
  if (what === 'flood') {
    const [kind, port, connections, path] = rest
    await flood(kind as FloodKind, Number(port), Number(connections), path)
    process.exit()
  }
  const [port, seconds] = rest
  process.stdout.write(`${JSON.stringify(await behave(Number(port), Number(seconds)))}\n`)
}
