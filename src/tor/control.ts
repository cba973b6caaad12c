/**
 * The client of tor's control port (control-spec.txt): proves with tor's cookie that it may ask, sends commands and
 * receives events. An impostor may listen there, so every line, reply and wait is bounded, and the cookie itself is
 * never sent. Replies and events can name onion addresses: callers must not log them.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import type { Address } from '../transport/address.ts'
import { ReplyReader } from './reply.ts'

const COOKIE_BYTES = 32
/** Keys of SAFECOOKIE, control-spec.txt, AUTHCHALLENGE. */
const SERVER_TO_CONTROLLER = 'Tor safe cookie authentication server-to-controller hash'
const CONTROLLER_TO_SERVER = 'Tor safe cookie authentication controller-to-server hash'

export interface Reply {
  /** The status began with 2. */
  readonly ok: boolean
  /** The lines without their status; data lines (`250+`) follow the line that announces them. */
  readonly lines: readonly string[]
}

/** Sends one command. Commands may be sent before the reply to an earlier one. */
export type Ask = (command: string) => Promise<Reply>

/** A connection that tor has let in. */
export interface Control {
  /** @throws Error if the connection ends, or no reply comes in time */
  readonly ask: Ask
  /**
   * Returns the value of a GETINFO key, undefined if tor refuses it.
   * @throws Error as `ask` does
   */
  info(key: string): Promise<string | undefined>
  close(): void
}

export interface ControlOptions {
  /** For connecting and authenticating, and for each reply, ms. */
  readonly timeoutMs: number
  /** Receives the events that SETEVENTS asked for. Without it an event breaks the form. */
  readonly onEvent?: (event: string) => void
}

/**
 * Connects and authenticates.
 * @returns undefined if tor does not answer in time, or does not let us in
 */
export async function openControl(address: Address, { timeoutMs, onEvent }: ControlOptions): Promise<Control | undefined> {
  const connection = connectControl(address, onEvent)
  const isIn = await within(connection.socket, timeoutMs, () => authenticate(connection.ask)).catch(() => false)
  const close = (): void => void connection.socket.destroy()
  if (!isIn) {
    close()
    return undefined
  }
  const ask: Ask = (command) => within(connection.socket, timeoutMs, () => connection.ask(command))
  return { ask, close, info: (key) => getInfo(ask, key) }
}

/**
 * Connects for one conversation, and closes the connection after it.
 * @returns undefined if tor does not answer, breaks the form, or is not done in time
 */
export async function converse<T>(address: Address, timeoutMs: number, talk: (ask: Ask) => Promise<T>): Promise<T | undefined> {
  const { socket, ask } = connectControl(address)
  try {
    // The time bounds reading the cookie, too: tor names its path.
    return await within(socket, timeoutMs, () => talk(ask))
  } catch {
    return undefined
  } finally {
    socket.destroy()
  }
}

/** Proves with tor's cookie that we may ask. @returns whether tor lets us in */
export async function authenticate(ask: Ask): Promise<boolean> {
  const proof = await buildProof(ask)
  return proof !== undefined && (await ask(proof)).ok
}

/** Returns the value of a GETINFO key, undefined if tor refuses it. */
export async function getInfo(ask: Ask, key: string): Promise<string | undefined> {
  const { ok, lines } = await ask(`GETINFO ${key}`)
  const [first = '', ...data] = lines.slice(0, -1)
  return ok && first.startsWith(`${key}=`) ? [first.slice(key.length + 1), ...data].join('\n').replace(/^\n/, '') : undefined
}

/** Returns the AUTHENTICATE command, or undefined if tor offers no method that we use. */
async function buildProof(ask: Ask): Promise<string | undefined> {
  const { ok, lines } = await ask('PROTOCOLINFO 1')
  const [, methods = '', , quoted] =
    /^AUTH METHODS=([A-Z,]+)( COOKIEFILE="((?:[^"\\]|\\.)*)")?$/.exec(lines.find((line) => line.startsWith('AUTH ')) ?? '') ?? []
  if (!ok) return undefined
  const offered = methods.split(',')
  if (offered.includes('NULL')) return 'AUTHENTICATE'
  // Sending the cookie itself (method COOKIE) would let an impostor of tor read any file of 32 bytes.
  if (quoted === undefined || !offered.includes('SAFECOOKIE')) return undefined
  const cookie = await readCookie(unquote(quoted))
  return cookie === undefined ? undefined : proveCookie(ask, cookie)
}

async function proveCookie(ask: Ask, cookie: Buffer): Promise<string | undefined> {
  const ours = randomBytes(32)
  const { ok, lines } = await ask(`AUTHCHALLENGE SAFECOOKIE ${ours.toString('hex')}`)
  const [, hash, theirs] = /^AUTHCHALLENGE SERVERHASH=([0-9A-F]{64}) SERVERNONCE=([0-9A-F]{64})$/i.exec(lines[0] ?? '') ?? []
  if (!ok || hash === undefined || theirs === undefined) return undefined
  const material = Buffer.concat([cookie, ours, Buffer.from(theirs, 'hex')])
  const expected = createHmac('sha256', SERVER_TO_CONTROLLER).update(material).digest()
  if (!timingSafeEqual(expected, Buffer.from(hash, 'hex'))) return undefined
  return `AUTHENTICATE ${createHmac('sha256', CONTROLLER_TO_SERVER).update(material).digest('hex')}`
}

async function readCookie(path: string): Promise<Buffer | undefined> {
  try {
    // O_NONBLOCK: opening a pipe must not wait for its writer.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    if (!(await file.stat()).isFile()) return undefined
    const { buffer, bytesRead } = await file.read(Buffer.alloc(COOKIE_BYTES + 1), 0, COOKIE_BYTES + 1)
    return bytesRead === COOKIE_BYTES ? buffer.subarray(0, COOKIE_BYTES) : undefined
  } catch {
    return undefined
  }
}

/** Decodes a QuotedString of control-spec.txt as tor writes paths: C escapes, octal ones for other bytes. */
function unquote(text: string): string {
  const plain = text.replace(/\\([0-7]{1,3}|.)/g, (_all, escaped: string) => {
    if (/^[0-7]/.test(escaped)) return String.fromCharCode(Number.parseInt(escaped, 8) & 0xff)
    return { n: '\n', r: '\r', t: '\t' }[escaped] ?? escaped
  })
  return Buffer.from(plain, 'latin1').toString('utf8')
}

/** Connects. Replies answer the commands in order; the socket is destroyed if tor breaks the form or a bound. */
function connectControl(address: Address, onEvent?: (event: string) => void): { readonly socket: Socket; readonly ask: Ask } {
  const socket = connect(address.kind === 'tcp' ? { host: address.host, port: address.port } : { path: address.path })
  const waiting: ((reply: Reply) => void)[] = []
  const reader = new ReplyReader()
  // 'close' follows, and ends every wait.
  socket.on('error', () => {})
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    for (const { status, lines } of reader.read(chunk)) {
      if (status !== '6') {
        const answer = waiting.shift()
        if (answer === undefined) return void socket.destroy()
        answer({ ok: status === '2', lines })
      } else {
        if (onEvent === undefined) return void socket.destroy()
        onEvent(lines.join('\n'))
      }
    }
    if (reader.isBroken) socket.destroy()
  })
  const ask: Ask = (command) => {
    const { promise, resolve } = Promise.withResolvers<Reply>()
    waiting.push(resolve)
    socket.write(`${command}\r\n`)
    return promise
  }
  return { socket, ask }
}

/** Waits for the task until the connection ends or the time is over, which destroys the connection. */
async function within<T>(socket: Socket, ms: number, task: () => Promise<T>): Promise<T> {
  const { promise: closed, reject } = Promise.withResolvers<never>()
  // The race below may be over when it rejects.
  closed.catch(() => {})
  const onClose = (): void => reject(new Error('the control connection ended'))
  if (socket.destroyed) onClose()
  socket.on('close', onClose)
  const timer = setTimeout(() => socket.destroy(), ms)
  try {
    return await Promise.race([task(), closed])
  } finally {
    clearTimeout(timer)
    socket.off('close', onClose)
  }
}
