/**
 * The account of a soak: which texts and files were sent, and how often each of them was shown. Without I/O. A text is
 * owed once its sender's client said that a relay holds it, and also if that client never died after the text. If a
 * client dies before, the text may get lost with it. A text may be shown a second time only if the receiver's client
 * died before it confirmed the first showing.
 */

/** A text or a file on its way from one person to another. */
interface Item {
  readonly from: string
  readonly to: string
  /** The whole text; the SHA-256 of a file. */
  readonly content: string
  owed: boolean
  /** The sender's client died before it said that a relay has the text. */
  orphaned: boolean
  confirmed: boolean
  shown: number
  /** The receiver's client died after it showed the item, and before the sender learnt so. */
  mayRepeat: boolean
}

export class Ledger {
  readonly #items = new Map<string, Item>()
  readonly #problems: string[] = []
  readonly #watchers = new Set<() => void>()
  /** How often a text was shown again after its receiver had died. */
  repeats = 0
  confirmations = 0
  /** Remarks beside shown texts: that the one before is missing, or that it is late. */
  readonly remarks = { gap: 0, late: 0 }

  /** A client gets a text or file to send. */
  sent(id: string, from: string, to: string, content: string): void {
    const fresh = { owed: false, orphaned: false, confirmed: false, shown: 0, mayRepeat: false }
    this.#items.set(id, { from, to, content, ...fresh })
  }

  /** The sender's client says that a relay holds it. */
  held(id: string): void {
    const item = this.#items.get(id)
    if (item === undefined) return this.fail(`a client said that a relay holds ${id}, which was never sent`)
    item.owed = true
  }

  /** The sender's client says that the receiver has it. */
  confirmed(id: string): void {
    this.held(id)
    const item = this.#items.get(id)
    if (item === undefined || item.confirmed) return
    item.confirmed = true
    this.confirmations++
    this.#tell()
  }

  /** The sender's client says that it could not send it: it may arrive or not. */
  released(id: string): void {
    const item = this.#items.get(id)
    if (item !== undefined) item.orphaned = true
    this.#tell()
  }

  /** The receiver's client shows it. @param isRight compares the visible part with the content */
  shown(id: string, by: string, isRight: (content: string) => boolean = () => true): void {
    const item = this.#items.get(id)
    if (item === undefined) return this.fail(`${by} was shown ${id}, which was never sent`)
    if (item.to !== by) return this.fail(`${by} was shown ${id}, which is for ${item.to}`)
    if (!isRight(item.content)) this.fail(`${by} was shown ${id} with another content`)
    item.shown++
    if (item.shown > 1) {
      if (item.mayRepeat) this.repeats++
      else this.fail(`${by} was shown ${id} twice`)
    }
    item.mayRepeat = false
    this.#tell()
  }

  /** The client of a person has died, and all of its output was read. */
  died(name: string): void {
    for (const item of this.#items.values()) {
      if (item.from === name && !item.owed) item.orphaned = true
      if (item.to === name && item.shown > 0 && !item.confirmed) item.mayRepeat = true
    }
  }

  fail(problem: string): void {
    this.#problems.push(problem)
    this.#tell()
  }

  /** Returns what must arrive and has not. */
  missing(): string[] {
    return [...this.#items].flatMap(([id, { shown, owed, orphaned }]) => (shown === 0 && (owed || !orphaned) ? [id] : []))
  }

  get count(): { readonly sent: number; readonly shown: number; readonly orphaned: number } {
    const items = [...this.#items.values()]
    return {
      sent: items.length,
      shown: items.filter(({ shown }) => shown > 0).length,
      orphaned: items.filter(({ shown, orphaned, owed }) => shown === 0 && orphaned && !owed).length,
    }
  }

  /** Returns the files whose senders do not know yet that they arrived. A client that ends before that reports a failure. */
  #unsure(): string[] {
    return [...this.#items].flatMap(([id, { confirmed }]) => (id.startsWith('f-') && !confirmed ? [id] : []))
  }

  /** Resolves once nothing is missing or in doubt, or something went wrong. @returns false if `seconds` pass before that */
  settled(seconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isSettled: boolean): void => {
        this.#watchers.delete(look)
        clearTimeout(timer)
        resolve(isSettled)
      }
      const look = (): void => {
        if (this.missing().length === 0 && this.#unsure().length === 0) end(true)
      }
      const timer = setTimeout(() => end(false), seconds * 1_000)
      this.#watchers.add(look)
      look()
    })
  }

  /** Returns each violation: what failed, and what is missing. */
  problems(): string[] {
    return [
      ...this.#problems,
      ...this.missing().map((id) => {
        const { from, to } = this.#items.get(id)!
        return `${id} of ${from} never reached ${to}`
      }),
    ]
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher()
  }
}
