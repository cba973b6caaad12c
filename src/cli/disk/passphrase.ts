/** Reads passphrases: from the file in ASFALEIA_PASSPHRASE_FILE, or from the terminal without echo. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { addAbortSignal } from 'node:stream'
import { ReadStream } from 'node:tty'
import { systemHint, systemReason } from './system.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'

/** The variable of {@link readPassphraseFile}, for help texts. */
export const PASSPHRASE_VARIABLE = {
  ASFALEIA_PASSPHRASE_FILE: 'a file that holds the passphrase of a key or a backup; without it, the terminal asks for it',
} as const

/** The largest passphrase file. */
const MOST_BYTES = 65_536

/**
 * Reads the passphrase from the file in ASFALEIA_PASSPHRASE_FILE; undefined if the variable is not set. Like ssh-keygen
 * and openssl, takes its bytes as they are, without a line break at the end.
 * @throws {CliError}
 */
export async function readPassphraseFile(io: Pick<Io, 'env'>): Promise<Buffer | undefined> {
  const given = io.env['ASFALEIA_PASSPHRASE_FILE']
  if (given === undefined || given === '') return undefined
  try {
    // It may be a pipe, written by a password manager.
    await using file = await open(given, 'r')
    const bytes = Buffer.alloc(MOST_BYTES)
    let length = 0
    for (let read = -1; read !== 0 && length < MOST_BYTES; length += read)
      ({ bytesRead: read } = await file.read(bytes, length, MOST_BYTES - length))
    if (length === MOST_BYTES) throw new CliError('the file in ASFALEIA_PASSPHRASE_FILE is too large for a passphrase')
    return chomp(bytes.subarray(0, length))
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`cannot read the file in ASFALEIA_PASSPHRASE_FILE: ${systemReason(error)}`, systemHint(error))
  }
}

/** Removes one line break, LF or CR LF, from the end. */
export function chomp(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1)
}

/** Decodes a passphrase for uses that take text only. @throws {CliError} if it is not UTF-8 */
export function decodePassphrase(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new CliError('the passphrase is not UTF-8 text', { hint: 'write it again in UTF-8, or choose another one' })
  }
}

/** The longest passphrase that can be typed, in characters. */
const MOST_TYPED = 1_024
/** Control characters that typing ignores: all but the tab. */
const MEANINGLESS = /(?!\t)\p{Cc}/u

/**
 * Asks for a passphrase on /dev/tty, without echo, so that all three standard streams may be pipes.
 * @throws {CliError} if there is no terminal, or the user cancels
 */
export async function askPassphrase(prompt: string, io: Pick<Io, 'signal' | 'asks'>): Promise<string> {
  if (io.asks === false) throw new CliError('your key needs a passphrase')
  let terminal: ReadStream
  let screen: number
  try {
    terminal = new ReadStream(openSync('/dev/tty', 'r'))
    screen = openSync('/dev/tty', 'w')
  } catch {
    throw new CliError('a passphrase is needed, but there is no terminal to ask for it', {
      hint: 'name a file that holds it in ASFALEIA_PASSPHRASE_FILE',
    })
  }
  try {
    terminal.setRawMode(true)
    addAbortSignal(io.signal, terminal)
    writeSync(screen, `${sanitizeLine(prompt)}: `)
    let typed: string[] = []
    // The loop must not destroy the stream when it is left: a destroyed one cannot leave raw mode.
    for await (const chunk of terminal.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      for (const character of chunk as string) {
        if (character === '\r' || character === '\n') return typed.join('')
        // In raw mode Ctrl-C and Ctrl-D arrive as characters, not as a signal and the end.
        if (character === '\u{3}' || character === '\u{4}') throw new CliError('no passphrase entered')
        if (character === '\u{7f}' || character === '\b') typed.pop()
        else if (character === '\u{15}') typed = []
        else if (!MEANINGLESS.test(character)) typed.push(character)
        if (typed.length > MOST_TYPED) throw new CliError(`a passphrase has at most ${MOST_TYPED} characters`)
      }
    }
    throw new CliError('no passphrase entered')
  } catch (error) {
    throw io.signal.aborted ? new CliError('interrupted') : error
  } finally {
    // First of all: raw mode belongs to the terminal, and can outlive the stream.
    terminal.setRawMode(false)
    terminal.destroy()
    writeSync(screen, '\n')
    closeSync(screen)
  }
}

/**
 * Reads a new passphrase: from the file in ASFALEIA_PASSPHRASE_FILE, or else twice from the terminal.
 * @param hint shown if the passphrase is empty
 * @throws {CliError}
 */
export async function newPassphrase(prompt: string, hint: string, io: Pick<Io, 'env' | 'signal'>): Promise<string> {
  const given = await readPassphraseFile(io)
  const passphrase = given === undefined ? await askPassphrase(prompt, io) : decodePassphrase(given)
  if (passphrase === '') throw new CliError('the passphrase is empty', { hint })
  if (given === undefined && (await askPassphrase('the same passphrase again', io)) !== passphrase)
    throw new CliError('the two passphrases differ')
  return passphrase
}
