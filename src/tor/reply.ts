/** Cuts the bytes of a control port into replies and events (control-spec.txt, section 2.3). */

/** The longest reply or event. Most have a few hundred bytes; the relays of a private network are some thousand. */
const MAX_REPLY_BYTES = 65_536

export class ReplyReader {
  #rest = ''
  #lines: string[] = []
  #bytes = 0
  /** Inside the data after a `250+key=`, which ends with a line of one dot. */
  #inData = false
  #broken = false

  /** The form or the bound is broken; nothing is read any more. */
  get isBroken(): boolean {
    return this.#broken
  }

  /** Returns the replies and events that the chunk completes; `status` is the first digit. */
  read(chunk: string): { readonly status: string; readonly lines: readonly string[] }[] {
    const replies: { status: string; lines: string[] }[] = []
    if (this.#broken) return replies
    const cut = (this.#rest + chunk).split('\r\n')
    this.#rest = cut.pop() ?? ''
    for (const line of cut) {
      this.#bytes += line.length + 2
      if (this.#bytes > MAX_REPLY_BYTES) this.#broken = true
      if (this.#broken) return replies
      if (this.#inData) {
        if (line === '.') this.#inData = false
        else this.#lines.push(line.startsWith('.') ? line.slice(1) : line)
        continue
      }
      const [, status, kind, text] = /^(\d)\d\d([ +-])(.*)$/.exec(line) ?? []
      if (status === undefined || text === undefined) {
        this.#broken = true
        return replies
      }
      this.#lines.push(text)
      this.#inData = kind === '+'
      if (kind !== ' ') continue
      replies.push({ status, lines: this.#lines })
      this.#lines = []
      this.#bytes = 0
    }
    if (this.#bytes + this.#rest.length > MAX_REPLY_BYTES) this.#broken = true
    return replies
  }
}
