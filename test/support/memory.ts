/**
 * Searches the memory of another process: every writable mapping of /proc/PID/maps, read through /proc/PID/mem,
 * swapped-out pages included. Linux only; the process must belong to this user or this user must be root. The
 * process should be idle, because it runs while it is read.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

const PAGE = 4_096
const PIECE = 1 << 20
/** Bits 63 and 62 of a page's entry: in memory, or in swap (Documentation/admin-guide/mm/pagemap.rst). */
const PRESENT = 0xc0

export interface Sighting {
  /** The mapping's name, such as `[heap]`; '' for anonymous memory. */
  readonly map: string
  readonly address: number
  /** The bytes around the place, with control characters as dots. */
  readonly around: string
}

export interface Scan {
  /** The number of bytes read. */
  readonly bytes: number
  /** The places of each needle, by its name. */
  readonly seen: Readonly<Record<string, readonly Sighting[]>>
}

/** @param needles by name, each at least 8 bytes long, so that no match is accidental */
export function scanMemory(pid: number, needles: Readonly<Record<string, Uint8Array>>): Scan {
  const names = Object.keys(needles)
  const seen: Record<string, Sighting[]> = Object.fromEntries(names.map((name) => [name, []]))
  const longest = Math.max(...names.map((name) => needles[name]!.length))
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const pages = openSync(`/proc/${pid}/pagemap`, 'r')
  const buffer = Buffer.alloc(PIECE + longest)
  let bytes = 0
  const look = (map: string, start: number, end: number): void => {
    // Pieces overlap, so that no needle is cut in two.
    for (let at = start; at < end; at += PIECE) {
      const length = readPiece(memory, buffer.subarray(0, Math.min(PIECE + longest - 1, end - at)), at)
      const piece = buffer.subarray(0, length)
      bytes += Math.min(length, PIECE)
      for (const name of names) {
        for (let found = piece.indexOf(needles[name]!); found !== -1 && found < PIECE; found = piece.indexOf(needles[name]!, found + 1)) {
          const around = piece.toString('latin1', Math.max(0, found - 32), found + 64).replaceAll(/[^ -~]/g, '.')
          seen[name]!.push({ map, address: at + found, around })
        }
      }
    }
  }
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
      const [, from, to, map = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+\s*(.*)$/.exec(line) ?? []
      if (from === undefined || to === undefined) continue
      for (const [start, end] of presentRanges(pages, Number.parseInt(from, 16), Number.parseInt(to, 16))) look(map, start, end)
    }
  } finally {
    closeSync(memory)
    closeSync(pages)
  }
  return { bytes, seen }
}

/** Returns how much could be read at `at`; the mapping may be gone by now. */
function readPiece(memory: number, buffer: Buffer, at: number): number {
  try {
    return readSync(memory, buffer, 0, buffer.length, at)
  } catch {
    return 0
  }
}

/** Returns the parts of a mapping that hold data: V8 reserves far more than it uses. */
function presentRanges(pages: number, from: number, to: number): [number, number][] {
  const entries = Buffer.alloc(((to - from) / PAGE) * 8)
  const length = readSync(pages, entries, 0, entries.length, (from / PAGE) * 8)
  const ranges: [number, number][] = []
  for (let entry = 0; entry < length; entry += 8) {
    if ((entries[entry + 7]! & PRESENT) === 0) continue
    const start = from + (entry / 8) * PAGE
    const last = ranges.at(-1)
    if (last?.[1] === start) last[1] += PAGE
    else ranges.push([start, start + PAGE])
  }
  return ranges
}
