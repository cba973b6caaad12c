/**
 * Loaded into each client of a soak (`node --expose-gc --import probe.mjs`): on a word of the soak, it collects garbage
 * and reports the memory that is in use, or writes a snapshot of the heap.
 */
import { writeHeapSnapshot } from 'node:v8'

export type Word = { readonly kind: 'collect' } | { readonly kind: 'snapshot'; readonly path: string }
/** Bytes in use after the collection. */
export type Answer = { readonly kind: 'live'; readonly live: number } | { readonly kind: 'snapshot' }

process.on('message', (word: Word) => {
  if (word.kind === 'snapshot') {
    writeHeapSnapshot(word.path)
    process.send?.({ kind: 'snapshot' } satisfies Answer)
    return
  }
  // The first collection frees memory in the background, and the second waits for that.
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  process.send?.({ kind: 'live', live: heapUsed + external } satisfies Answer)
})
// The channel must not keep the client alive.
process.channel?.unref()
