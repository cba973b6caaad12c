/**
 * Text of `name: value` lines that people read and edit: the profile, and the lines after the card in a contact's file.
 * Unknown lines (comments, names from later versions) keep their places when the text is written again.
 */

const LINE = /^([a-z][a-z0-9-]{0,31}):[ \t]*(.*?)[ \t]*$/

export class Fields {
  readonly #lines: string[]

  /** @param text its line breaks may be CRLF, as editors on Windows write them, or CR */
  constructor(text = '') {
    this.#lines = text.replace(/^\uFEFF/, '').split(/\r\n?|\n/)
    while (this.#lines.at(-1) === '') this.#lines.pop()
  }

  /** Returns the values of all lines with that name, in order. */
  all(name: string): string[] {
    return this.#lines.map((line) => LINE.exec(line)).flatMap((match) => (match?.[1] === name ? [match[2]!] : []))
  }

  /** Returns the number of the first line that is neither a field, nor blank, nor a comment; counted from 1. */
  findBroken(): number | undefined {
    const at = this.#lines.findIndex((line) => !LINE.test(line) && !/^\s*(?:#|$)/.test(line))
    return at === -1 ? undefined : at + 1
  }

  /** Replaces all lines with that name by `values`, at the place of the first one, or else at the end. */
  set(name: string, ...values: readonly string[]): void {
    const isOld = (line: string): boolean => LINE.exec(line)?.[1] === name
    const first = this.#lines.findIndex(isOld)
    const at = first === -1 ? this.#lines.length : first
    const kept = this.#lines.filter((line) => !isOld(line))
    this.#lines.splice(0, Infinity, ...kept.slice(0, at), ...values.map((value) => `${name}: ${value}`), ...kept.slice(at))
  }

  toString(): string {
    return this.#lines.map((line) => `${line}\n`).join('')
  }
}
