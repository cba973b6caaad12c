/**
 * The PROXY v1 line with which tor begins each connection of an onion service, if `HiddenServiceExportCircuitID haproxy`
 * is set (torrc(5); haproxy's proxy-protocol.txt, section 2.1). Its first address holds the number of the circuit. It
 * contains no address of a user.
 */
import type { Socket } from 'node:net'

/** The longest line that the specification allows, its line end included. */
const MAX_BYTES = 107
/** tor sends the line at once. */
const DEADLINE_MS = 10_000
const LF = 0x0a

/** Parses a header line without its line end. @returns undefined if it is not one */
export function parseProxyHeader(line: string): { circuit: string | undefined } | undefined {
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) return { circuit: undefined }
  const match = /^PROXY TCP[46] ([0-9a-fA-F:.]{2,39}) [0-9a-fA-F:.]{2,39} [0-9]{1,5} [0-9]{1,5}$/.exec(line)
  return match === null ? undefined : { circuit: match[1]! }
}

/**
 * Reads the header from a socket that was just accepted, and passes its circuit to `onHeader`. The bytes behind the line
 * stay unread; the socket flows again once `onHeader` has returned. A socket without a sound header is destroyed, because
 * the configuration promises one at this door.
 */
export function readProxyHeader(socket: Socket, onHeader: (circuit: string | undefined) => void, onRefused: () => void): void {
  let head = Buffer.alloc(0)
  const refuse = (): void => {
    stop()
    onRefused()
    socket.destroy()
  }
  const deadline = setTimeout(refuse, DEADLINE_MS)
  const onData = (chunk: Buffer): void => {
    const end = chunk.indexOf(LF)
    const part = end === -1 ? chunk : chunk.subarray(0, end + 1)
    head = Buffer.concat([head, part])
    if (head.length > MAX_BYTES) return refuse()
    if (end === -1) return
    const text = head.toString('latin1')
    const header = text.endsWith('\r\n') ? parseProxyHeader(text.slice(0, -2)) : undefined
    if (header === undefined) return refuse()
    stop()
    socket.pause()
    if (end + 1 < chunk.length) socket.unshift(chunk.subarray(end + 1))
    onHeader(header.circuit)
    socket.resume()
  }
  const ignore = (): void => {}
  const stop = (): void => {
    clearTimeout(deadline)
    socket.off('data', onData)
    socket.off('end', refuse)
    socket.off('close', stop)
    // The next owner adds its own listener; until then an error must not go unhandled.
    setImmediate(() => socket.off('error', ignore))
  }
  socket.on('error', ignore)
  socket.on('data', onData)
  socket.on('end', refuse)
  socket.on('close', stop)
}
