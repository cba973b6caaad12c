/** Searches one target in a thread of its own, so that the main thread can end a run that hangs. */
import { parentPort, workerData } from 'node:worker_threads'
import { readCorpus, writeCorpus } from './corpus.ts'
import { Coverage } from './coverage.ts'
import { type Finding, Fuzzer, type Progress } from './fuzzer.ts'
import { seeded } from './random.ts'
import { bytesOf } from './target.ts'

export interface Task {
  readonly target: string
  readonly seconds: number
  readonly seed: number
  /** A counter of the runs, the input's length, then the input. */
  readonly shared: SharedArrayBuffer
}
export const HEAD_BYTES = 8

export type Report = { readonly kind: 'progress'; readonly progress: Progress } | { readonly kind: 'finding'; readonly finding: Finding }

const PROGRESS_MS = 10_000

if (parentPort !== null) {
  const port = parentPort
  const { target: name, seconds, seed, shared } = workerData as Task
  const head = new Uint32Array(shared, 0, 2)
  const room = new Uint8Array(shared, HEAD_BYTES)
  const coverage = new Coverage()
  coverage.start()
  // After the start of the coverage, so that it counts their blocks.
  const { loadTarget } = await import('./targets.ts')
  const target = await loadTarget(name)
  const tell = (report: Report): void => port.postMessage(report)
  const fuzzer = new Fuzzer(target, {
    random: seeded(seed),
    coverage,
    onInput(input) {
      head[0]!++
      head[1] = Math.min(input.length, room.length)
      room.set(input.subarray(0, room.length))
    },
    onFinding: (finding) => tell({ kind: 'finding', finding }),
  })
  await fuzzer.begin([...(await target.seeds()).map(bytesOf), ...readCorpus(target)])
  const end = performance.now() + seconds * 1_000
  for (let next = performance.now(); next < end;) {
    next = Math.min(end, next + PROGRESS_MS)
    await fuzzer.search(next)
    tell({ kind: 'progress', progress: fuzzer.progress })
  }
  writeCorpus(target, await fuzzer.distill())
  coverage.stop()
}
