/** Cuts bytes into copies of the lengths in `cuts`, so that chunks share no memory. */
export function chunksOf(bytes: Uint8Array, cuts: Iterable<number>): Uint8Array[] {
  const chunks: Uint8Array[] = []
  const lengths = cuts[Symbol.iterator]()
  for (let at = 0; at < bytes.length;) {
    const { value, done } = lengths.next()
    const end = done === true ? bytes.length : Math.min(bytes.length, at + value)
    chunks.push(Uint8Array.from(bytes.subarray(at, end)))
    at = end
  }
  return chunks
}

/** Cuts into single bytes, for {@link chunksOf}. */
export const BYTE_BY_BYTE: Iterable<number> = {
  *[Symbol.iterator]() {
    for (;;) yield 1
  },
}
