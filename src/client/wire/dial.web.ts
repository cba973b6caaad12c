/**
 * Dials a relay in a web page, by the WebSocket of its public listener (docs/protocol.md, section 1). A page can reach
 * onion addresses only in Tor Browser, and cannot choose its circuits.
 */
import { isOnion } from '../../onion/address.ts'
import { ConnectError, DEFAULT_RELAY_PORT, SUBPROTOCOL, type Target, WEBSOCKET_PATH } from '../../transport/address.ts'
import type { DialOptions } from './dial.ts'
import type { Stream } from './stream.ts'

/** Ports of the public listener. They replace the port of the raw listener, 3308, which addresses have by default. */
const ONION_PORT = 80
const LOOPBACK_PORT = 8080

/** How the streams of this module carry packets. */
export const FRAMING = 'message'

const utf8 = new TextEncoder()

/**
 * Connects to a relay.
 * @throws {ConnectError} if the relay cannot be reached; the signal's reason if it is aborted
 * @throws {TypeError} for a unix socket, and for a name that is not an onion address, because that connection would not
 *   be hidden
 */
export async function dial(
  target: Target,
  { timeout, signal, early = [] }: Pick<DialOptions, 'timeout' | 'signal' | 'early'>,
): Promise<Stream> {
  const url = urlOf(target)
  signal?.throwIfAborted()
  const socket = new WebSocket(url, SUBPROTOCOL)
  socket.binaryType = 'arraybuffer'
  const deadline = AbortSignal.timeout(timeout)
  const given = signal === undefined ? deadline : AbortSignal.any([signal, deadline])
  try {
    await opened(socket, given)
    const stream = webSocketStream(socket)
    // A page cannot send anything earlier.
    for (const packet of early) stream.write(packet)
    return stream
  } catch (error) {
    socket.close()
    signal?.throwIfAborted()
    throw deadline.aborted ? new ConnectError('connect-timeout') : error
  }
}

function urlOf(target: Target): string {
  if (target.kind === 'unix' || (target.kind === 'name' && !isOnion(target.host)))
    throw new TypeError('a web page connects only to onion addresses and to this machine')
  const usual = target.kind === 'loopback' ? LOOPBACK_PORT : ONION_PORT
  const host = target.host.includes(':') ? `[${target.host}]` : target.host
  return `ws://${host}:${target.port === DEFAULT_RELAY_PORT ? usual : target.port}${WEBSOCKET_PATH}`
}

/** Waits until the WebSocket is open. All failures are `unreachable`, because browsers do not report the reason. */
function opened(socket: WebSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      for (const event of ['open', 'close'] as const) socket.removeEventListener(event, settle)
      signal.removeEventListener('abort', settle)
      if (socket.readyState === WebSocket.OPEN && socket.protocol === SUBPROTOCOL && !signal.aborted) resolve()
      else reject(new ConnectError('unreachable'))
    }
    for (const event of ['open', 'close'] as const) socket.addEventListener(event, settle)
    signal.addEventListener('abort', settle)
  })
}

function webSocketStream(socket: WebSocket): Stream {
  return {
    framing: FRAMING,
    start({ onChunk, onEnd }) {
      socket.addEventListener('message', ({ data }: { readonly data: unknown }) => {
        onChunk(typeof data === 'string' ? utf8.encode(data) : new Uint8Array(data as ArrayBuffer))
      })
      socket.addEventListener('close', () => onEnd())
    },
    write(packet) {
      // A WebSocket message is one packet, so its LF is left out.
      if (socket.readyState === WebSocket.OPEN) socket.send(Uint8Array.from(packet.subarray(0, -1)))
    },
    close: () => socket.close(),
  }
}
