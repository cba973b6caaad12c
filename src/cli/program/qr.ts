/** QR codes for the camera of a phone: drawn on a terminal, or written as a PNG picture. */
import { crc32, deflateSync } from 'node:zlib'
import { CliError } from './error.ts'
import type { Io } from './io.ts'

/** The light margin around a code that a camera needs, in modules (ISO/IEC 18004, 5.3.8). */
const MARGIN = 4
/** Pixels for one side of a module in a picture. */
const SCALE = 6

/**
 * Draws the code of a text with half blocks, on a terminal in black and white.
 * @throws {CliError} if the text is too long
 */
export async function drawCode(text: string, io: Pick<Io, 'stdout'>): Promise<string> {
  const rows = await encode(text)
  const lines: string[] = []
  for (let y = 0; y < rows.length; y += 2) {
    const upper = rows[y]!
    const lower = rows[y + 1] ?? []
    lines.push(upper.map((isDark, x) => (isDark ? (lower[x] === true ? '█' : '▀') : lower[x] === true ? '▄' : ' ')).join(''))
  }
  // Colours: black on white, so that the colours of the terminal do not matter.
  return io.stdout.isTTY === true ? lines.map((line) => `\u001b[30;47m${line}\u001b[0m`).join('\n') : lines.join('\n')
}

/**
 * Checks that the code of a text fits into the width of the terminal, and announces a code that is higher.
 * @throws {CliError} if it is wider
 */
export async function checkSize(text: string, io: Pick<Io, 'stdout' | 'stderr'>): Promise<void> {
  const width = (await encode(text)).length
  const { isTTY, columns, rows } = io.stdout as Io['stdout'] & { readonly columns?: number; readonly rows?: number }
  if (isTTY !== true || columns === undefined) return
  if (columns < width) {
    throw new CliError(`the QR code is ${width} columns wide, but this terminal has ${columns}`, {
      hint: 'make the terminal wider or its font smaller, or write a picture with --png FILE',
    })
  }
  // A line shows two rows of the code.
  const height = Math.ceil(width / 2)
  if (rows !== undefined && rows < height)
    io.stderr.write(`asfaleia: the QR code has ${height} lines, and this terminal ${rows}: make it higher, or its font smaller\n`)
}

/** Encodes the code of a text as a PNG picture. @throws {CliError} if the text is too long */
export async function encodePicture(text: string): Promise<Buffer> {
  const rows = await encode(text)
  const width = rows.length * SCALE
  // Each line begins with its filter type, 0 for none. A set bit is white.
  const line = Buffer.alloc(1 + Math.ceil(width / 8))
  const lines = rows.flatMap((row) => {
    line.fill(0)
    for (let x = 0; x < width; x++) if (row[Math.floor(x / SCALE)] !== true) line[1 + (x >> 3)]! |= 0x80 >> (x & 7)
    return Array<Buffer>(SCALE).fill(Buffer.from(line))
  })
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(width, 4)
  // Bit depth 1; colour type, compression, filter and interlace method are 0.
  header[8] = 1
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(Buffer.concat(lines))), chunk('IEND', Buffer.alloc(0))])
}

/** Encodes a chunk of a PNG file: length, type, data and checksum. */
function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const framed = Buffer.alloc(body.length + 8)
  framed.writeUInt32BE(data.length, 0)
  body.copy(framed, 4)
  framed.writeUInt32BE(crc32(body), framed.length - 4)
  return framed
}

/**
 * Returns the rows of the code with its margin; true is a dark module. Uses the lowest error correction, because
 * cards are long.
 */
async function encode(text: string): Promise<boolean[][]> {
  const { encodeQR } = await import('qr')
  try {
    return encodeQR(text, 'raw', { ecc: 'low', border: MARGIN })
  } catch {
    throw new CliError('the text is too long for a QR code', {
      hint: 'pass it on as text; the card of an ed25519 key is short enough for a code',
    })
  }
}
