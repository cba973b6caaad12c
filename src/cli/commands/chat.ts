/** `asfaleia chat`: a chat on the whole terminal, or line by line. */
import { basename, join } from 'node:path'
import type { ReadStream, WriteStream } from 'node:tty'
import { fingerprintOf, makeId } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { FileReceiver } from '../../client/messenger/transfers.ts'
import { readCommandLine } from '../program/arguments.ts'
import { Arrivals } from '../talk/arrival.ts'
import type { Front } from '../chat/front.ts'
import { FullScreen } from '../chat/fullscreen.ts'
import { History } from '../chat/history.ts'
import { conversationOf, People } from '../chat/people.ts'
import { Plain } from '../chat/plain.ts'
import type { SessionOptions } from '../chat/context.ts'
import { Session } from '../chat/session.ts'
import { isKeyText } from '../disk/public-key.ts'
import { readIntroduction } from '../profile/introduction.ts'
import type { ContactRequest } from '../profile/requests.ts'
import type { Home } from '../profile/home.ts'
import { showName } from '../../wording/name.ts'
import { openProfile, type Profile } from '../profile/profile.ts'
import { addOperator, readInvite, readOperator, storeKey } from '../talk/joining.ts'
import { LOGIN_OPTIONS, openMessengerOf } from '../talk/talk.ts'
import { PASSPHRASE_VARIABLE } from '../disk/passphrase.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'chat',
  words: ['[NAME]'],
  usages: ['chat [NAME] [--plain] [--history] [OPTION …]'],
  options: {
    plain: {
      about: 'work line by line without moving the cursor, as in pipes and for screen readers; a line ending in \\ continues in the next',
    },
    history: { about: 'store the conversations, encrypted to your key, and show them again; also `history: yes` in the profile' },
    notify: { about: 'ring, and show a desktop notification without text or name, when a message arrives that you do not see' },
    files: { value: 'FOLDER', about: 'store files from contacts in FOLDER; also `files` in the profile. Without it, files are refused' },
    mouse: { about: "scroll with the wheel and open conversations with a click; hold Shift for the terminal's own selection" },
    relay: { value: 'ADDRESS', about: "your relay, instead of the profile's", multiple: true },
    ...LOGIN_OPTIONS,
  },
  variables: {
    ...PASSPHRASE_VARIABLE,
    NO_COLOR: 'if set, the output has no colours',
    TERM: '`dumb` has the chat work line by line',
  },
  text: `
    Chats with your contacts on the whole terminal. NAME is the contact or group to start with. Without a profile, NAME can be the .pub
    file of a person, with --key and --relay.

    Enter sends, Alt+Enter begins a new line, and /help shows all keys and commands. The chat confirms a message to the relay after it
    has shown it. It stores nothing of a conversation without --history.`,
  examples: [
    ['chat with Bob', 'asfaleia chat bob'],
    ['chat with a key, without a profile', 'asfaleia chat bob.pub --key my-key --relay ADDRESS.onion'],
  ],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, words } = given
  const [name] = words
  const profile = await openProfile(io, values)
  const { identity, home, book, groups } = profile
  if (identity.opens.length === 0)
    throw new CliError('your key can only sign, so messages cannot be encrypted to it', {
      hint: '`asfaleia me` makes a profile with an encryption key',
    })
  if (profile.relays.length === 0)
    throw new CliError('your profile names no relay', { hint: 'add --relay ADDRESS, or store it with `asfaleia me --relay ADDRESS`' })
  const known = name === undefined ? undefined : (book.get(name) ?? groups.get(name))
  const guest = name === undefined || known !== undefined ? undefined : await readGuest(name, profile, values.relay, io)
  const people = new People(book, groups, identity.key, guest, profile)
  const open = known === undefined ? guest && fingerprintOf(guest.key) : 'group' in known ? conversationOf(known) : fingerprintOf(known.key)

  const places = new Map<string, string>()
  const folder = values.files ?? profile.files
  const done = home === undefined ? undefined : join(home.stateFolder, 'files')
  const arrivals = folder === undefined ? undefined : new Arrivals(folder, done, ({ file }, path) => void places.set(file, path))
  const files: FileReceiver = {
    open: async (offer) => (people.isContact(fingerprintOf(offer.from.key)) ? arrivals?.open(offer) : undefined),
  }
  const ended = new AbortController()
  let owner: string | undefined
  let session: Session | undefined
  let asked: readonly ContactRequest[] = []
  const { messenger, requests, look, close } = await openMessengerOf(profile, io, {
    what: 'chat',
    relays: profile.relays,
    takes: 'all',
    mirrors: true,
    contacts: people,
    members: true,
    outbox: profile.outbox,
    // The session itself decides which messages the user has read.
    reads: true,
    files,
    ...(folder !== undefined && { folder }),
    onArrived: ({ file }, path) => void places.set(file, path),
    onOwner: (what) => {
      owner = what
      session?.tellOwner(what)
    },
    onChanged: (settings) => session?.onProfile(settings),
    isGuest: (fingerprint) => people.isContact(fingerprint),
    onRequests: (now) => {
      asked = now
      session?.onRequests(now)
    },
    signal: ended.signal,
    ...(values.socks !== undefined && { socks: values.socks }),
  })
  try {
    const isPlain = values.plain === true || io.stdin.isTTY !== true || io.stdout.isTTY !== true || io.env['TERM'] === 'dumb'
    const keeps = values.history === true || profile.history
    if (keeps && home === undefined) throw new CliError('there is no folder for a history', { hint: 'set HOME or ASFALEIA_HOME' })
    const card = await home?.readCard()
    session = new Session({
      messenger,
      people,
      requests,
      identity,
      name: profile.name ?? 'you',
      relays: profile.relays,
      stored: profile.stored.relays,
      places,
      front: isPlain ? new Plain(io) : createFullScreen(io, values.mouse === true),
      look: { ascii: !isUtf8(io.env), ...(isPlain && { plain: true }) },
      receipts: profile.receipts.read,
      onHeld: look,
      notify: values.notify === true,
      patient: isPlain && io.stdin.isTTY !== true,
      ...(card !== undefined && { card }),
      ...(home !== undefined && { join: (invite: string) => joinRelay(invite, profile, home, io) }),
      ...(keeps &&
        home !== undefined && {
          history: new History(
            join(home.stateFolder, 'history'),
            identity,
            sessionName(),
            profile.historyFor === undefined ? {} : { keep: profile.historyFor },
          ),
        }),
    })
    await messenger.ready
    session.onRequests(asked)
    if (owner !== undefined) session.tellOwner(owner)
    const isAway = await session.run(open, io.signal)
    if (isAway) return EXIT.ok
    throw new CliError('no relay has stored some of your messages', {
      hint: profile.outbox ? 'the next chat sends them' : '`outbox: yes` in the profile would keep such messages',
    })
  } finally {
    await close()
    ended.abort()
  }
}

/** Stores the key of an invite, and the operator as a contact. @throws {CliError} */
async function joinRelay(text: string, { book, identity }: Profile, home: Home, io: Io): ReturnType<NonNullable<SessionOptions['join']>> {
  const invite = readInvite(text, 'the invite')
  if (invite.until !== undefined && invite.until * 1_000 < Date.now())
    throw new CliError('this invite has expired: ask the operator for another one')
  const card = await readOperator(invite)
  const { isTaken, path } = await storeKey(home, invite, false, io)
  const operator = card === undefined ? undefined : await addOperator(book, card, identity.key)
  const named = operator === undefined ? '' : `, and sent ${showName(operator.name)} a contact request`
  const how = isTaken ? '' : `; tor did not take the key: copy ${path} to NAME.auth_private in tor's ClientOnionAuthDir`
  return { ...(operator !== undefined && { operator }), text: `joined ${invite.relay}${named}${how}` }
}

/** Reads the key or card of a person who is not a contact. @throws {CliError} */
async function readGuest(word: string, { book, relays }: Profile, given: readonly string[] | undefined, io: Io): Promise<Contact> {
  const isIntroduction = /[./]|^asfaleia/.test(word) || isKeyText(word)
  const introduction = isIntroduction ? await readIntroduction(word, io) : undefined
  if (introduction === undefined) return book.need(word)
  if (introduction.kind === 'card') {
    book.check(introduction.card)
    return book.contactOf(introduction.card)
  }
  if (!introduction.key.canDecrypt)
    throw new CliError('this key can only sign, so messages cannot be encrypted to it', {
      hint: 'ask for their card, which names an encryption key',
    })
  return { name: basename(word.split(' ').at(-1) ?? word).replace(/\.pub$/, ''), key: introduction.key, relays: given ?? relays }
}

function createFullScreen(io: Io, mouse: boolean): Front {
  const { env } = io
  const streams = { stdin: io.stdin as ReadStream, stdout: io.stdout as WriteStream }
  const host = {
    on: (event: string, listener: () => void) => process.on(event, listener),
    prependListener: (event: string, listener: () => void) => process.prependListener(event, listener),
    off: (event: string, listener: () => void) => process.off(event, listener),
    stop: () => void process.kill(0, 'SIGTSTP'),
  }
  return new FullScreen(streams, host, { color: !env['NO_COLOR'], mouse, modern: env['TERM'] !== 'linux' })
}

/** Finds the character set of the locale as the C library does. */
function isUtf8(env: Io['env']): boolean {
  return /utf-?8/i.test(env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '')
}

/** Names a session: sorts by time, and is unique. */
function sessionName(): string {
  return `${new Date()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(':', '-')}-${makeId().slice(0, 8)}`
}
