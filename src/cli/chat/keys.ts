/**
 * Decodes the bytes of a terminal into keys, text and pastes. The same bytes mean the same however they are cut into
 * chunks, with one exception: an ESC may stand alone or begin a sequence. `pending` reports such an open end, and the
 * caller ends it with `flush` if nothing follows in time. Source: xterm's ctlseqs, and kitty's keyboard protocol (its
 * first flag).
 */

export type KeyInput =
  /** Modifiers in the order ctrl, alt, shift: `enter`, `ctrl+a`, `alt+enter`, `ctrl+shift+left`. */
  | { readonly kind: 'key'; readonly chord: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'paste'; readonly text: string }
  | { readonly kind: 'focus'; readonly focused: boolean }
  /** Zero-based cells. */
  | { readonly kind: 'mouse'; readonly action: 'up' | 'down' | 'press'; readonly row: number; readonly column: number }

const ESC = 0x1b
/** The longest sequence, in bytes. */
const MOST_SEQUENCE = 64
/** The longest paste, in bytes; the rest of a longer one is dropped. */
export const MOST_PASTE = 262_144

const LETTERS: Readonly<Record<string, string>> = {
  A: 'up',
  B: 'down',
  C: 'right',
  D: 'left',
  E: 'begin',
  F: 'end',
  H: 'home',
  M: 'enter',
  P: 'f1',
  Q: 'f2',
  R: 'f3',
  S: 'f4',
}
const NUMBERS: Readonly<Record<number, string>> = {
  1: 'home',
  2: 'insert',
  3: 'delete',
  4: 'end',
  5: 'pageup',
  6: 'pagedown',
  7: 'home',
  8: 'end',
  11: 'f1',
  12: 'f2',
  13: 'f3',
  14: 'f4',
  15: 'f5',
  17: 'f6',
  18: 'f7',
  19: 'f8',
  20: 'f9',
  21: 'f10',
  23: 'f11',
  24: 'f12',
}
/** Keys by their code, in kitty's protocol and xterm's modifyOtherKeys. */
const CODES: Readonly<Record<number, string>> = {
  9: 'tab',
  13: 'enter',
  27: 'escape',
  32: 'space',
  127: 'backspace',
  57_414: 'enter',
  57_417: 'left',
  57_418: 'right',
  57_419: 'up',
  57_420: 'down',
  57_421: 'pageup',
  57_422: 'pagedown',
  57_423: 'home',
  57_424: 'end',
  57_426: 'delete',
}
const LINUX_CONSOLE: Readonly<Record<string, string>> = { A: 'f1', B: 'f2', C: 'f3', D: 'f4', E: 'f5' }

const PASTE_END = Buffer.from('\u{1b}[201~', 'latin1')

export class KeyDecoder {
  #bytes = Buffer.alloc(0)
  #paste: { parts: Buffer[]; length: number } | undefined

  /** Whether the bytes so far may be complete, or the beginning of a sequence. */
  get pending(): boolean {
    return this.#bytes.length > 0 && this.#paste === undefined
  }

  push(chunk: Uint8Array): KeyInput[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    return this.#decode(false)
  }

  /** Decodes the pending bytes as complete. */
  flush(): KeyInput[] {
    return this.#decode(true)
  }

  #decode(whole: boolean): KeyInput[] {
    const inputs: KeyInput[] = []
    const emit = (input: KeyInput): void => {
      const last = inputs.at(-1)
      if (input.kind === 'text' && last?.kind === 'text') inputs[inputs.length - 1] = { kind: 'text', text: last.text + input.text }
      else inputs.push(input)
    }
    let at = 0
    for (;;) {
      if (this.#paste !== undefined) {
        const next = this.#takePaste(at, this.#paste, emit)
        if (next === undefined) break
        at = next
        continue
      }
      if (at >= this.#bytes.length) {
        this.#bytes = this.#bytes.subarray(0, 0)
        break
      }
      const taken = this.#take(at, whole, emit)
      if (taken === 0) {
        this.#bytes = this.#bytes.subarray(at)
        break
      }
      at += taken
    }
    return inputs
  }

  /** Decodes one input at `at`. @returns the number of bytes it took; 0 if more must come */
  #take(at: number, whole: boolean, emit: (input: KeyInput) => void): number {
    const byte = this.#bytes[at]!
    if (byte === ESC) return this.#takeEscape(at, whole, emit)
    if (byte < 0x20 || byte === 0x7f) {
      emit({ kind: 'key', chord: controlChord(byte) })
      return 1
    }
    const [text, length] = this.#takeCharacter(at, whole)
    if (length > 0) emit({ kind: 'text', text })
    return length
  }

  #takeCharacter(at: number, whole: boolean): [text: string, length: number] {
    const first = this.#bytes[at]!
    const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1
    const bytes = this.#bytes.subarray(at, at + length)
    const wrong = bytes.subarray(1).findIndex((each) => (each & 0xc0) !== 0x80)
    if (wrong !== -1) return ['\u{fffd}', wrong + 1]
    if (bytes.length < length && !whole) return ['', 0]
    return [bytes.toString('utf8'), bytes.length]
  }

  #takeEscape(at: number, whole: boolean, emit: (input: KeyInput) => void): number {
    const rest = this.#bytes.subarray(at + 1)
    const [next] = rest
    if (next === undefined) {
      if (!whole) return 0
      emit({ kind: 'key', chord: 'escape' })
      return 1
    }
    switch (next) {
      case 0x5b: // [
        return this.#takeCsi(at, whole, emit)
      case 0x4f: {
        // O
        const [, modifier = '', letter] = /^O(\d?)([A-Za-z])/.exec(rest.toString('latin1', 0, 3)) ?? []
        const name = letter === undefined ? undefined : LETTERS[letter]
        if (letter === undefined && !whole && rest.length < 3) return 0
        emit({ kind: 'key', chord: name === undefined ? 'alt+O' : chordOf(name, Number(modifier || 1)) })
        return name === undefined ? 2 : 2 + modifier.length + 1
      }
      case 0x5d: // ], P, _, ^: strings that answer queries; the chat makes none
      case 0x50:
      case 0x5f:
      case 0x5e:
        return this.#takeString(at, whole, emit)
      case ESC: {
        // Alt with a key that sends a sequence, or Esc twice.
        if (rest[1] === undefined && !whole) return 0
        if (rest[1] !== 0x5b && rest[1] !== 0x4f) {
          emit({ kind: 'key', chord: 'escape' })
          return 1
        }
        const inner: KeyInput[] = []
        const taken = this.#takeEscape(at + 1, whole, (input) => inner.push(input))
        for (const input of inner) emit(input.kind === 'key' ? { kind: 'key', chord: addAlt(input.chord) } : input)
        return taken === 0 ? 0 : taken + 1
      }
      default: {
        if (next < 0x20 || next === 0x7f) {
          emit({ kind: 'key', chord: addAlt(controlChord(next)) })
          return 2
        }
        const [text, length] = this.#takeCharacter(at + 1, whole)
        if (length === 0) return 0
        emit({ kind: 'key', chord: `alt+${text}` })
        return 1 + length
      }
    }
  }

  #takeCsi(at: number, whole: boolean, emit: (input: KeyInput) => void): number {
    const text = this.#bytes.toString('latin1', at + 2, at + 2 + MOST_SEQUENCE)
    // F1 to F5 of the Linux console do not follow the standard's form.
    const [, console] = /^\[([A-E])/.exec(text) ?? []
    if (console !== undefined) {
      emit({ kind: 'key', chord: LINUX_CONSOLE[console]! })
      return 4
    }
    if (text === '[' && !whole) return 0
    const [sequence, parameters = '', final = ''] = /^([0-?]*)[ -/]*([@-~])/.exec(text) ?? []
    if (sequence === undefined) {
      if (text.length < MOST_SEQUENCE && !whole && /^[0-?]*[ -/]*$/.test(text)) return 0
      if (text === '') emit({ kind: 'key', chord: 'alt+[' })
      // Skip an invalid sequence up to its first invalid byte.
      return 2 + (/^[0-?]*[ -/]*/.exec(text)?.[0].length ?? 0)
    }
    const input = csiInput(parameters, final)
    if (parameters === '200' && final === '~') this.#paste = { parts: [], length: 0 }
    else if (input !== undefined) emit(input)
    return 2 + sequence.length
  }

  #takeString(at: number, whole: boolean, emit: (input: KeyInput) => void): number {
    const text = this.#bytes.toString('latin1', at + 2, at + 2 + 4_096)
    const ends = ['\u{7}', '\u{1b}\\'].map((end) => ({ at: text.indexOf(end), end })).filter(({ at }) => at !== -1)
    const [first] = ends.toSorted((a, b) => a.at - b.at)
    if (first !== undefined) return 2 + first.at + first.end.length
    if (!whole && text.length < 4_096) return 0
    if (text === '') emit({ kind: 'key', chord: `alt+${String.fromCodePoint(this.#bytes[at + 1]!)}` })
    return 2 + text.length
  }

  /** @returns the index after the paste; undefined if it continues in the next chunk */
  #takePaste(at: number, paste: { parts: Buffer[]; length: number }, emit: (input: KeyInput) => void): number | undefined {
    const end = this.#bytes.indexOf(PASTE_END, at)
    // The end marker may be split between this chunk and the next.
    const until = end === -1 ? Math.max(at, this.#bytes.length - PASTE_END.length + 1) : end
    const part = Buffer.from(this.#bytes.subarray(at, Math.min(until, at + MOST_PASTE - paste.length)))
    paste.parts.push(part)
    paste.length += part.length
    if (end === -1) {
      this.#bytes = this.#bytes.subarray(until)
      return undefined
    }
    this.#paste = undefined
    emit({ kind: 'paste', text: Buffer.concat(paste.parts).toString('utf8') })
    return end + PASTE_END.length
  }
}

function csiInput(parameters: string, final: string): KeyInput | undefined {
  const mouse = /^<(\d+);(\d+);(\d+)$/.exec(parameters)
  if (mouse !== null) return mouseInput(Number(mouse[1]), Number(mouse[2]), Number(mouse[3]), final)
  if (parameters === '' && final === 'I') return { kind: 'focus', focused: true }
  if (parameters === '' && final === 'O') return { kind: 'focus', focused: false }
  if (parameters === '' && final === 'Z') return { kind: 'key', chord: 'shift+tab' }
  if (!/^[\d;:]*$/.test(parameters)) return undefined
  const fields = parameters.split(';').map((field) => Number(field.split(':')[0]))
  const [first = 0, modifier = 1, third = 0] = fields
  if (final === 'u') return codeInput(first, modifier || 1)
  if (final === '~') {
    if (first === 27) return codeInput(third, modifier || 1)
    const name = NUMBERS[first]
    return name === undefined ? undefined : { kind: 'key', chord: chordOf(name, modifier || 1) }
  }
  const name = LETTERS[final]
  return name === undefined ? undefined : { kind: 'key', chord: chordOf(name, modifier || 1) }
}

/** Decodes a key by its code: kitty's `CSI code ; modifiers u`, xterm's `CSI 27 ; modifiers ; code ~`. */
function codeInput(code: number, modifier: number): KeyInput | undefined {
  const name = CODES[code]
  if (name !== undefined) return { kind: 'key', chord: chordOf(name, modifier) }
  // The rest of the private use area is for single modifiers, media keys and the like.
  if (code < 0x20 || (code >= 57_344 && code <= 63_743) || code > 0x10_ffff) return undefined
  const character = String.fromCodePoint(code)
  const chord = chordOf(character, modifier)
  return chord === character || chord === `shift+${character}` ? { kind: 'text', text: character } : { kind: 'key', chord }
}

function mouseInput(button: number, column: number, row: number, final: string): KeyInput | undefined {
  const place = { row: row - 1, column: column - 1 }
  if (button === 64) return { kind: 'mouse', action: 'up', ...place }
  if (button === 65) return { kind: 'mouse', action: 'down', ...place }
  return button === 0 && final === 'M' ? { kind: 'mouse', action: 'press', ...place } : undefined
}

/** @param modifier 1 plus the sum of shift 1, alt 2, ctrl 4; higher bits (super, locks) are ignored */
function chordOf(name: string, modifier: number): string {
  const bits = Math.max(0, modifier - 1)
  return `${(bits & 4) !== 0 ? 'ctrl+' : ''}${(bits & 2) !== 0 ? 'alt+' : ''}${(bits & 1) !== 0 ? 'shift+' : ''}${name}`
}

function addAlt(chord: string): string {
  if (chord.includes('alt+')) return chord
  return chord.startsWith('ctrl+') ? `ctrl+alt+${chord.slice(5)}` : `alt+${chord}`
}

function controlChord(byte: number): string {
  switch (byte) {
    case 0x00:
      return 'ctrl+space'
    case 0x08: // Backspace in some terminals
    case 0x7f:
      return 'backspace'
    case 0x09:
      return 'tab'
    case 0x0d:
      return 'enter'
    case ESC:
      return 'escape'
    default:
      return `ctrl+${String.fromCodePoint(byte + 0x40).toLowerCase()}`
  }
}
