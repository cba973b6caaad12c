/**
 * Text of `name: value` lines that people read and edit: the profile, and what stands after a card in a contact's file.
 * Lines that mean nothing here (comments, names of later versions) stay where they are when the text is written again.
 */

const LINE = /^([a-z][a-z0-9-]{0,31}):[ \t]*(.*?)[ \t]*$/

export class Fields {
  readonly #lines: string[]

  /** Line breaks may be CRLF, as an editor of another system leaves them. */
  constructor(text = '') {
    this.#lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
    while (this.#lines.at(-1) === '') this.#lines.pop()
  }

  /** The values of all lines of that name, in their order. */
  all(name: string): string[] {
    return this.#lines.map((line) => LINE.exec(line)).flatMap((match) => (match?.[1] === name ? [match[2]!] : []))
  }

  /** Puts lines of that name where the first one was, or at the end; without values they go. */
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
