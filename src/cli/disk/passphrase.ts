/** Passphrases: from the file that the environment names, or typed at the terminal without echo. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { addAbortSignal } from 'node:stream'
import { ReadStream } from 'node:tty'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'

/** Of a passphrase's file. */
const MOST_BYTES = 65_536

/** The passphrase in the file that ASFALEIA_PASSPHRASE_FILE names; undefined where it names none. @throws {CliError} */
export async function readPassphraseFile(io: Pick<Io, 'env'>): Promise<string | undefined> {
  const given = io.env['ASFALEIA_PASSPHRASE_FILE']
  if (given === undefined || given === '') return undefined
  try {
    // It may be a pipe, of a program that knows the passphrase.
    await using file = await open(given, 'r')
    const bytes = Buffer.alloc(MOST_BYTES)
    let length = 0
    for (let read = -1; read !== 0 && length < MOST_BYTES; length += read)
      ({ bytesRead: read } = await file.read(bytes, length, MOST_BYTES - length))
    if (length === MOST_BYTES) throw new CliError('the file that ASFALEIA_PASSPHRASE_FILE names is too large for a passphrase')
    return bytes.toString('utf8', 0, length).replace(/\r?\n$/, '')
  } catch (error) {
    throw error instanceof CliError ? error : new CliError('cannot read the file that ASFALEIA_PASSPHRASE_FILE names')
  }
}

/** Of a passphrase, in characters. */
const MOST_TYPED = 1_024
/** Control characters mean nothing in a passphrase, but for the tab. */
const MEANINGLESS = /(?!\t)\p{Cc}/u

/** From the terminal itself, prompt and answer, so that all three streams may be pipes; without echo. @throws {CliError} */
export async function askPassphrase(prompt: string, io: Pick<Io, 'signal'>): Promise<string> {
  let terminal: ReadStream
  let screen: number
  try {
    terminal = new ReadStream(openSync('/dev/tty', 'r'))
    screen = openSync('/dev/tty', 'w')
  } catch {
    throw new CliError('a passphrase is wanted, and there is no terminal to ask for it', {
      hint: 'ASFALEIA_PASSPHRASE_FILE may name a file that holds it',
    })
  }
  try {
    terminal.setRawMode(true)
    addAbortSignal(io.signal, terminal)
    writeSync(screen, `${sanitizeLine(prompt)}: `)
    let typed: string[] = []
    for await (const chunk of terminal.setEncoding('utf8')) {
      for (const character of chunk as string) {
        if (character === '\r' || character === '\n') return typed.join('')
        // Raw mode hands us Ctrl-C and Ctrl-D instead of the signal and the end.
        if (character === '\u{3}' || character === '\u{4}') throw new CliError('no passphrase was given')
        if (character === '\u{7f}' || character === '\b') typed.pop()
        else if (character === '\u{15}') typed = []
        else if (!MEANINGLESS.test(character)) typed.push(character)
        if (typed.length > MOST_TYPED) throw new CliError('that is too long for a passphrase')
      }
    }
    throw new CliError('no passphrase was given')
  } catch (error) {
    throw io.signal.aborted ? new CliError('interrupted') : error
  } finally {
    // Before the stream is gone, which an abort destroys: the mode is the terminal's, and stays.
    terminal.setRawMode(false)
    terminal.destroy()
    writeSync(screen, '\n')
    closeSync(screen)
  }
}

/**
 * A passphrase for something new: from the file that ASFALEIA_PASSPHRASE_FILE names, else asked for twice.
 * @param hint for an empty one
 * @throws {CliError}
 */
export async function newPassphrase(prompt: string, hint: string, io: Pick<Io, 'env' | 'signal'>): Promise<string> {
  const given = await readPassphraseFile(io)
  const passphrase = given ?? (await askPassphrase(prompt, io))
  if (passphrase === '') throw new CliError('the passphrase is empty', { hint })
  if (given === undefined && (await askPassphrase('again', io)) !== passphrase) throw new CliError('the passphrases differ')
  return passphrase
}
