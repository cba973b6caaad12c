import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { Channel, ChannelError } from '../../../src/handover/channel.ts'
import { attemptLater, type Target } from '../target.ts'

class FakeSocket extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
}

const OPTIONS = { psk: Buffer.alloc(32, 1), patience: 1_000 }

/** Someone without the secret, at both ends of a handover; the first byte chooses the side of the program. */
export const target: Target = {
  name: 'handover-door',
  covers: ['handover/channel.ts', 'handover/noise.ts'],
  longest: 300,
  seeds: () => [`a\0\x30${'k'.repeat(48)}`, `o\0\x30${'\0'.repeat(48)}`, 'o\0\x01\0', 'a\0\x02xx', 'a'],
  async run(input) {
    const socket = new FakeSocket()
    const open = (input[0] ?? 0) % 2 === 0 ? Channel.open : Channel.accept
    if (input.length > 1) socket.push(Buffer.from(input.subarray(1)))
    socket.push(null)
    const outcome = await attemptLater(
      () => open.call(Channel, socket as unknown as Socket, OPTIONS),
      (error) => error instanceof ChannelError && error.problem !== 'stalled',
    )
    const result = 'value' in outcome ? 'open' : outcome.refused
    socket.destroy()
    if (result === 'open') throw new Error('property: a channel opened without the secret')
    return result
  },
}
