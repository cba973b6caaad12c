/** `asfaleia me`: makes and changes the user's profile, and shows the contact card to hand to others. */
import { isAbsolute, relative, resolve } from 'node:path'
import { generateSeedKey } from '../../auth/seed.ts'
import { areCardRelays, type Card, CardError, type CardVersion } from '../../client/format/card.ts'
import { fingerprintOf, formatKey } from '../../client/format/field.ts'
import type { Identity } from '../../client/format/identity.ts'
import { announce } from '../owner/announce.ts'
import { readCommandLine } from '../program/arguments.ts'
import { checkRelays } from '../profile/address.ts'
import { makeFolder, readText, writeNew, writeWhole } from '../disk/file.ts'
import { loadIdentity } from '../profile/identity.ts'
import { type Home, HOME_VARIABLES, needHome } from '../profile/home.ts'
import { PASSPHRASE_VARIABLE } from '../disk/passphrase.ts'
import { checkSize, drawCode, encodePicture } from '../program/qr.ts'
import { composeName, faultOf } from '../../wording/name.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'me',
  usages: ['me [--name NAME] [--relay ADDRESS …] [--key KEY] [--text | --qr | --png FILE]'],
  options: {
    name: { value: 'NAME', about: 'what you call yourself, 1 to 64 characters' },
    relay: {
      value: 'ADDRESS',
      about: 'where you receive: HOST.onion[:PORT]; if you give several, the preferred one first',
      multiple: true,
    },
    key: {
      value: 'KEY',
      about: `your SSH key: its FILE, \`agent\` or \`agent:SHA256:…\`. Use a key that you use for nothing else: one that is public on a code
        host tells everyone who you are`,
    },
    link: { about: 'show the card as a link in one line; this is the default' },
    text: { about: 'show the card as a text with its signature' },
    qr: { about: 'show a QR code of the link, and the link' },
    png: { value: 'FILE', about: 'write a QR code of the link to a new picture' },
    'card-version': { value: 'NUMBER', about: '1 for people whose program does not read cards of version 2, which has a shorter link' },
    json: { about: 'print one JSON object' },
  },
  variables: { ...HOME_VARIABLES, ...PASSPHRASE_VARIABLE },
  text: `
    Shows your contact card: your name, key and relays, signed with the key. Others give it to \`asfaleia contact add\`.

    At the first call, --name and --relay make your profile, and a key unless --key names one. Later they change the profile. It is a
    folder, ~/.config/asfaleia by default; docs/clients.md describes the files in it.`,
  examples: [
    ['make your profile and show the link to your card', 'asfaleia me --name Alice --relay ADDRESS.onion'],
    ['let the camera of a phone read your card', 'asfaleia me --qr'],
  ],
} as const satisfies Page

/** The same for everyone: it must not say whose key it is. */
const COMMENT = 'asfaleia'
const FIRST_RUN = '`asfaleia me --name NAME --relay ADDRESS.onion` makes it'

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values } = given
  const home = needHome(io.env)
  const card = await bringUpToDate(home, values, io)
  if (values.qr === true) await checkSize(card.link, io)
  if (values.png !== undefined) await writeNew(values.png, await encodePicture(card.link), 0o600)
  if (values.json === true) io.stdout.write(`${formatJson(describe(card))}\n`)
  else if (values.qr === true) io.stdout.write(`${await drawCode(card.link, io)}\n\n${card.link}\n`)
  else if (values.text === true) io.stdout.write(card.text)
  else if (values.png === undefined || values.link === true) io.stdout.write(`${card.link}\n`)
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
  readonly 'card-version'?: string
}

/** @throws {UsageError} */
function readVersion(text: string | undefined): CardVersion | undefined {
  if (text === undefined) return undefined
  if (text === '1' || text === '2') return text === '1' ? 1 : 2
  throw new UsageError('--card-version takes 1 or 2')
}

/** Changes the profile as the options ask, and returns the card that belongs to it. @throws {CliError} */
export async function bringUpToDate(home: Home, wanted: Wanted, io: Io): Promise<Card> {
  const settings = await home.readSettings()
  const name = wanted.name === undefined ? settings.name : composeName(wanted.name)
  const fault = name === undefined ? undefined : faultOf(name)
  if (fault !== undefined) throw new CliError(`cannot make your card: ${fault}`, { hint: 'choose another name with --name' })
  const relays = wanted.relay === undefined ? settings.relays : checkRelays(wanted.relay)
  if (name === undefined || relays.length === 0) {
    const missing = name === undefined ? (relays.length === 0 ? '--name and --relay are' : '--name is') : '--relay is'
    if (settings.key !== undefined)
      throw new CliError(`your profile is incomplete: ${missing} missing`, { hint: 'the same options of `asfaleia me` add them' })
    const { message } = await home.describeMissing()
    throw new CliError(`${message}, and ${missing} missing`, { hint: FIRST_RUN })
  }
  // Before a new key is made: a refused command changes nothing.
  if (!areCardRelays(relays))
    throw new CliError(`cannot make your card: ${new CardError('bad-relay').message}`, { hint: 'give each address once, by --relay' })
  const isFirst = settings.key === undefined
  const version = readVersion(wanted['card-version'])
  const isUnchanged =
    !isFirst && wanted.name === undefined && wanted.relay === undefined && wanted.key === undefined && version === undefined
  if (isUnchanged) {
    // To show a card that exists, the key stays locked.
    const card = await home.readCard()
    if (card !== undefined && card.name === name && card.relays.join() === relays.join()) return card
  }
  const spec = wanted.key === undefined ? (settings.key ?? (await makeKey(home, io))) : await pin(wanted.key, io)
  const identity = await home.completeIdentity(await loadIdentity(spec, io), true)
  await refuseOtherKey(home, identity)
  const card = await home.makeCard(identity, name, relays, Math.floor(Date.now() / 1_000), version)
  const fields = await home.readFields()
  fields.set('name', name)
  fields.set('key', shorten(home, spec))
  fields.set('relay', ...card.relays)
  await home.writeFields(fields)
  await announce(home, io.env)
  if (isFirst) io.stderr.write(`asfaleia: made your profile in ${home.path}; give your card to the people who will write to you\n`)
  return card
}

/** Makes the key of a new profile, or finds the key that an interrupted call left there. */
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

/** Names the only key of an agent by its fingerprint, because the agent may hold more keys later. */
async function pin(spec: string, io: Io): Promise<string> {
  if (spec.startsWith('agent:')) return spec
  if (spec === 'agent') return `agent:${fingerprintOf((await loadIdentity(spec, io)).key)}`
  return resolve(spec)
}

/** Refuses to change the key, because contacts know the user by it. */
async function refuseOtherKey(home: Home, identity: Identity): Promise<void> {
  const card = await home.readCard()
  if (card === undefined || fingerprintOf(card.key) === fingerprintOf(identity.key)) return
  throw new CliError('this profile has another key, and your contacts know you by it', {
    hint: 'set ASFALEIA_HOME=FOLDER to make a second profile for this key',
  })
}

/** Shortens the path of a key in the profile's folder to its name, so that the folder can be moved. */
function shorten(home: Home, spec: string): string {
  if (!isAbsolute(spec)) return spec
  const path = relative(home.path, spec)
  return path.startsWith('..') ? spec : path
}
