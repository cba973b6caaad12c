/** Decodes keys as terminals send them, from whole input, from chunks and byte by byte. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KeyDecoder, type KeyInput, MOST_PASTE } from '../../../src/cli/chat/keys.ts'

const key = (chord: string): KeyInput => ({ kind: 'key', chord })
const text = (typed: string): KeyInput => ({ kind: 'text', text: typed })

/** Decodes all chunks and joins adjacent pieces of typed text. */
function decode(chunks: readonly Uint8Array[]): KeyInput[] {
  const decoder = new KeyDecoder()
  const inputs = [...chunks.flatMap((chunk) => decoder.push(chunk)), ...decoder.flush()]
  return inputs.reduce<KeyInput[]>((all, input) => {
    const last = all.at(-1)
    if (input.kind === 'text' && last?.kind === 'text') return [...all.slice(0, -1), text(last.text + input.text)]
    return [...all, input]
  }, [])
}

const ROWS: readonly (readonly [name: string, bytes: string, inputs: readonly KeyInput[]])[] = [
  ['text', 'kettle', [text('kettle')]],
  ['text of multi-byte characters', 'Grüße 日本 👍🏽', [text('Grüße 日本 👍🏽')]],
  ['Enter, Tab, Backspace', '\r\t\u{7f}\b', [key('enter'), key('tab'), key('backspace'), key('backspace')]],
  ['control keys', '\u{1}\u{3}\n\u{1f}\0', [key('ctrl+a'), key('ctrl+c'), key('ctrl+j'), key('ctrl+_'), key('ctrl+space')]],
  ['arrows', '\u{1b}[A\u{1b}[B\u{1b}OC\u{1b}OD', [key('up'), key('down'), key('right'), key('left')]],
  [
    'Home and End in all their forms',
    '\u{1b}[H\u{1b}[F\u{1b}[1~\u{1b}[4~\u{1b}[7~\u{1b}OH',
    ['home', 'end', 'home', 'end', 'home', 'home'].map(key),
  ],
  ['Delete, PageUp, PageDown', '\u{1b}[3~\u{1b}[5~\u{1b}[6~', [key('delete'), key('pageup'), key('pagedown')]],
  ['modified arrows', '\u{1b}[1;5D\u{1b}[1;3A\u{1b}[1;6C', [key('ctrl+left'), key('alt+up'), key('ctrl+shift+right')]],
  ['function keys', '\u{1b}OP\u{1b}[12~\u{1b}[[C', [key('f1'), key('f2'), key('f3')]],
  ['Alt with a letter, with Enter, with Backspace', '\u{1b}a\u{1b}\r\u{1b}\u{7f}', [key('alt+a'), key('alt+enter'), key('alt+backspace')]],
  ['Alt with a multi-byte letter', '\u{1b}ü', [key('alt+ü')]],
  ['Alt with an arrow, as Esc and arrow', '\u{1b}\u{1b}[A\u{1b}\u{1b}OC', [key('alt+up'), key('alt+right')]],
  ['Shift+Tab', '\u{1b}[Z', [key('shift+tab')]],
  [
    "kitty's protocol",
    '\u{1b}[13;3u\u{1b}[13;2u\u{1b}[106;5u\u{1b}[97;3u\u{1b}[27u',
    [key('alt+enter'), key('shift+enter'), key('ctrl+j'), key('alt+a'), key('escape')],
  ],
  ["kitty's protocol with locks and event types", '\u{1b}[99;69:1u', [key('ctrl+c')]],
  ["xterm's modifyOtherKeys", '\u{1b}[27;2;13~', [key('shift+enter')]],
  ['a modifier alone', '\u{1b}[57441;2u', []],
  ['a paste', '\u{1b}[200~a\r\nb\u{1b}[31m\u{3}\u{1b}[201~!', [{ kind: 'paste', text: 'a\r\nb\u{1b}[31m\u{3}' }, text('!')]],
  [
    'focus',
    '\u{1b}[O\u{1b}[I',
    [
      { kind: 'focus', focused: false },
      { kind: 'focus', focused: true },
    ],
  ],
  [
    'the wheel, and a click',
    '\u{1b}[<64;3;2M\u{1b}[<65;3;2M\u{1b}[<0;3;2M\u{1b}[<0;3;2m',
    [
      { kind: 'mouse', action: 'up', row: 1, column: 2 },
      { kind: 'mouse', action: 'down', row: 1, column: 2 },
      { kind: 'mouse', action: 'press', row: 1, column: 2 },
    ],
  ],
  ['a lone Esc', '\u{1b}', [key('escape')]],
  ['Esc twice', '\u{1b}\u{1b}', [key('escape'), key('escape')]],
  ['unknown sequences', '\u{1b}[?62;22c\u{1b}[?1u\u{1b}[99~ok', [text('ok')]],
  ['an unrequested answer of the terminal', '\u{1b}]11;rgb:0000/0000/0000\u{1b}\\ok\u{1b}P1$r0m\u{1b}\\', [text('ok')]],
  ['bytes that are not UTF-8', 'a\u{ff}b', [text('a\u{fffd}b')]],
]

/** Encodes a row as a terminal sends it: text in UTF-8, and other bytes as they are. */
const bytesOf = (name: string, bytes: string): Buffer => (name.includes('not UTF-8') ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes))

describe('the key decoder', () => {
  it.each(ROWS)('decodes %s', (name, bytes, inputs) => {
    const all = bytesOf(name, bytes)
    expect(decode([all])).toEqual(inputs)
    expect(decode([...all].map((byte) => Uint8Array.of(byte)))).toEqual(inputs)
  })

  it('decodes the same keys however their bytes are cut', () => {
    // Leave out the rows that depend on a pause.
    const rows = ROWS.filter(([name]) => !/Esc/.test(name))
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...rows)), fc.array(fc.nat({ max: 400 })), (picked, cuts) => {
        const all = Buffer.concat(picked.map(([name, bytes]) => bytesOf(name, bytes)))
        const places = [...new Set([0, ...cuts.filter((cut) => cut < all.length), all.length])].toSorted((a, b) => a - b)
        expect(decode(places.map((place, index) => all.subarray(place, places[index + 1] ?? all.length)))).toEqual(decode([all]))
      }),
    )
  })

  it('never fails, and keeps nothing after flush, for any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (chunks) => {
        const decoder = new KeyDecoder()
        for (const chunk of chunks) decoder.push(chunk)
        decoder.flush()
        expect(decoder.pending).toBe(false)
      }),
    )
  })

  it('is pending after an Esc that may begin a sequence', () => {
    const decoder = new KeyDecoder()
    expect(decoder.push(Uint8Array.of(0x1b))).toEqual([])
    expect(decoder.pending).toBe(true)
    expect(decoder.push(Buffer.from('[A'))).toEqual([key('up')])
    expect(decoder.pending).toBe(false)
  })

  it('limits the length of a paste', () => {
    const decoder = new KeyDecoder()
    const inputs = [
      ...decoder.push(Buffer.from('\u{1b}[200~')),
      ...Array.from({ length: 40 }, () => decoder.push(Buffer.alloc(10_000, 'x'))).flat(),
      ...decoder.push(Buffer.from('\u{1b}[201~y')),
    ]
    expect(inputs).toEqual([{ kind: 'paste', text: 'x'.repeat(MOST_PASTE) }, text('y')])
  })
})
