/**
 * Fetches the web page that a relay offers, as Tor Browser would. Asks for one path, follows nothing, and takes only the
 * answer of a relay: a length, and plain bytes or gzip.
 */
import { gunzipSync } from 'node:zlib'
import { dial } from '../../client/wire/dial.ts'
import { RelayError } from '../../client/wire/error.ts'
import type { Stream } from '../../client/wire/stream.ts'
import { ConnectError, DEFAULT_RELAY_PORT, parseTarget, type Target } from '../../transport/address.ts'
import { duration } from '../../wording/figures.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'

/** A relay offers no larger page. */
export const MOST_PAGE_BYTES = 2 ** 20
const MOST_HEADER_BYTES = 16_384
/** The ports of the public HTTP listener. */
const ONION_PORT = 80
const LOOPBACK_PORT = 8_080
/** By default, milliseconds: to connect, and then for the whole answer. */
const TIMEOUT_MS = 120_000

/** A relay that would answer a check differently must not recognise it by its headers: these are Tor Browser's. */
const HEADERS = `User-Agent: Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r
Accept-Language: en-US,en;q=0.5\r
Accept-Encoding: gzip, deflate\r
Connection: keep-alive\r
Upgrade-Insecure-Requests: 1\r
`

export interface FetchOptions {
  readonly socks: string | undefined
  /** Milliseconds to connect, and then for the whole answer. */
  readonly timeout: number | undefined
  readonly signal: AbortSignal
}

/**
 * Fetches the page of the relay at an address. A host that is not local goes to Tor unresolved.
 * @throws {TypeError} if it is not an address; {RelayError} if the relay is not reached or breaks off; {CliError} if it
 *   offers no page, or is no relay; the signal's reason if it is aborted
 */
export async function fetchPage(address: string, { socks, timeout = TIMEOUT_MS, signal }: FetchOptions): Promise<Uint8Array> {
  const target = atHttp(parseTarget(address))
  const stream = await dial(target, { socks, timeout, signal, isolation: undefined }).catch((error: unknown) => {
    throw error instanceof ConnectError ? new RelayError(error.code) : error
  })
  try {
    const request = `GET /asfaleia.html HTTP/1.1\r\nHost: ${hostOf(target)}\r\n${HEADERS}\r\n`
    return readPage(await ask(stream, Buffer.from(request, 'latin1'), timeout, signal))
  } finally {
    stream.close()
  }
}

/** Returns the relay's HTTP listener, if the address names no port or that of the raw listener. */
function atHttp(target: Target): Target {
  if (target.kind === 'unix' || target.port !== DEFAULT_RELAY_PORT) return target
  return { ...target, port: target.kind === 'loopback' ? LOOPBACK_PORT : ONION_PORT }
}

function hostOf(target: Target): string {
  if (target.kind === 'unix') return target.name
  return target.port === ONION_PORT ? target.name : `${target.name}:${target.port}`
}

interface Answer {
  readonly status: number
  /** By their names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
}

/** Sends the request, and reads an answer whose length the relay states. */
async function ask(stream: Stream, request: Uint8Array, timeout: number, signal: AbortSignal): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const refuse = (): void => reject(noRelay())
  let head: (Omit<Answer, 'body'> & { readonly length: number }) | undefined
  let chunks: Buffer[] = []
  let length = 0
  const onChunk = (chunk: Uint8Array): void => {
    chunks.push(Buffer.from(chunk))
    length += chunk.length
    if (head === undefined) {
      const bytes = Buffer.concat(chunks)
      const end = bytes.indexOf('\r\n\r\n')
      if (end > MOST_HEADER_BYTES || (end === -1 && length > MOST_HEADER_BYTES)) return refuse()
      if (end === -1) return
      head = readHead(bytes.toString('latin1', 0, end))
      if (head === undefined) return refuse()
      const rest = bytes.subarray(end + 4)
      ;[chunks, length] = [[rest], rest.length]
    }
    if (length > head.length) refuse()
    else if (length === head.length) resolve({ ...head, body: Buffer.concat(chunks) })
  }
  const deadline = AbortSignal.timeout(timeout)
  const onAbort = (): void => reject(signal.aborted ? signal.reason : new RelayError('no-answer'))
  const given = AbortSignal.any([deadline, signal])
  given.addEventListener('abort', onAbort)
  if (given.aborted) onAbort()
  stream.start({ onChunk, onEnd: () => reject(new RelayError('closed')) })
  stream.write(request)
  try {
    return await promise
  } finally {
    given.removeEventListener('abort', onAbort)
  }
}

/** Reads the status and the headers of a relay's answer; undefined if they are not a relay's. */
function readHead(text: string): (Omit<Answer, 'body'> & { readonly length: number }) | undefined {
  const [first = '', ...lines] = text.split('\r\n')
  const [, status] = /^HTTP\/1\.1 ([2-5][0-9]{2}) /.exec(first) ?? []
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = /^([A-Za-z-]{1,64}): ([\x20-\x7e]*)$/.exec(line) ?? []
    if (name === undefined || headers.has(name.toLowerCase())) return undefined
    headers.set(name.toLowerCase(), value!)
  }
  const length = headers.get('content-length') ?? ''
  if (status === undefined || headers.has('transfer-encoding') || !/^[0-9]{1,7}$/.test(length)) return undefined
  return Number(length) > MOST_PAGE_BYTES ? undefined : { status: Number(status), headers, length: Number(length) }
}

/** Returns the page in an answer. @throws {CliError} */
function readPage({ status, headers, body }: Answer): Uint8Array {
  if (status === 404)
    throw new CliError('the relay offers no web page', { hint: 'its operator can offer it: --page download, in a version that has it' })
  if (status === 503) {
    const seconds = Number(headers.get('retry-after'))
    throw new CliError('the relay is full, or gave its page too often over this circuit', {
      hint: `try again ${seconds > 0 && seconds <= 3_600 ? `in ${duration(seconds)}` : 'later'}`,
    })
  }
  if (status === 421) throw new RelayError('wrong-name')
  const encoding = headers.get('content-encoding')
  if (status !== 200 || (encoding !== undefined && encoding !== 'gzip')) throw noRelay()
  if (encoding === undefined) return body
  try {
    return gunzipSync(body, { maxOutputLength: MOST_PAGE_BYTES })
  } catch {
    throw noRelay()
  }
}

function noRelay(): CliError {
  return new CliError('the server at that address does not answer as a relay does', {
    exitCode: EXIT.refused,
    hint: 'check the address and its port: the page is at the HTTP listener, at port 80 of an onion address',
  })
}
