/** `asfaleia profile`: carries the profile to another device in one encrypted file. */
import { readdir } from 'node:fs/promises'
import { dirname, isAbsolute, relative } from 'node:path'
import { openByPassphrase, PassphraseError, sealByPassphrase } from '../../client/format/passphrase.ts'
import { makeFolder, readBytes, writeNew, writeNewFolder } from '../disk/file.ts'
import { askPassphrase, decodePassphrase, newPassphrase, PASSPHRASE_VARIABLE, readPassphraseFile } from '../disk/passphrase.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { decodeFiles, encodeFiles, PROFILE_TYPE } from '../../profile/files.ts'
import { collect } from '../profile/carrier.ts'
import { type Home, HOME_VARIABLES, needHome } from '../profile/home.ts'
import { readCommandLine } from '../program/arguments.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import type { Page } from '../program/page.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

export const page = {
  name: 'profile',
  shared: { json: { about: 'print one JSON object' } },
  variables: { ...HOME_VARIABLES, ...PASSPHRASE_VARIABLE },
  text: `
    Carries your profile to another device: name, key, contacts, groups and settings. It leaves out the folder \`state\`: the outbox, the
    history and the tags of received messages belong to this device.`,
  verbs: {
    export: {
      summary: 'write the profile to one encrypted file',
      words: ['FILE'],
      text: `
        Asks for a passphrase, and encrypts FILE with it. Anyone with both can act as you, so choose a long passphrase, such as six random
        words. FILE must not exist yet.`,
      examples: [['write the profile to a file', 'asfaleia profile export alice.profile']],
    },
    import: {
      summary: 'make a profile from such a file',
      words: ['FILE'],
      text: `
        The folder of the profile must be empty or missing. Two devices with one key share a mailbox: a message arrives at the device that
        receives at that time, and at no other.`,
      examples: [['make a profile from a file', 'asfaleia profile import alice.profile']],
    },
  },
  examples: [['write the profile to a file', 'asfaleia profile export alice.profile']],
} as const satisfies Page

/** The largest file to import: base64 twice over a profile. */
const MOST_BYTES = 67_108_864

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const home = needHome(io.env)
  const [path] = given.words
  const json = given.values.json === true
  switch (given.verb) {
    case 'export':
      return exportTo(path, home, json, io)
    case 'import':
      return importFrom(path, home, json, io)
  }
}

async function exportTo(path: string, home: Home, json: boolean, io: Io): Promise<number> {
  const { key } = await home.readSettings()
  if (key === undefined) throw new CliError('there is no profile yet', { hint: '`asfaleia me --name NAME --relay ADDRESS` makes it' })
  const files = await collect(home.path)
  const passphrase = await newPassphrase('passphrase for the file', 'the file has your key, so it needs a passphrase', io)
  await writeNew(path, `${await sealByPassphrase(encodeFiles(files), passphrase, PROFILE_TYPE)}\n`, 0o600)
  io.stdout.write(json ? `${formatJson({ file: path, files: files.size })}\n` : `wrote ${sanitizeLine(path)}\n`)
  const place = relative(home.path, key)
  if (!isAbsolute(key) || place.startsWith('..') || isAbsolute(place))
    io.stderr.write(`asfaleia: your key, ${sanitizeLine(key)}, is not in the folder of the profile, and so not in the file\n`)
  io.stderr.write('asfaleia: the outbox and the history stay on this device\n')
  return EXIT.ok
}

async function importFrom(path: string, home: Home, json: boolean, io: Io): Promise<number> {
  await refuseProfile(home.path)
  const bytes = await readBytes(path, MOST_BYTES)
  if (bytes === undefined) throw new CliError(`no such file: ${sanitizeLine(path)}`)
  const given = await readPassphraseFile(io)
  const passphrase = given === undefined ? await askPassphrase(`passphrase of ${sanitizeLine(path)}`, io) : decodePassphrase(given)
  const refuse = (why: string): CliError => new CliError(`${sanitizeLine(path)}: ${why}`, { hint: 'nothing was written' })
  const opened = await openByPassphrase(bytes.toString('latin1'), passphrase, PROFILE_TYPE).catch((error: unknown) => {
    throw error instanceof PassphraseError ? refuse(error.message) : error
  })
  const files = decodeFiles(opened)
  if (files === undefined) throw refuse('its content is no profile')
  await makeFolder(dirname(home.path))
  await writeNewFolder(home.path, files)
  const { name } = await home.readSettings()
  io.stdout.write(
    json
      ? `${formatJson({ folder: home.path, files: files.size })}\n`
      : `made the profile ${sanitizeLine(name ?? '')} in ${sanitizeLine(home.path)}\n`,
  )
  io.stderr.write('asfaleia: another device with this profile shares your mailbox: each message arrives at one of them\n')
  return EXIT.ok
}

/** @throws {CliError} if the folder has anything in it */
async function refuseProfile(folder: string): Promise<void> {
  let names: string[]
  try {
    names = await readdir(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw new CliError(`cannot read ${folder}: ${systemReason(error)}`)
  }
  if (names.length > 0)
    throw new CliError(`there is a profile already in ${folder}`, {
      hint: 'nothing was written; move the folder away, or set ASFALEIA_HOME to another one',
    })
}
