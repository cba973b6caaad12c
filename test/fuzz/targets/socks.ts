import { ConnectError } from '../../../src/transport/address.ts'
import { connectTarget } from '../../../src/transport/socks.ts'
import { startPeer } from '../peer.ts'
import { ONION } from '../people.ts'
import { attemptLater, same, type Target } from '../target.ts'

const peer = await startPeer()
const target_ = { kind: 'name', host: ONION, port: 3_308, name: ONION } as const
const TIMEOUT_MS = 4_000
const isolation = { user: 'u', password: 'p' }

/** Connects through a proxy that sends the input and ends. Returns the error's code, or the bytes behind the replies. */
async function dial(input: Uint8Array, isSlow: boolean): Promise<string> {
  peer.play((socket) => {
    socket.resume()
    const half = isSlow ? Math.floor(input.length / 2) : 0
    if (half > 0) socket.write(input.subarray(0, half))
    const rest = (): void => void socket.end(input.subarray(half))
    if (isSlow) setImmediate(rest)
    else rest()
  })
  const route = { kind: 'socks', proxy: { path: peer.path }, isolation } as const
  const began = performance.now()
  const dialled = await attemptLater(
    () => connectTarget(target_, route, { timeout: TIMEOUT_MS }),
    // A proxy that timed out replies 6.
    (error) => error instanceof ConnectError && (error.code !== 'connect-timeout' || performance.now() - began < TIMEOUT_MS / 2),
  )
  if (!('value' in dialled)) return dialled.refused
  const socket = dialled.value
  let rest = ''
  socket.setEncoding('latin1')
  for await (const chunk of socket) rest += chunk as string
  return `connected, then ${rest}`
}

export const target: Target = {
  name: 'socks',
  covers: ['transport/socks.ts'],
  longest: 600,
  seeds: () => [
    '\x05\x02\x01\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x0018;asfaleia/1\n',
    `\x05\x02\x01\x00\x05\x00\x00\x04${'\0'.repeat(16)}\0\0rest`,
    '\x05\x02\x01\x00\x05\x00\x00\x03\x04name\x0c\xecrest',
    '\x05\x02\x01\x00\x05\xf0\x00\x01',
    '\x05\x02\x01\x00\x05\xf4\x00\x01',
    '\x05\x02\x01\x01',
    '\x05\xff',
    'HTTP/1.1 400 Bad Request\r\n\r\n',
  ],
  async run(input) {
    const result = await dial(input, false)
    same('at once and in two parts', result, await dial(input, true))
    return result.split(',')[0]!
  },
}
