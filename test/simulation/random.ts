/** A seeded source of random numbers (sfc32). It serves tests only: anyone who knows the seed knows every number. */

/** Hashes a text to 32 bits (FNV-1a, then a final mix), so that similar names give unrelated seeds. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

export class Random {
  #a: number
  #b: number
  #c: number
  #count = 1

  /** @param seed the same text gives the same numbers */
  constructor(seed: string) {
    this.#a = hashOf(`${seed} a`)
    this.#b = hashOf(`${seed} b`)
    this.#c = hashOf(`${seed} c`)
    for (let i = 0; i < 12; i++) this.word()
  }

  /** Returns 32 random bits. */
  word(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#count++) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    this.#c |= 0
    return sum >>> 0
  }

  /** Returns a number in [0, 1). */
  next(): number {
    return this.word() / 2 ** 32
  }

  /** Returns a whole number in [least, most]. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }

  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.next() * from.length)]!
  }

  /** Picks a name by its weight. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const all = Object.entries(weights) as [Name, number][]
    let left = this.next() * all.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of all) if ((left -= weight) < 0) return name
    return all.at(-1)![0]
  }

  /** Overwrites bytes with random ones. */
  drawInto(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 4) {
      const word = this.word()
      for (let i = 0; i < 4 && at + i < bytes.length; i++) bytes[at + i] = word >>> (8 * i)
    }
  }
}
