/** `asfaleia me`: makes and changes the user's profile, and shows the contact card to hand to others. */
import { existsSync } from 'node:fs'
import { isAbsolute, relative, resolve } from 'node:path'
import { generateSeedKey } from '../../auth/seed.ts'
import { areCardRelays, type Card, CardError, type CardVersion } from '../../client/format/card.ts'
import { fingerprintOf, formatKey } from '../../client/format/field.ts'
import type { Identity } from '../../client/format/identity.ts'
import { announce } from '../owner/announce.ts'
import { appear } from '../talk/appear.ts'
import { readCommandLine } from '../program/arguments.ts'
import { checkRelays } from '../profile/address.ts'
import { makeFolder, readText, writeNew, writeWhole } from '../disk/file.ts'
import { loadIdentity } from '../profile/identity.ts'
import { type CardFacts, factsOf, isCardOf } from '../../profile/facts.ts'
import { type Home, HOME_VARIABLES, needHome, type Settings } from '../profile/home.ts'
import { makeInbox } from '../profile/inbox.ts'
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
  usages: ['me [--name NAME] [--relay ADDRESS …] [--key KEY] [--public yes|no] [--text | --qr | --png FILE]'],
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
    public: {
      value: 'yes|no',
      about: `whether you also receive from the mailbox of your SSH key: your relays then learn that key. By default yes for a key that
        --key names, because people may know it, and no for a key that this command makes`,
    },
    member: {
      value: 'RELAY',
      about: 'mark a relay that admits only keys it knows: your client uses your SSH key there, so the relay learns it',
      multiple: true,
    },
    'no-member': { value: 'RELAY', about: 'end that', multiple: true },
    link: { about: 'show the card as a link in one line; this is the default' },
    text: { about: 'show the card as a text with its signature' },
    qr: { about: 'show a QR code of the link, and the link' },
    png: { value: 'FILE', about: 'write a QR code of the link to a new picture' },
    'card-version': {
      value: 'NUMBER',
      about: '1 for people whose program does not read cards of version 2, which has a shorter link. It implies --public yes',
    },
    json: { about: 'print one JSON object' },
  },
  variables: { ...HOME_VARIABLES, ...PASSPHRASE_VARIABLE },
  text: `
    Shows your contact card: your name, key, inbox and relays, signed with the key. Others give it to \`asfaleia contact add\`.

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
  const { card, identity } = await bringUpToDate(home, values, io)
  if (values.qr === true) await checkSize(card.link, io)
  if (values.png !== undefined) await writeNew(values.png, await encodePicture(card.link), 0o600)
  if (values.json === true) io.stdout.write(`${formatJson(describe(card))}\n`)
  else if (values.qr === true) io.stdout.write(`${await drawCode(card.link, io)}\n\n${card.link}\n`)
  else if (values.text === true) io.stdout.write(card.text)
  else if (values.png === undefined || values.link === true) io.stdout.write(`${card.link}\n`)
  if (identity !== undefined) await appear(card, identity, io)
  return EXIT.ok
}

function describe({ name, key, inbox, relays, encrypt, time, text, link }: Card): object {
  const fingerprint = fingerprintOf(key)
  const named = inbox === undefined ? {} : { inbox: fingerprintOf(inbox) }
  return { name, fingerprint, ...named, relays, ...(encrypt !== undefined && { encrypt }), time, text, link }
}

type Reachable = Pick<Settings, 'isPublic' | 'memberAt'>

/** The options that change the profile. */
const CHANGES = ['name', 'relay', 'key', 'card-version', 'public', 'member', 'no-member'] as const

interface Wanted {
  readonly name?: string
  readonly relay?: readonly string[]
  readonly key?: string
  readonly 'card-version'?: string
  readonly public?: string
  readonly member?: readonly string[]
  readonly 'no-member'?: readonly string[]
}

/** @throws {UsageError} */
function readVersion(text: string | undefined): CardVersion | undefined {
  if (text === undefined) return undefined
  if (text === '1' || text === '2') return text === '1' ? 1 : 2
  throw new UsageError('--card-version takes 1 or 2')
}

/** @throws {UsageError} */
function readPublic({ public: text, 'card-version': version }: Wanted): boolean | undefined {
  if (text !== undefined && text !== 'yes' && text !== 'no') throw new UsageError('--public takes yes or no')
  if (version !== '1') return text === undefined ? undefined : text === 'yes'
  if (text === 'no')
    throw new UsageError('--card-version 1 does not go together with --public no', {
      hint: 'a card of version 1 names no inbox, so its readers write to the mailbox of your SSH key',
    })
  return true
}

/** @throws {CliError} if a relay to take off is not marked */
function changeMembers(marked: readonly string[], { member = [], 'no-member': off = [] }: Wanted): readonly string[] {
  const gone = checkRelays(off)
  const unknown = gone.find((relay) => !marked.includes(relay))
  if (unknown !== undefined)
    throw new CliError(`${unknown} is not marked as a relay that knows you`, {
      hint: marked.length === 0 ? 'no relay is marked' : `marked are: ${marked.join(', ')}`,
    })
  return checkRelays([...new Set([...marked.filter((relay) => !gone.includes(relay)), ...checkRelays(member)])])
}

/** The user's card, and the key if the command unlocked it. */
interface UpToDate {
  readonly card: Card
  readonly identity?: Identity
}

/** Changes the profile as the options ask, and returns the card that belongs to it. @throws {CliError} */
export async function bringUpToDate(home: Home, wanted: Wanted, io: Io): Promise<UpToDate> {
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
  const wish = readPublic(wanted)
  const memberAt = changeMembers(settings.memberAt, wanted)
  const old = await home.readCard()
  const factsFor = (isPublic: boolean, inbox: Identity | undefined): CardFacts => {
    // A card of version 1 leads to the mailbox of the key, which a private user does not read.
    const chosen = version ?? (isPublic ? (old?.version ?? 2) : 2)
    return factsOf({ name, relays, isPublic, memberAt }, chosen, inbox?.key)
  }
  if (!isFirst && CHANGES.every((option) => wanted[option] === undefined)) {
    // To show a card that exists, the key stays locked, and a disk that takes no more does not matter.
    const inbox = await makeInbox(home.inboxFile).catch((error: unknown) => {
      if (existsSync(home.inboxFile)) throw error
      return undefined
    })
    if (old !== undefined && isCardOf(old, factsFor(settings.isPublic, inbox))) return { card: old }
    if (old !== undefined && settings.key !== undefined && isCardOf(old, factsFor(settings.isPublic, undefined)))
      return (await addInbox(home, settings.key, factsFor(settings.isPublic, inbox), io)) ?? { card: old }
  }
  const isPublic = wish ?? (isFirst ? wanted.key !== undefined || (old !== undefined && old.inbox === undefined) : settings.isPublic)
  const spec = wanted.key === undefined ? (settings.key ?? (await makeKey(home, io))) : await pin(wanted.key, io)
  const identity = await home.completeIdentity(await loadIdentity(spec, io), true)
  await refuseOtherKey(home, identity)
  const inbox = await makeInbox(home.inboxFile)
  const card = await home.makeCard(identity, factsFor(isPublic, inbox), Math.floor(Date.now() / 1_000))
  const fields = await home.readFields()
  fields.set('name', name)
  fields.set('key', shorten(home, spec))
  fields.set('relay', ...relays)
  fields.set('public', isPublic ? 'yes' : 'no')
  fields.set('member', ...memberAt)
  await home.writeFields(fields)
  await announce(home, io.env)
  if (isFirst) io.stderr.write(`asfaleia: made your profile in ${home.path}; give your card to the people who will write to you\n`)
  if (old?.inbox !== undefined && fingerprintOf(old.inbox) !== fingerprintOf(inbox.key))
    io.stderr.write('asfaleia: made a new inbox key, because the one on your card was missing; give the new card to your contacts\n')
  for (const line of consequencesOf({ ...settings, isPublic: !isFirst && settings.isPublic }, { isPublic, memberAt }))
    io.stderr.write(`asfaleia: ${line}\n`)
  return { card, identity }
}

/**
 * Makes the card of an earlier version anew, with the inbox.
 * @returns undefined if the key cannot sign now; the card that exists stays good
 */
async function addInbox(home: Home, spec: string, facts: CardFacts, io: Io): Promise<UpToDate | undefined> {
  try {
    const identity = await home.completeIdentity(await loadIdentity(spec, io), false)
    await refuseOtherKey(home, identity)
    const card = await home.makeCard(identity, facts, Math.floor(Date.now() / 1_000))
    await announce(home, io.env)
    return { card, identity }
  } catch (error) {
    if (!(error instanceof CliError) || io.signal.aborted) throw error
    io.stderr.write(`asfaleia: warning: your card names no inbox yet: ${error.message}\n`)
    return undefined
  }
}

/** Says what relays learn from a change, and who cannot reach the user any more. */
function consequencesOf(before: Reachable, after: Reachable): string[] {
  const lines: string[] = []
  if (after.isPublic && !before.isPublic)
    lines.push('your relays now learn your SSH key: when you are online, and how much is sent to it; `asfaleia me --public no` ends that')
  if (before.isPublic && !after.isPublic)
    lines.push('people who have only your SSH key or an older card can no longer reach you: give them the new card')
  for (const relay of after.memberAt.filter((each) => !before.memberAt.includes(each)))
    lines.push(`${relay} now learns your SSH key, when you are online, and to which mailboxes you write there`)
  return lines
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
