/** `asfaleia chat`: talks, on the whole terminal or line by line. */
import { basename, join } from 'node:path'
import type { ReadStream, WriteStream } from 'node:tty'
import { fingerprintOf, makeId } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { FileReceiver } from '../../client/messenger/transfers.ts'
import { openCommandLine } from '../program/arguments.ts'
import { Arrivals } from '../talk/arrival.ts'
import type { Front } from '../chat/front.ts'
import { FullScreen } from '../chat/fullscreen.ts'
import { History } from '../chat/history.ts'
import { GROUP, People } from '../chat/people.ts'
import { Plain } from '../chat/plain.ts'
import { Session } from '../chat/session.ts'
import { readIntroduction } from '../profile/introduction.ts'
import { openProfile, type Profile } from '../profile/profile.ts'
import { openMessengerOf } from '../talk/talk.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'

const USAGE = 'asfaleia chat [NAME] [--plain] [--history]'

const HELP = `usage: ${USAGE}

Talks with your contacts, on the whole terminal: conversations, what came, and how what you wrote got on. NAME is the
contact or group to begin with; without a profile, a .pub file of somebody, with --key and --relay for both of you.
Enter sends, Alt+Enter begins a new line, /help shows all keys and commands. A message is acknowledged after it was
shown. Nothing is kept of what is said, unless --history says so.

  --plain             line by line, without moving the cursor: for screen readers; also where the terminal can do no
                      more, and in pipes. A line that ends in \\ goes on in the next
  --history           keep what is said, encrypted to your key, and show what was kept; also \`history: yes\` in the
                      profile
  --notify            ring, and ask for a desktop notification, when something comes that you do not see: never what,
                      nor from whom
  --files FOLDER      where files go that contacts send; also \`files\` of the profile; without it none are taken
  --mouse             the wheel scrolls, a click opens a conversation; the terminal's own selection then takes Shift
  --relay ADDRESS     a relay of yours instead of the profile's; again for more
  --key KEY           your key instead of the profile's
  --sign              prove the key by a signature instead of decrypting
  --socks HOST:PORT   tor's SOCKS port; \`off\` connects without it
  --timeout SECONDS   how long a relay may take to be reached, or to answer
  -h, --help          this text
`

export async function run(argv: string[], io: Io): Promise<number> {
  const given = openCommandLine(argv, io, {
    usage: USAGE,
    help: HELP,
    options: {
      plain: { type: 'boolean' },
      history: { type: 'boolean' },
      notify: { type: 'boolean' },
      files: { type: 'string' },
      mouse: { type: 'boolean' },
      relay: { type: 'string', multiple: true },
      key: { type: 'string' },
      sign: { type: 'boolean' },
      socks: { type: 'string' },
      timeout: { type: 'string' },
    },
    words: 1,
  })
  if (given === undefined) return EXIT.ok
  const { values, positionals } = given
  const [name] = positionals
  const profile = await openProfile(io, values)
  const { identity, home, book, groups } = profile
  if (identity.opens.length === 0)
    throw new CliError('nothing can be encrypted to that key', { hint: '`asfaleia me` makes a profile with an encryption key beside it' })
  if (profile.relays.length === 0)
    throw new CliError('no relay of yours is known', { hint: 'give one with --relay, or `asfaleia me --relay ADDRESS`' })
  const known = name === undefined ? undefined : (book.get(name) ?? groups.get(name))
  const guest = name === undefined || known !== undefined ? undefined : await readGuest(name, profile, values.relay, io)
  const people = new People(book, groups, identity.key, guest)
  const open =
    known === undefined ? guest && fingerprintOf(guest.key) : 'group' in known ? GROUP + known.group.id : fingerprintOf(known.key)

  const places = new Map<string, string>()
  const folder = values.files ?? profile.files
  const done = home === undefined ? undefined : join(home.stateFolder, 'files')
  const arrivals = folder === undefined ? undefined : new Arrivals(folder, done, ({ file }, path) => void places.set(file, path))
  const files: FileReceiver = {
    open: async (offer) => (people.isContact(fingerprintOf(offer.from.key)) ? arrivals?.open(offer) : undefined),
  }
  const ended = new AbortController()
  // The chat says itself when something was read.
  const receipts = { delivered: profile.receipts.delivered, read: true }
  const { messenger, close } = await openMessengerOf(
    profile,
    io,
    { relays: profile.relays, contacts: people, files, receipts, signal: ended.signal },
    profile.outbox,
  )
  try {
    const isPlain = values.plain === true || io.stdin.isTTY !== true || io.stdout.isTTY !== true || io.env['TERM'] === 'dumb'
    const keeps = values.history === true || profile.history
    if (keeps && home === undefined) throw new CliError('there is no folder to keep a history in', { hint: 'set HOME, or ASFALEIA_HOME' })
    const card = await home?.readCard()
    const session = new Session({
      messenger,
      people,
      identity,
      name: profile.name ?? 'you',
      relays: profile.relays,
      places,
      front: isPlain ? new Plain(io) : createFullScreen(io, values.mouse === true),
      look: { ascii: !isUtf8(io.env), ...(isPlain && { plain: true }) },
      receipts: profile.receipts.read,
      notify: values.notify === true,
      patient: isPlain && io.stdin.isTTY !== true,
      ...(card !== undefined && { card }),
      ...(keeps && home !== undefined && { history: new History(join(home.stateFolder, 'history'), identity, sessionName()) }),
    })
    await messenger.ready
    const isAway = await session.run(open, io.signal)
    if (isAway) return EXIT.ok
    throw new CliError('not all of what you wrote is with a relay', {
      hint: profile.outbox ? 'it goes out with the next chat' : '`outbox: yes` in the profile would keep it',
    })
  } finally {
    await close()
    ended.abort()
  }
}

/** Somebody who is in no book: a key, or a card, that the command line names. @throws {CliError} */
async function readGuest(word: string, { book, relays }: Profile, given: readonly string[] | undefined, io: Io): Promise<Contact> {
  const looksLikeFile = /[./]|^(?:ssh|ecdsa|sk)-|^asfaleia/.test(word)
  const introduction = looksLikeFile ? await readIntroduction(word, io) : undefined
  if (introduction === undefined) return book.need(word)
  if (introduction.kind === 'card') {
    book.check(introduction.card)
    return book.contactOf(introduction.card)
  }
  if (!introduction.key.canDecrypt) throw new CliError('nothing can be encrypted to that key', { hint: 'ask for a card: it says how' })
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

/** As the C library finds the locale of characters. */
function isUtf8(env: Io['env']): boolean {
  return /utf-?8/i.test(env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '')
}

/** Sorts by time, and is nobody else's. */
function sessionName(): string {
  return `${new Date()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(':', '-')}-${makeId().slice(0, 8)}`
}
