/** QR codes for a telephone's camera: as blocks of a terminal, and as a picture. */
import qrcode from 'qrcode'
import { CliError } from './error.ts'
import type { Io } from './io.ts'

/** The least correction, since a card is long: screens and paper are read well. */
const OPTIONS = { errorCorrectionLevel: 'L' } as const

/** On a terminal in explicit black and white. @throws {CliError} where the text is too long for any code */
export async function drawCode(text: string, io: Pick<Io, 'stdout'>): Promise<string> {
  measure(text)
  return io.stdout.isTTY
    ? qrcode.toString(text, { ...OPTIONS, type: 'terminal', small: true })
    : qrcode.toString(text, { ...OPTIONS, type: 'utf8' })
}

/** Says where the terminal is too narrow for the code of a text: broken lines are no code. @throws {CliError} */
export function checkWidth(text: string, io: Pick<Io, 'stdout'>): void {
  // Four modules on either side are the quiet zone, which a camera needs.
  const width = measure(text) + 8
  const { isTTY, columns } = io.stdout as Io['stdout'] & { readonly columns?: number }
  if (isTTY !== true || columns === undefined || columns >= width) return
  throw new CliError(`the QR code is ${width} columns wide, and this terminal ${columns}`, {
    hint: 'make it wider, or its letters smaller; --png writes a picture',
  })
}

/** @throws {CliError} where the text is too long for any code */
export async function encodePicture(text: string): Promise<Buffer> {
  measure(text)
  return qrcode.toBuffer(text, { ...OPTIONS, type: 'png', margin: 4, scale: 6 })
}

/** Modules of a side. */
function measure(text: string): number {
  try {
    return qrcode.create(text, OPTIONS).modules.size
  } catch {
    throw new CliError('that is too large for a QR code', { hint: 'give it as a text; the card of an ed25519 key is small enough' })
  }
}
