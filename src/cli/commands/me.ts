/** `asfaleia me`: one's own profile, made by the first call and changed by later ones, and the card to hand to others. */
import { isAbsolute, relative, resolve } from 'node:path'
import { generateSeedKey } from '../../auth/seed.ts'
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf, formatKey } from '../../client/format/field.ts'
import type { Identity } from '../../client/format/identity.ts'
import { openCommandLine } from '../program/arguments.ts'
import { checkRelays } from '../profile/address.ts'
import { makeFolder, readText, writeNew, writeWhole } from '../disk/file.ts'
import { loadIdentity } from '../profile/identity.ts'
import { type Home, needHome } from '../profile/home.ts'
import { checkWidth, drawCode, encodePicture } from '../program/qr.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'

const USAGE = 'asfaleia me [--name NAME] [--relay ADDRESS …] [--link | --qr | --png FILE]'

const HELP = `usage: ${USAGE}

Shows your contact card, which others give to \`asfaleia contact add\`: your name, key and relays, signed by the key. The
first time, --name and --relay make your profile, and a key where --key names none; later they change it.

  --name NAME         what you call yourself, 1 to 64 characters
  --relay ADDRESS     where you receive: HOST.onion[:PORT]; again for more, the preferred first
  --key KEY           your SSH key: its FILE, \`agent\` or \`agent:SHA256:…\`. One that is new and for this alone is better than
                      the one that is public on a code host, by which anybody knows you
  --link              the card as a link of one line, instead of a text
  --qr                that link as a QR code, too
  --png FILE          that link as a QR code in a new file
  --json              one JSON object on stdout
  -h, --help          this text

The profile is a folder: ASFALEIA_HOME, else asfaleia in XDG_CONFIG_HOME, else ~/.config/asfaleia; docs/clients.md says
what is in it.
`

/** Whose key it is should not stand in it. */
const COMMENT = 'asfaleia'
const FIRST_RUN = 'asfaleia me --name NAME --relay ADDRESS.onion'

export async function run(argv: string[], io: Io): Promise<number> {
  const options = {
    name: { type: 'string' },
    relay: { type: 'string', multiple: true },
    key: { type: 'string' },
    link: { type: 'boolean' },
    qr: { type: 'boolean' },
    png: { type: 'string' },
    json: { type: 'boolean' },
  } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values } = given
  const home = needHome(io.env)
  const card = await bringUpToDate(home, values, io)
  if (values.qr === true) checkWidth(card.link, io)
  if (values.png !== undefined) await writeNew(values.png, encodePicture(card.link), 0o600)
  if (values.json === true) io.stdout.write(`${formatJson(describe(card))}\n`)
  else if (values.qr === true) io.stdout.write(`${card.link}\n\n${drawCode(card.link, io)}\n`)
  else if (values.png === undefined || values.link === true) io.stdout.write(values.link === true ? `${card.link}\n` : card.text)
  return EXIT.ok
}

function describe({ name, key, relays, encrypt, time, text, link }: Card): object {
  const fingerprint = fingerprintOf(key)
  return { name, fingerprint, relays, ...(encrypt !== undefined && { encrypt }), time, text, link }
}

interface Wanted {
  readonly name?: string
  readonly relay?: readonly string[]
  readonly key?: string
}

/** The card by the profile and what is wanted otherwise; what changed is written. @throws {CliError} */
async function bringUpToDate(home: Home, wanted: Wanted, io: Io): Promise<Card> {
  const settings = await home.readSettings()
  const name = wanted.name ?? settings.name
  const relays = wanted.relay === undefined ? settings.relays : checkRelays(wanted.relay)
  if (name === undefined || relays.length === 0) {
    const what = name === undefined ? (relays.length === 0 ? '--name and --relay are' : '--name is') : '--relay is'
    throw new CliError(`there is no profile yet, and ${what} missing`, { hint: FIRST_RUN })
  }
  const isFirst = settings.key === undefined
  const isUnchanged = !isFirst && wanted.name === undefined && wanted.relay === undefined && wanted.key === undefined
  if (isUnchanged) {
    // No key is unlocked to show what was signed before.
    const card = await home.readCard()
    if (card !== undefined && card.name === name && card.relays.join() === relays.join()) return card
  }
  const spec = wanted.key === undefined ? (settings.key ?? (await makeKey(home, io))) : await pin(wanted.key, io)
  const identity = await home.completeIdentity(await loadIdentity(spec, io), true)
  await refuseOtherKey(home, identity)
  const card = await home.makeCard(identity, name, relays, Math.floor(Date.now() / 1_000))
  const fields = await home.readFields()
  fields.set('name', name)
  fields.set('key', shorten(home, spec))
  fields.set('relay', ...card.relays)
  await home.writeFields(fields)
  if (isFirst) io.stderr.write(`asfaleia: made the profile in ${home.path}; give your card to those who are to write to you\n`)
  return card
}

/** The key that is one's own by the first call, unless an earlier one broke off and left it. */
async function makeKey(home: Home, io: Io): Promise<string> {
  await makeFolder(home.path)
  if ((await readText(home.keyFile, 65_536)) === undefined) {
    const key = generateSeedKey()
    await writeWhole(home.keyFile, key.toFile(COMMENT), { replace: false })
    await writeWhole(`${home.keyFile}.pub`, `${formatKey(key.public)} ${COMMENT}\n`, { replace: true })
    io.stderr.write(`asfaleia: made a new key, ${home.keyFile}\n`)
  }
  return home.keyFile
}

/** An agent's only key by its fingerprint: it may hold others tomorrow. */
async function pin(spec: string, io: Io): Promise<string> {
  if (spec.startsWith('agent:')) return spec
  if (spec === 'agent') return `agent:${fingerprintOf((await loadIdentity(spec, io)).key)}`
  return resolve(spec)
}

/** Contacts know the key: another one is another person to them. */
async function refuseOtherKey(home: Home, identity: Identity): Promise<void> {
  const card = await home.readCard()
  if (card === undefined || fingerprintOf(card.key) === fingerprintOf(identity.key)) return
  throw new CliError('this profile is of another key, by which your contacts know you', {
    hint: 'ASFALEIA_HOME=FOLDER makes a profile of its own for another key',
  })
}

/** Within the folder by name alone, so that the folder can be moved. */
function shorten(home: Home, spec: string): string {
  if (!isAbsolute(spec)) return spec
  const path = relative(home.path, spec)
  return path.startsWith('..') ? spec : path
}
