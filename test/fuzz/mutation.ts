/** Makes new inputs out of old ones: of bytes, words, decimal numbers, lengths, and fields between separators. */
import type { Random } from './random.ts'

const BYTES = [0, 1, 0x0a, 0x0d, 0x20, 0x2d, 0x30, 0x3b, 0x3d, 0x7f, 0x80, 0xc3, 0xe2, 0xff]
const NUMBERS = ['0', '1', '-1', '00', '255', '256', '65535', '65536', '2147483648', '4294967295', '9007199254740992', '1e9', '']
const LENGTHS = [0, 1, 2, 3, 4, 31, 32, 33, 64, 127, 128, 255, 256, 65_535, 65_536, 0x7fffffff, 0x80000000, 0xffffffff]
const SEPARATORS = [0x0a, 0x3b, 0x20, 0x2c, 0x3a, 0x2f, 0x2e, 0x26, 0x22]
const MOST_STEPS = 6

/**
 * Repeats a short part of an input until it is long: a time that grows with the square of the length shows itself at
 * such an input.
 */
export function stretch(input: Uint8Array, random: Random, length: number): Uint8Array<ArrayBuffer> {
  const at = random(input.length + 1)
  const part = input.slice(at, at + 1 + random(1 << random(6)))
  if (part.length === 0) return Uint8Array.from(input)
  const times = Math.max(1, Math.ceil((length - input.length) / part.length))
  const repeated = new Uint8Array(part.length * times)
  for (let n = 0; n < times; n++) repeated.set(part, n * part.length)
  return splice(input, at, at, repeated)
}

/** Changes an input in one to six random steps, sometimes with parts of another input. */
export function mutate(
  input: Uint8Array,
  options: { readonly random: Random; readonly other: Uint8Array; readonly words: readonly Uint8Array[]; readonly longest: number },
): Uint8Array<ArrayBuffer> {
  const { random, longest } = options
  let bytes: Uint8Array<ArrayBuffer> = Uint8Array.from(input)
  for (let steps = 1 + random(random(MOST_STEPS) + 1); steps > 0; steps--) {
    bytes = STEPS[random(STEPS.length)]!(bytes, options)
    if (bytes.length > longest) bytes = bytes.slice(0, longest)
  }
  return bytes
}

type Step = (bytes: Uint8Array<ArrayBuffer>, options: Parameters<typeof mutate>[1]) => Uint8Array<ArrayBuffer>

/** Puts `part` in the place of the bytes from `start` to `end`. */
function splice(bytes: Uint8Array, start: number, end: number, part: Uint8Array): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(start + part.length + bytes.length - end)
  result.set(bytes.subarray(0, start))
  result.set(part, start)
  result.set(bytes.subarray(end), start + part.length)
  return result
}

/** Returns a range, short ones more often. */
function range(bytes: Uint8Array, random: Random): [start: number, end: number] {
  const start = random(bytes.length + 1)
  return [start, Math.min(bytes.length, start + random(1 << random(9)))]
}

/** Returns the range of a field between two separators of the same kind. */
function field(bytes: Uint8Array, random: Random, withEnd: boolean): [start: number, end: number] {
  const separator = SEPARATORS[random(SEPARATORS.length)]!
  const at = random(bytes.length + 1)
  const start = bytes.lastIndexOf(separator, at) + 1
  const end = bytes.indexOf(separator, Math.max(start, at))
  return [start, end === -1 ? bytes.length : withEnd ? end + 1 : end]
}

function writeLength(random: Random): Uint8Array {
  const length = LENGTHS[random(LENGTHS.length)]!
  const size = [1, 2, 4, 8][random(4)]!
  const bytes = new Uint8Array(size)
  for (let n = 0, rest = length; n < size; n++, rest = Math.floor(rest / 256)) bytes[size - 1 - n] = rest % 256
  return bytes
}

const STEPS: readonly Step[] = [
  // A bit, a byte, a byte by a little.
  (bytes, { random }) => {
    if (bytes.length > 0) bytes[random(bytes.length)]! ^= 1 << random(8)
    return bytes
  },
  (bytes, { random }) => {
    if (bytes.length > 0) bytes[random(bytes.length)] = random(2) === 0 ? BYTES[random(BYTES.length)]! : random(256)
    return bytes
  },
  (bytes, { random }) => {
    if (bytes.length > 0) bytes[random(bytes.length)]! += random(9) - 4
    return bytes
  },
  // Remove, repeat, insert.
  (bytes, { random }) => splice(bytes, ...range(bytes, random), new Uint8Array(0)),
  (bytes, { random }) => {
    const [start, end] = range(bytes, random)
    return splice(bytes, end, end, bytes.slice(start, end))
  },
  (bytes, { random }) => {
    const at = random(bytes.length + 1)
    const byte = BYTES[random(BYTES.length)]!
    return splice(
      bytes,
      at,
      at,
      Uint8Array.from({ length: 1 + random(1 << random(7)) }, () => (random(2) === 0 ? byte : random(256))),
    )
  },
  (bytes, { random }) => bytes.slice(0, random(bytes.length + 1)),
  // Words of the source.
  (bytes, { random, words }) => {
    if (words.length === 0) return bytes
    const [start, end] = random(2) === 0 ? field(bytes, random, false) : range(bytes, random)
    return splice(bytes, start, random(3) === 0 ? start : end, words[random(words.length)]!)
  },
  // A decimal number.
  (bytes, { random }) => {
    const digits = [...Buffer.from(bytes).toString('latin1').matchAll(/\d+/g)]
    const found = digits[random(digits.length || 1)]
    if (found === undefined) return bytes
    const value = random(2) === 0 ? NUMBERS[random(NUMBERS.length)]! : String(Number(found[0]) + random(5) - 2)
    return splice(bytes, found.index, found.index + found[0].length, Buffer.from(value))
  },
  // A length in binary.
  (bytes, { random }) => {
    const part = writeLength(random)
    const at = random(Math.max(1, bytes.length - part.length + 1))
    return splice(bytes, at, Math.min(bytes.length, at + part.length), part)
  },
  // Fields: remove, repeat, exchange.
  (bytes, { random }) => splice(bytes, ...field(bytes, random, true), new Uint8Array(0)),
  (bytes, { random }) => {
    const [start, end] = field(bytes, random, true)
    return splice(bytes, end, end, bytes.slice(start, end))
  },
  (bytes, { random }) => {
    const [start, end] = field(bytes, random, false)
    const [from, to] = field(bytes, random, false)
    return splice(bytes, start, end, bytes.slice(from, to))
  },
  // Parts of another input.
  (bytes, { random, other }) => splice(bytes, ...range(bytes, random), other.subarray(...range(other, random))),
  (bytes, { random, other }) => splice(bytes, ...field(bytes, random, false), other.subarray(...field(other, random, false))),
  (bytes, { random, other }) => splice(bytes, random(bytes.length + 1), bytes.length, other.subarray(random(other.length + 1))),
]
