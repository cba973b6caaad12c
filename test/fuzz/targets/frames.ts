import { type FrameReceiver, FrameReader } from '../../../src/transport/frames.ts'
import { BYTE_BY_BYTE, chunksOf } from '../../support/chunks.ts'
import { CLOSE, CONTINUATION, encodeFrame, PING, PONG } from '../../support/frames.ts'
import { fail, latin1, same, type Target } from '../target.ts'

const LONGEST = 512

function play(input: Uint8Array, cuts: Iterable<number>): { text: string; end: string } {
  let lines = ''
  let others = ''
  let end = 'open'
  const over = (text: string): void => {
    if (end !== 'open') fail('an event follows the end')
    end = text
  }
  const receiver: FrameReceiver = {
    onLines(chunk) {
      if (end !== 'open' && chunk.length > 0) fail('lines follow the end')
      lines += latin1(chunk)
      chunk.fill(0)
    },
    onPing(payload) {
      if (payload.length > 125) fail('a ping is too long')
      others += `ping ${latin1(payload)}\n`
    },
    onClose: (code) => over(`closed ${code === undefined ? 'without a code' : code < 3_000 ? code : 'by its own code'}`),
    onRefused: (code) => over(`refused ${code}`),
  }
  const reader = new FrameReader(LONGEST, receiver)
  for (const chunk of chunksOf(input, cuts)) {
    reader.read(chunk)
    if (chunk.some((byte) => byte !== 0)) fail('a chunk is not overwritten')
  }
  reader.clear()
  for (const line of lines.split('\n')) if (line.length > LONGEST) fail('a message is too long')
  if (/\r/.test(lines)) fail('a CR passes')
  return { text: `${lines}\n${others}\n${end}`, end }
}

const join = (...frames: readonly Uint8Array[]): Uint8Array => Buffer.concat(frames)

export const target: Target = {
  name: 'frames',
  covers: ['transport/frames.ts'],
  seeds: () => [
    join(encodeFrame('8;asfaleia/1'), encodeFrame('7', { opcode: 2 })),
    join(encodeFrame('0;ke', { fin: false }), encodeFrame('ping', { opcode: PING }), encodeFrame('y', { opcode: CONTINUATION })),
    join(encodeFrame('x'.repeat(300)), encodeFrame('', { opcode: PONG }), encodeFrame('a\nb\rc')),
    join(encodeFrame(Uint8Array.of(3, 232), { opcode: CLOSE }), encodeFrame('7')),
    encodeFrame('x', { length: 70_000, lengthBytes: 8 }),
  ],
  run(input) {
    const whole = play(input, [])
    const bytes = play(input, input.length > 4_096 ? [2, 3, 9_000, 1] : BYTE_BY_BYTE)
    const some = play(input, [1, 5, 2, 17, 64])
    same('whole and byte by byte', whole.text, bytes.text)
    same('whole and in chunks', whole.text, some.text)
    return whole.end
  },
}
