/**
 * The names of a relay: those to keep, and those that it still has but is leaving. The first name of all counts for
 * clients that send none, so the names to keep come first.
 */
export class Names {
  /** The configured names that the relay is leaving. */
  readonly #configured: readonly string[]
  /** All names that it is leaving. */
  #leaving: readonly string[]
  #all: readonly string[]

  constructor(names: readonly string[], leaving: readonly string[]) {
    this.#configured = this.#leaving = Object.freeze([...leaving])
    this.#all = Object.freeze([...names, ...leaving])
  }

  get all(): readonly string[] {
    return this.#all
  }

  /**
   * Adds a name.
   *
   * @param instead a name that the relay no longer has; the new one takes its place
   * @param left names that the relay is leaving, beside the configured ones
   */
  add(name: string, instead: string | undefined, left: readonly string[]): void {
    const gone = [...this.#leaving, ...left, name]
    const at = instead === undefined ? -1 : this.#all.indexOf(instead)
    const before = this.#all.slice(0, Math.max(0, at)).filter((each) => !gone.includes(each))
    const after = this.#all.slice(at + 1).filter((each) => !gone.includes(each))
    this.#leaving = Object.freeze([...this.#configured, ...left].filter((each) => each !== name))
    const kept = at === -1 ? [...after, name] : [...before, name, ...after]
    this.#all = Object.freeze([...kept, ...this.#leaving])
  }

  /**
   * Returns the name to use instead of one that the relay is leaving, and undefined for any other name. It is an onion
   * address: `localhost` would be the client's own machine.
   */
  movedTo(name: string): string | undefined {
    if (!this.#leaving.includes(name)) return undefined
    return this.#all.find((each) => each.endsWith('.onion') && !this.#leaving.includes(each))
  }
}
