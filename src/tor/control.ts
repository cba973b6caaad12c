/**
 * Asks tor's control port how far tor is with its start (control-spec.txt: PROTOCOLINFO, AUTHENTICATE
 * by cookie, GETINFO status/bootstrap-phase), and nothing else. Every line, every reply and the time
 * are bounded; of what tor says only a number and a word of a closed set come out.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import type { Address } from '../config/value.ts'

/** Tor's tags of bootstrap phases (control-spec.txt, BOOTSTRAP), and our own words for what keeps us from asking. */
export const TOR_SUMMARIES = [
  'starting',
  'conn_pt',
  'conn_done_pt',
  'conn_proxy',
  'conn_done_proxy',
  'conn',
  'conn_done',
  'handshake',
  'handshake_done',
  'onehop_create',
  'requesting_status',
  'loading_status',
  'loading_keys',
  'requesting_descriptors',
  'loading_descriptors',
  'enough_dirinfo',
  'ap_conn_pt',
  'ap_conn_done_pt',
  'ap_conn_proxy',
  'ap_conn_done_proxy',
  'ap_conn',
  'ap_conn_done',
  'ap_handshake',
  'ap_handshake_done',
  'circuit_create',
  'done',
  'unreachable',
  'unauthorized',
  'other',
] as const
export type TorSummary = (typeof TOR_SUMMARIES)[number]

export interface TorState {
  /** Tor answered, and let us ask. */
  readonly reachable: boolean
  /** Percent; undefined where tor was not reachable or did not say. */
  readonly bootstrap: number | undefined
  /** Tor's tag of the phase; `unreachable`: nobody answered in time; `unauthorized`: the cookie was not taken. */
  readonly summary: TorSummary
}

const UNREACHABLE: TorState = Object.freeze({ reachable: false, bootstrap: undefined, summary: 'unreachable' })
const UNAUTHORIZED: TorState = Object.freeze({ reachable: false, bootstrap: undefined, summary: 'unauthorized' })

const DEFAULT_TIMEOUT_MS = 2_000
/** Replies to what we ask are a few hundred bytes; a path can be 4,096. */
const MAX_REPLY_BYTES = 16_384
const COOKIE_BYTES = 32
/** Keys of SAFECOOKIE, control-spec.txt, AUTHCHALLENGE. */
const SERVER_TO_CONTROLLER = 'Tor safe cookie authentication server-to-controller hash'
const CONTROLLER_TO_SERVER = 'Tor safe cookie authentication controller-to-server hash'

/** Never throws: what cannot be known is a state, too. */
export async function readTorState(address: Address, options: { readonly timeoutMs?: number } = {}): Promise<TorState> {
  return (await converse(address, options.timeoutMs ?? DEFAULT_TIMEOUT_MS, askTor)) ?? UNREACHABLE
}

/** Has `talk` ask tor; undefined where nobody answers, or not by the form, or not in time. */
export async function converse<T>(address: Address, timeoutMs: number, talk: (ask: Ask) => Promise<T>): Promise<T | undefined> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  // Nobody may be waiting any more when it fails.
  late.catch(() => {})
  const socket = connect(address.kind === 'tcp' ? { host: address.host, port: address.port } : { path: address.path })
  const timer = setTimeout(() => socket.destroy(), timeoutMs)
  socket.on('error', () => {})
  socket.on('close', () => reject(new Error('closed')))
  try {
    // Reading the cookie is bounded by the same time: its path is tor's to say.
    return await Promise.race([talk(createAsk(socket)), late])
  } catch {
    return undefined
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

/** Proves by tor's cookie that we may ask. */
export async function authenticate(ask: Ask): Promise<boolean> {
  const proof = await buildProof(ask)
  return proof !== undefined && (await ask(proof)).ok
}

async function askTor(ask: Ask): Promise<TorState> {
  if (!(await authenticate(ask))) return UNAUTHORIZED
  const { ok, lines } = await ask('GETINFO status/bootstrap-phase')
  if (!ok) return { reachable: true, bootstrap: undefined, summary: 'other' }
  const phase = lines.find((line) => line.startsWith('status/bootstrap-phase=')) ?? ''
  const percent = / PROGRESS=(\d{1,3})(?: |$)/.exec(phase)?.[1]
  const tag = / TAG=([a-z_]{1,40})(?: |$)/.exec(phase)?.[1]
  return {
    reachable: true,
    bootstrap: percent === undefined || Number(percent) > 100 ? undefined : Number(percent),
    summary: TOR_SUMMARIES.find((each) => each === tag) ?? 'other',
  }
}

/** The AUTHENTICATE command that tor will take; undefined where it takes none that we have. */
async function buildProof(ask: Ask): Promise<string | undefined> {
  const { ok, lines } = await ask('PROTOCOLINFO 1')
  const [, methods = '', , quoted] =
    /^AUTH METHODS=([A-Z,]+)( COOKIEFILE="((?:[^"\\]|\\.)*)")?$/.exec(lines.find((line) => line.startsWith('AUTH ')) ?? '') ?? []
  if (!ok) return undefined
  const offered = methods.split(',')
  if (offered.includes('NULL')) return 'AUTHENTICATE'
  if (quoted === undefined) return undefined
  const cookie = await readCookie(unquote(quoted))
  if (cookie === undefined) return undefined
  // Without SAFECOOKIE, whoever poses as tor could have any file of 32 bytes sent to it.
  if (!offered.includes('SAFECOOKIE')) return undefined
  return proveCookie(ask, cookie)
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
    // A pipe in its place must not make us wait for its writer.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    if (!(await file.stat()).isFile()) return undefined
    const { buffer, bytesRead } = await file.read(Buffer.alloc(COOKIE_BYTES + 1), 0, COOKIE_BYTES + 1)
    return bytesRead === COOKIE_BYTES ? buffer.subarray(0, COOKIE_BYTES) : undefined
  } catch {
    return undefined
  }
}

/** A QuotedString of control-spec.txt as tor writes paths: C escapes, octal ones for other bytes. */
function unquote(text: string): string {
  const plain = text.replace(/\\([0-7]{1,3}|.)/g, (_all, escaped: string) => {
    if (/^[0-7]/.test(escaped)) return String.fromCharCode(Number.parseInt(escaped, 8) & 0xff)
    return { n: '\n', r: '\r', t: '\t' }[escaped] ?? escaped
  })
  return Buffer.from(plain, 'latin1').toString('utf8')
}

export interface Reply {
  /** The status began with 2. */
  readonly ok: boolean
  /** The reply's lines without their status. */
  readonly lines: readonly string[]
}

/** Sends one command; a socket that breaks the form ends. */
export type Ask = (command: string) => Promise<Reply>

/** One command at a time. A reply that breaks the form or the bound ends the socket, and with it the wait. */
function createAsk(socket: Socket): Ask {
  let waiting: ((reply: Reply) => void) | undefined
  let rest = ''
  let lines: string[] = []
  let taken = 0
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    taken += chunk.length
    const cut = (rest + chunk).split('\r\n')
    rest = cut.pop() ?? ''
    if (taken > MAX_REPLY_BYTES) return void socket.destroy()
    for (const line of cut) {
      const [, status, kind, text] = /^(\d)\d\d([ -])(.*)$/.exec(line) ?? []
      if (status === undefined || text === undefined || waiting === undefined) return void socket.destroy()
      lines.push(text)
      if (kind === '-') continue
      const answer = waiting
      const reply = { ok: status === '2', lines }
      waiting = undefined
      lines = []
      answer(reply)
    }
  })
  return (command) => {
    const { promise, resolve } = Promise.withResolvers<Reply>()
    waiting = resolve
    taken = 0
    socket.write(`${command}\r\n`)
    return promise
  }
}
