/**
 * A terminal as a screen: it takes frames and writes the rows that changed. `enter` takes over the terminal, and
 * `leave` restores it: main screen, cursor, wrapping, paste and key modes. It writes only its own sequences, and text
 * that went through src/cli/chat/text.ts.
 */
import { graphemes, type Role, type Row, widthOf } from './text.ts'
import type { Frame } from './view.ts'

/** The output of a screen. */
export interface Output {
  write(text: string, done?: () => void): unknown
}

export interface ScreenOptions {
  readonly color: boolean
  readonly mouse: boolean
  /** Whether to request the key modes of newer terminals; an old console would print such requests. */
  readonly modern: boolean
}

const CSI = '\u{1b}['

/** Without colour: weight alone. */
const PLAIN_STYLES: Readonly<Record<Role, string>> = {
  plain: '',
  dim: '2',
  strong: '1',
  me: '1',
  them: '1',
  good: '2',
  warn: '1',
  bad: '1;4',
  bar: '7',
  open: '1',
  chosen: '7',
  match: '7',
  link: '4',
}
/** With the terminal's own sixteen colours, which the user chose. */
const STYLES: Readonly<Record<Role, string>> = {
  plain: '',
  dim: '2',
  strong: '1',
  me: '1;36',
  them: '1;32',
  good: '32',
  warn: '33',
  bad: '1;31',
  bar: '7',
  open: '1;36',
  chosen: '7',
  match: '30;43',
  link: '4',
}

export class Screen {
  readonly #output: Output
  readonly #options: ScreenOptions
  #shown: readonly string[] = []
  #entered = false

  constructor(output: Output, options: ScreenOptions) {
    this.#output = output
    this.#options = options
  }

  get entered(): boolean {
    return this.#entered
  }

  /** Takes over the terminal. */
  enter(): void {
    if (this.#entered) return
    this.#entered = true
    this.#shown = []
    const { mouse, modern } = this.#options
    // The alternate screen; no wrapping, so that an unexpectedly wide character shifts nothing; reports of pastes and
    // focus; and key modes that distinguish keys such as Alt+Enter.
    this.#output.write(
      `${CSI}?1049h${CSI}?7l${CSI}?2004h${CSI}?1004h${mouse ? `${CSI}?1000h${CSI}?1006h` : ''}${modern ? `${CSI}>1u${CSI}>4;1m` : ''}${CSI}2J`,
    )
  }

  /** Restores the terminal. Does nothing if it was not taken over. */
  leave(): void {
    if (!this.#entered) return
    this.#entered = false
    const { mouse, modern } = this.#options
    this.#output.write(
      `${CSI}?2026l${modern ? `${CSI}>4m${CSI}<u` : ''}${mouse ? `${CSI}?1006l${CSI}?1000l` : ''}${CSI}?1004l${CSI}?2004l${CSI}?7h${CSI}0m${CSI}?25h${CSI}?1049l`,
    )
  }

  /** Shows a text alone, wrapped by the terminal itself: it then copies a long line as one. */
  alone(text: string): void {
    const { mouse } = this.#options
    this.#shown = []
    this.#output.write(`${mouse ? `${CSI}?1000l` : ''}${CSI}0m${CSI}2J${CSI}H${CSI}?7h${text.replaceAll('\n', '\r\n')}`)
  }

  /** Ends {@link alone}. */
  resume(): void {
    this.#output.write(`${CSI}?7l${this.#options.mouse ? `${CSI}?1000h` : ''}`)
  }

  /** Makes the next frame redraw everything. */
  forget(): void {
    this.#shown = []
  }

  /** @param done called when the terminal has the frame */
  draw(frame: Frame, done?: () => void): void {
    const rows = frame.rows.map((row) => encodeRow(row, this.#options.color))
    // After a resize, the old rows are invalid.
    const all = this.#shown.length !== rows.length
    let changes = all ? `${CSI}0m${CSI}2J` : ''
    for (const [index, row] of rows.entries()) {
      if (all ? row !== '' : row !== this.#shown[index]) changes += `${CSI}${index + 1};1H${CSI}0m${CSI}2K${row}`
    }
    this.#shown = rows
    const { cursor } = frame
    const place = cursor === undefined ? `${CSI}?25l` : `${CSI}0m${CSI}${cursor.row + 1};${cursor.column + 1}H${CSI}?25h`
    // Synchronized output: terminals that support it show the frame at once. Others hide the cursor meanwhile.
    this.#output.write(changes === '' ? place : `${CSI}?2026h${CSI}?25l${changes}${place}${CSI}?2026l`, done)
  }

  /** Notifies the user that a message came, without its text or sender. */
  notify(): void {
    this.#output.write(NOTIFICATION)
  }
}

/** The bell, and OSC 9, which some terminals show on the desktop. */
export const NOTIFICATION = '\u{7}\u{1b}]9;a new message\u{7}'

const ASCII = /^[\x20-\x7e]*$/

/** Encodes a row. Sets the column after each character whose width terminals disagree about. */
function encodeRow(row: Row, color: boolean): string {
  const styles = color ? STYLES : PLAIN_STYLES
  let text = ''
  let column = 0
  let style = ''
  for (const span of row) {
    const own = styles[span.role]
    if (own !== style) text += `${CSI}0${own === '' ? '' : `;${own}`}m`
    style = own
    if (ASCII.test(span.text)) {
      text += span.text
      column += span.text.length
      continue
    }
    for (const grapheme of graphemes(span.text)) {
      text += grapheme
      column += widthOf(grapheme)
      if (!SURE.test(grapheme)) text += `${CSI}${column + 1}G`
    }
  }
  return text.trimEnd() === '' && style === '' ? '' : text
}

/** Characters of one cell in every terminal: printable ASCII, Latin, lines. */
const SURE = /^[\x20-\x7e\u{a1}-\u{ac}\u{ae}-\u{17f}\u{2500}-\u{257f}]$/u
