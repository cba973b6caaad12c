import { KeyDecoder, type KeyInput } from '../../../src/cli/chat/keys.ts'
import { BYTE_BY_BYTE, chunksOf } from '../../support/chunks.ts'
import { same, type Target } from '../target.ts'

function play(input: Uint8Array, cuts: Iterable<number>): KeyInput[] {
  const decoder = new KeyDecoder()
  const keys = chunksOf(input, cuts).flatMap((chunk) => decoder.push(chunk))
  return [...keys, ...decoder.flush()]
}

/** Joins the texts, which a chunk may divide. */
const show = (keys: readonly KeyInput[]): string =>
  keys.map((key) => (key.kind === 'text' ? key.text : `<${JSON.stringify(key)}>`)).join('')

/** The bytes of a terminal: pasted texts of strangers, and the terminal's answers. */
export const target: Target = {
  name: 'keys',
  covers: ['cli/chat/keys.ts'],
  longest: 300,
  stretched: 16_384,
  seeds: () => [
    Buffer.from('hi é 👩‍👧\r\x03\x1b[A\x1b[1;5D\x1bOP\x1b[15~\x1b[200~pasted\ntext\x1b[31m\x1b[201~x'),
    '\x1b[<0;10;20M\x1b[<64;1;1M\x1b[I\x1b[O\x1b[13;5u\x1b[27;5;97~\x1ba\x1b\x1b[B\x1b[[A',
    '\x1b[?62;c\x1b]11;rgb:0/0/0\x07\x1bP1$r\x1b\\\xff\xc3',
  ],
  run(input) {
    const whole = play(input, [])
    same('whole and byte by byte', show(whole), show(play(input, input.length > 4_096 ? [2, 3, 9_000, 1] : BYTE_BY_BYTE)))
    const last = whole.at(-1)
    return last === undefined ? 'nothing' : last.kind === 'key' && last.chord.length > 12 ? 'long chord' : last.kind
  },
}
